package assignment

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

func TestBookKeepsWhatWasAssigned(t *testing.T) {
	portal, other := mustHost(t, "portal.example.com"), mustHost(t, "other.example.com")
	b, _ := openBook(t, t.TempDir(), 1, nil)
	assign(t, b, portal, wish(t, "ada", "sales", "support=listen"), wish(t, "bob", "sales=receive"))
	wantOf(t, b, portal, "ada", "sales=ignore", "support=listen")
	wantOf(t, b, portal, "bob", "sales=receive")
	wantOf(t, b, other, "ada") // hosts are independent
	if m := b.Mode(portal, "bob", "sales"); m != Receive {
		t.Errorf("mode %v", m)
	}
	if m := b.Mode(portal, "eve", "sales"); m != None {
		t.Errorf("mode %v of who is not assigned", m)
	}

	assign(t, b, portal, wish(t, "ada", "sales=listen")) // changes the mode, and nothing else
	wantOf(t, b, portal, "ada", "sales=listen", "support=listen")
	remove(t, b, portal, wish(t, "ada", "support", "unknown"), wish(t, "nobody", "sales"))
	wantOf(t, b, portal, "ada", "sales=listen")
	remove(t, b, portal, wish(t, "bob"), wish(t, "ada")) // all assignments
	wantOf(t, b, portal, "ada")
	if n := b.Len(); n != 0 {
		t.Errorf("%d assignments, want none", n)
	}
}

func TestBookKeepsLimits(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	b, _ := openBook(t, t.TempDir(), 1, nil)
	if _, err := b.Assign(portal, []Wish{wish(t, "ada", "a", "b")}, 2); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		wishes []Wish
		limit  int
		want   error
	}{
		{"one more", []Wish{wish(t, "ada", "c")}, 2, ErrTooManyChannels},
		{"one more, and a good one before", []Wish{wish(t, "bob", "a"), wish(t, "ada", "c")}, 2, ErrTooManyChannels},
		{"one more in two parts", []Wish{wish(t, "eve", "a", "b"), wish(t, "eve", "c")}, 2, ErrTooManyChannels},
		{"the same", []Wish{wish(t, "ada", "b=listen", "a")}, 2, nil},
		{"the same, under a smaller limit", []Wish{wish(t, "ada", "b=listen")}, 1, nil},
		{"one named twice", []Wish{wish(t, "kim", "a", "a"), wish(t, "kim", "a")}, 1, nil},
		{"no limit", []Wish{wish(t, "ada", "c", "d")}, 0, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := totalOf(b, nil)
			_, err := b.Assign(portal, tt.wishes, tt.limit)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if tt.want != nil && totalOf(b, nil) != before {
				t.Error("a part of it was done")
			}
		})
	}
	b.kept.hosts[portal] = MaxOfHost
	if _, err := b.Assign(portal, []Wish{wish(t, "new", "a")}, 0); !errors.Is(err, ErrTooMany) {
		t.Errorf("a host that is full: %v", err)
	}
	if _, err := b.Assign(portal, []Wish{wish(t, "ada", "a=receive")}, 0); err != nil {
		t.Errorf("a mode on a host that is full: %v", err)
	}
	other := NewBook(2, nil)
	if err := other.Attach(new(fragile)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Merge(assign(t, other, portal, wish(t, "new", "a"))); !errors.Is(err, ErrTooMany) || b.Mode(portal, "new", "a") != None {
		t.Errorf("of another pod, on a host that is full: %v", err)
	}
	if _, err := b.Merge(assign(t, other, mustHost(t, "other.example.com"), wish(t, "new", "a"))); err != nil {
		t.Errorf("on another host: %v", err)
	}
}

func TestBookTellsWhatChanges(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	var told []string
	changed := func(host presence.HostName, user string, channels []string) {
		slices.Sort(channels)
		told = append(told, fmt.Sprintf("%s %s %q", host, user, channels))
	}
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, changed)
	wants := func(want ...string) {
		t.Helper()
		slices.Sort(told)
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		told = nil
	}
	records := assign(t, b, portal, wish(t, "ada", "b", "a"), wish(t, "bob", "a"))
	wants(`portal.example.com ada ["a" "b"]`, `portal.example.com bob ["a"]`)
	if _, err := b.Merge(records); err != nil { // applied before
		t.Fatal(err)
	}
	wants()
	remove(t, b, portal, wish(t, "ada", "a", "unknown"))
	wants(`portal.example.com ada ["a"]`)
	remove(t, b, portal, wish(t, "bob"), wish(t, "unknown"))
	wants(`portal.example.com bob ["a"]`)

	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	openBook(t, dir, 2, changed)
	wants(`portal.example.com ada ["b"]`)
}

func TestBookWithoutAStoreGoesOn(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	other, _ := openBook(t, t.TempDir(), 1, nil)
	records := assign(t, other, portal, wish(t, "ada", "sales"))

	store := new(fragile)
	b := NewBook(2, nil)
	refuses := func(when string) {
		t.Helper()
		_, err := b.Assign(portal, []Wish{wish(t, "bob", "sales")}, 0)
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: assigning gives %v", when, err)
		}
		wantOf(t, b, portal, "bob")
	}
	refuses("without a store")
	for n := range 2 { // the same again changes nothing, and is not stored either
		if _, err := b.Merge(records); !errors.Is(err, ErrUnavailable) {
			t.Errorf("merging for time %d: %v", n+1, err)
		}
	}
	wantOf(t, b, portal, "ada", "sales=ignore") // it applies nevertheless
	if b.Unsaved() != 1 {
		t.Errorf("%d unsaved, want 1", b.Unsaved())
	}

	if err := b.Attach(store); err != nil {
		t.Fatal(err)
	}
	if len(store.records) != 1 || b.Unsaved() != 0 {
		t.Errorf("%d records in the store, %d unsaved", len(store.records), b.Unsaved())
	}
	store.fail(errFull)
	refuses("a full disk")
	_, _, err := b.Remove(portal, []Wish{wish(t, "ada")})
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, errFull) {
		t.Errorf("removing: %v", err)
	}
	wantOf(t, b, portal, "ada", "sales=ignore")
	if _, err := b.Merge(assign(t, other, portal, wish(t, "kim", "sales"))); !errors.Is(err, errFull) {
		t.Errorf("merging: %v", err)
	}
	wantOf(t, b, portal, "kim", "sales=ignore")

	store.fail(nil)
	if err := b.Save(); err != nil || b.Unsaved() != 0 || len(store.records) != 2 {
		t.Errorf("saving: %v, %d unsaved, %d records in the store", err, b.Unsaved(), len(store.records))
	}
	assign(t, b, portal, wish(t, "bob", "sales"))
}

func TestAttachToAStoreThatCannotBeRead(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	b := NewBook(1, nil)
	if err := b.Attach(&fragile{err: ErrDamaged}); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
	if _, err := b.Assign(portal, []Wish{wish(t, "ada", "a")}, 0); !errors.Is(err, ErrUnavailable) {
		t.Errorf("assigning: %v", err)
	}
}

// In whatever order and however often pods receive changes, they have the same records in the end.
func TestBooksAgreeWhateverTheOrder(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		hosts := []presence.HostName{mustHost(t, "a.example.com"), mustHost(t, "b.example.com")}
		books := make([]*Book, 3)
		for i := range books {
			books[i] = NewBook(uint64(i), nil)
			books[i].now = clockAt(time.Now().Add(time.Duration(r.IntN(1000)) * time.Millisecond)) // different clocks
			if err := books[i].Attach(new(fragile)); err != nil {
				t.Fatal(err)
			}
		}
		var news []Record
		for range 200 {
			b, host := books[r.IntN(len(books))], hosts[r.IntN(len(hosts))]
			w := wish(t, fmt.Sprint(r.IntN(4)), fmt.Sprintf("c%d=%s", r.IntN(4), Mode(1+r.IntN(3))))
			switch r.IntN(6) {
			case 4:
				news = append(news, revoke(t, b, host, time.Duration(1+r.IntN(3))*time.Hour, w.User)...)
			case 5:
				news = append(news, setEpoch(t, b, host, uint8(r.IntN(4)), uint64(1+r.IntN(9)))...) // "0" is no user
			case 0:
				news = append(news, remove(t, b, host, w)...)
			case 1:
				news = append(news, remove(t, b, host, Wish{User: w.User})...)
			default:
				news = append(news, assign(t, b, host, w)...)
			}
			if r.IntN(3) == 0 && len(news) > 0 {
				if _, err := books[r.IntN(len(books))].Merge([]Record{news[r.IntN(len(news))]}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, b := range books {
			r.Shuffle(len(news), func(i, j int) { news[i], news[j] = news[j], news[i] })
			for chunk := range slices.Chunk(news, 7) {
				if _, err := b.Merge(chunk); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i, b := range books[1:] {
			if *b.Sums(nil) != *books[0].Sums(nil) || b.Len() != books[0].Len() {
				t.Errorf("seed %d: book %d has other sums than book 0", seed, i+1)
			}
			checkCounts(t, b)
			for _, host := range hosts {
				for u := range 4 {
					user := fmt.Sprint(u)
					wantOf(t, b, host, user, of(books[0], host, user)...)
				}
				if b.Epochs(host) != books[0].Epochs(host) {
					t.Errorf("seed %d: book %d has other epochs than book 0", seed, i+1)
				}
			}
		}
		if fresh := NewBook(9, nil); fresh.Attach(new(fragile)) != nil || merged(fresh, all(books[0])) != nil || *fresh.Sums(nil) != *books[0].Sums(nil) {
			t.Errorf("seed %d: a new book with all records has other sums", seed)
		}
	}
}

// A change on a pod whose clock is behind is later than all that it has received.
func TestVersionsFollowWhatWasHeard(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	ahead, behind := NewBook(1, nil), NewBook(2, nil)
	ahead.now = clockAt(time.Now().Add(time.Hour))
	for _, b := range []*Book{ahead, behind} {
		if err := b.Attach(new(fragile)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := behind.Merge(assign(t, ahead, portal, wish(t, "ada", "sales"))); err != nil {
		t.Fatal(err)
	}
	if _, err := ahead.Merge(remove(t, behind, portal, wish(t, "ada"))); err != nil {
		t.Fatal(err)
	}
	wantOf(t, ahead, portal, "ada")
}

func TestRemovalsAreForgottenInTheEnd(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	start := time.Now().Truncate(SweepEvery).Add(SweepEvery / 2)
	store := new(fragile)
	b := NewBook(1, nil)
	b.now = clockAt(start)
	if err := b.Attach(store); err != nil {
		t.Fatal(err)
	}
	assign(t, b, portal, wish(t, "ada", "old", "kept"))
	old := remove(t, b, portal, wish(t, "ada", "old"))
	b.now = clockAt(start.Add(Retention - time.Minute))
	if err := b.Sweep(); err != nil || len(all(b)) != 2 {
		t.Errorf("too early: %v, %d records", err, len(all(b)))
	}
	// Pods sweep at any minute of an hour. None drops a removal that another one keeps.
	b.now = clockAt(start.Add(Retention + SweepEvery/2 - time.Second))
	if err := b.Sweep(); err != nil || len(all(b)) != 2 {
		t.Errorf("before the full hour: %v, %d records", err, len(all(b)))
	}
	b.now = clockAt(start.Add(Retention + SweepEvery/2))
	if err := b.Sweep(); err != nil || len(all(b)) != 1 || len(store.records) != 1 {
		t.Errorf("%v, %d records, %d in the store", err, len(all(b)), len(store.records))
	}
	if b.kept.total != 1 || b.kept.hosts[portal] != 1 || b.Len() != 1 {
		t.Errorf("%d records are counted, %d of the host, %d assignments", b.kept.total, b.kept.hosts[portal], b.Len())
	}
	wantOf(t, b, portal, "ada", "kept=ignore")
	if _, err := b.Merge(old); err != nil || len(all(b)) != 1 {
		t.Errorf("another pod brought it back: %v", err)
	}

	store.records[nameOf(&old[0])] = old[0] // as left by a process that stopped before it swept
	again := NewBook(2, nil)
	again.now = b.now
	if err := again.Attach(store); err != nil || len(all(again)) != 1 || len(store.records) != 1 {
		t.Errorf("attaching: %v, %d records, %d in the store", err, len(all(again)), len(store.records))
	}
	if *again.Sums(nil) != *b.Sums(nil) {
		t.Error("the sums are not those of the records")
	}
}

func TestMergeTakesNoNonsense(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	b := NewBook(1, nil)
	version := Version{Clock: uint64(time.Now().UnixMilli()) << clockBits, Node: 7}
	for name, r := range map[string]Record{
		"no host":               {User: "u", Channel: "c", Mode: Ignore, Version: version},
		"no user":               {Host: portal, Channel: "c", Mode: Ignore, Version: version},
		"no channel":            {Host: portal, User: "u", Mode: Ignore, Version: version},
		"an unknown kind":       {Host: portal, User: "u", Kind: kinds, Version: version},
		"a revoked channel":     {Host: portal, User: "u", Channel: "c", Kind: KindRevocation, Version: version},
		"an epoch of no shard":  {Host: portal, User: "8", Kind: KindEpoch, Version: version, Until: maxValue},
		"a value out of range":  {Host: portal, User: "8", Kind: KindRevocation, Version: version, Value: maxValue + 1},
		"an unknown mode":       {Host: portal, User: "u", Channel: "c", Mode: 9, Version: version},
		"a zero byte":           {Host: portal, User: "u\x00v", Channel: "c", Mode: Ignore, Version: version},
		"a clock without a end": {Host: portal, User: "u", Channel: "c", Mode: Ignore, Version: Version{Clock: MaxClock + 1}},
	} {
		if _, err := b.Merge([]Record{r}); err != nil || len(all(b)) != 0 {
			t.Errorf("%s was taken: %v", name, err)
		}
	}
}

func TestBookIsSafeForConcurrentUse(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	b, _ := openBook(t, t.TempDir(), 1, nil)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			user := fmt.Sprintf("u%d", i%3)
			for j := range 10 {
				channel := fmt.Sprintf("c%d", j)
				if _, err := b.Assign(portal, []Wish{{user, []Assignment{{channel, Listen}}}}, 0); err != nil {
					t.Error(err)
				}
				b.Mode(portal, user, channel)
				b.Sums(nil)
				b.Part(j, nil)
				if _, err := b.Merge(b.Part(j, nil)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := b.Len(); n != 30 {
		t.Errorf("%d assignments, want 30", n)
	}
}

func TestModes(t *testing.T) {
	for text, want := range map[string]Mode{"": Ignore, "ignore": Ignore, "listen": Listen, "receive": Receive} {
		m, err := ParseMode(text)
		if err != nil || m != want || (text != "" && m.String() != text) {
			t.Errorf("%q: %v, %v", text, m, err)
		}
	}
	for _, text := range []string{"none", "Listen", "off"} {
		if m, err := ParseMode(text); err == nil {
			t.Errorf("%q is %v", text, m)
		}
	}
}

// Concurrent requests can exceed a limit together, but a change that was acknowledged is kept.
func TestAssignKeepsItsWordOnAHostThatGetsFull(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	store := &held{entered: make(chan bool), let: make(chan bool)}
	b := NewBook(1, nil)
	if err := b.Attach(store); err != nil {
		t.Fatal(err)
	}
	b.kept.hosts[portal] = MaxOfHost - 1
	done := make(chan error)
	for _, user := range []string{"ada", "bob"} {
		go func() {
			_, err := b.Assign(portal, []Wish{{user, []Assignment{{"sales", Listen}}}}, 0)
			done <- err
		}()
		<-store.entered
	}
	close(store.let)
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	wantOf(t, b, portal, "ada", "sales=listen")
	wantOf(t, b, portal, "bob", "sales=listen")
	again := NewBook(2, nil)
	again.kept.hosts[portal] = MaxOfHost
	if err := again.Attach(&store.fragile); err != nil {
		t.Fatal(err)
	}
	wantOf(t, again, portal, "ada", "sales=listen")
}

// The highest version can come from outside. Later versions must not be stored, because they could
// not be loaded.
func TestNoVersionIsBeyondTheHighest(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, nil)
	if _, err := b.Merge([]Record{{Host: portal, User: "ada", Channel: "sales", Mode: Listen, Version: Version{Clock: MaxClock}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Assign(portal, []Wish{wish(t, "bob", "sales")}, 0); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again, _ := openBook(t, dir, 2, nil)
	wantOf(t, again, portal, "ada", "sales=listen")
}

// A stale removal still removes an earlier assignment: a pod whose clock is far behind sends such a
// removal.
func TestLateRemovalEndsAnAssignment(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	now := time.Now()
	var books []*Book
	for i, at := range []time.Duration{0, -2 * Retention} {
		b := NewBook(uint64(i), nil)
		b.now = clockAt(now.Add(at))
		if err := b.Attach(new(fragile)); err != nil {
			t.Fatal(err)
		}
		books = append(books, b)
	}
	right, behind := books[0], books[1]
	if _, err := right.Merge(assign(t, behind, portal, wish(t, "ada", "sales"))); err != nil {
		t.Fatal(err)
	}
	removed := remove(t, behind, portal, wish(t, "ada"))
	if _, err := right.Merge(removed); err != nil {
		t.Fatal(err)
	}
	wantOf(t, right, portal, "ada")
	if err := right.Sweep(); err != nil || len(all(right)) != 0 {
		t.Errorf("%v, %d records", err, len(all(right)))
	}
	if _, err := right.Merge(removed); err != nil || len(all(right)) != 0 {
		t.Errorf("a second time: %v, %d records", err, len(all(right)))
	}
}

// While the disk is full, a change does not store all waiting records again.
func TestMergeDoesNotTryEverythingAgain(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	other := NewBook(1, nil)
	if err := other.Attach(new(fragile)); err != nil {
		t.Fatal(err)
	}
	store := new(fragile)
	b := NewBook(2, nil)
	if err := b.Attach(store); err != nil {
		t.Fatal(err)
	}
	store.fail(errFull)
	const changes = 50
	for i := range changes {
		if _, err := b.Merge(assign(t, other, portal, wish(t, fmt.Sprintf("u%d", i), "sales"))); !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	}
	if store.asked > changes {
		t.Errorf("%d records were to be saved for %d changes", store.asked, changes)
	}
	store.fail(nil)
	if err := b.Save(); err != nil || len(store.records) != changes {
		t.Errorf("%v, %d records", err, len(store.records))
	}
	if _, err := b.Merge(assign(t, other, portal, wish(t, "new", "sales"))); err != nil || len(store.records) != changes+1 {
		t.Errorf("%v, %d records", err, len(store.records))
	}
}

// Records that are applied while others are being stored must not be lost, and share one write.
func TestKeepStoresWhatCameMeanwhile(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	other := NewBook(1, nil)
	if err := other.Attach(new(fragile)); err != nil {
		t.Fatal(err)
	}
	store := &held{entered: make(chan bool), let: make(chan bool)}
	b := NewBook(2, nil)
	if err := b.Attach(store); err != nil {
		t.Fatal(err)
	}
	take := func(records []Record) {
		t.Helper()
		if _, err := b.Take(records); err != nil {
			t.Fatal(err)
		}
	}
	kept := make(chan error)
	keep := func() { kept <- b.Keep() }
	take(assign(t, other, portal, wish(t, "ada", "sales")))
	go keep()
	<-store.entered
	take(assign(t, other, portal, wish(t, "ada", "sales=receive"))) // later than the one that is being stored
	again := other.Part(0, nil)
	for i := range Shards {
		again = append(again, other.Part(i, nil)...)
	}
	for i := range 10 {
		take(assign(t, other, portal, wish(t, fmt.Sprintf("u%d", i), "sales")))
	}
	take(again) // known, and not durable yet
	for range 2 {
		go keep()
	}
	store.let <- true
	if err := <-kept; err != nil {
		t.Fatal(err)
	}
	<-store.entered
	select {
	case err := <-kept:
		t.Errorf("kept before it is stored: %v", err)
	default:
	}
	if n := b.Unsaved(); n != 0 {
		t.Errorf("%d records count as unsaved during the first attempt", n)
	}
	store.let <- true
	for range 2 { // the second one has nothing to store
		if err := <-kept; err != nil {
			t.Fatal(err)
		}
	}
	if r := store.records[name{host: portal, user: "ada", channel: "sales"}]; len(store.records) != 11 || r.Mode != Receive || store.asked != 12 {
		t.Errorf("%d records are stored of %d, and %+v", len(store.records), store.asked, r)
	}
}
