package assignment

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// twoBooks returns the books of two pods, each with a store in memory.
func twoBooks(t *testing.T) (a, b *Book, portal presence.HostName) {
	t.Helper()
	a, b = NewBook(1, nil), NewBook(2, nil)
	for _, book := range []*Book{a, b} {
		if err := book.Attach(new(fragile)); err != nil {
			t.Fatal(err)
		}
	}
	return a, b, mustHost(t, "portal.example.com")
}

// A removal reaches the pods that have the assignment, also from a pod that has not heard of it.
func TestRemovalOfWhatThePodDoesNotHave(t *testing.T) {
	for name, w := range map[string]func() Wish{
		"a channel": func() Wish { return Wish{User: "ada", Channels: []Assignment{{Channel: "sales"}}} },
		"all":       func() Wish { return Wish{User: "ada"} },
	} {
		t.Run(name, func(t *testing.T) {
			a, b, portal := twoBooks(t)
			a.now = clockAt(time.Now().Add(time.Second))
			assigned := assign(t, b, portal, wish(t, "ada", "sales"))
			removed := remove(t, a, portal, w())
			if len(removed) != 1 || !removed[0].Blind {
				t.Fatalf("got %+v, want one blind removal", removed)
			}
			held, err := b.Merge(removed)
			if err != nil || !held.Ended || held.Later != (Version{}) {
				t.Errorf("merging: %+v, %v", held, err)
			}
			wantOf(t, b, portal, "ada")
			if held, err := b.Merge(removed); err != nil || !held.Ended {
				t.Errorf("merging again: %+v, %v", held, err)
			}
			if kept, err := a.Again(removed, held.Later, held.Ended); err != nil || !kept || removed[0].Blind {
				t.Errorf("again: %+v, %v, %v", removed, kept, err)
			}
			if err := merged(b, removed); err != nil {
				t.Error(err)
			}
			if err := merged(a, assigned); err != nil { // comes late
				t.Error(err)
			}
			wantOf(t, a, portal, "ada")
			if *a.Sums(nil) != *b.Sums(nil) {
				t.Errorf("books differ: %+v, %+v", all(a), all(b))
			}
		})
	}
}

// A pod whose clock is behind learns from a merge that its change is the earlier one, and makes it
// again.
func TestChangeIsMadeAgainAboveWhatAnotherPodHas(t *testing.T) {
	a, b, portal := twoBooks(t)
	b.now = clockAt(time.Now().Add(time.Hour))
	for _, change := range []func() []Record{
		func() []Record { return assign(t, a, portal, wish(t, "ada", "sales=listen")) },
		func() []Record { return remove(t, a, portal, wish(t, "ada", "sales")) },
		func() []Record { return remove(t, a, portal, wish(t, "ada")) },
	} {
		assign(t, b, portal, wish(t, "ada", "sales=receive"))
		records := change()
		held, err := b.Merge(records)
		if err != nil || held.Later.Compare(records[0].Version) <= 0 {
			t.Fatalf("merging: %+v, %v", held, err)
		}
		wantOf(t, b, portal, "ada", "sales=receive")
		if kept, err := a.Again(records, held.Later, held.Ended); err != nil || !kept {
			t.Fatal(err)
		}
		if held, err := b.Merge(records); err != nil || held.Later != (Version{}) {
			t.Errorf("merging again: %+v, %v", held, err)
		}
		wantOf(t, b, portal, "ada", of(a, portal, "ada")...)
	}
}

func TestWipeEndsWhatIsEarlier(t *testing.T) {
	a, _, portal := twoBooks(t)
	before := assign(t, a, portal, wish(t, "ada", "sales", "support"), wish(t, "bob", "sales"))
	wiped := remove(t, a, portal, wish(t, "ada"))
	after := assign(t, a, portal, wish(t, "ada", "support=listen"))
	for _, order := range [][][]Record{
		{before, wiped, after}, {wiped, before, after}, {after, wiped, before}, {after, before, wiped},
	} {
		b := NewBook(2, nil)
		store := new(fragile)
		if err := b.Attach(store); err != nil {
			t.Fatal(err)
		}
		for _, records := range order {
			if err := merged(b, records); err != nil {
				t.Fatal(err)
			}
		}
		wantOf(t, b, portal, "ada", "support=listen")
		wantOf(t, b, portal, "bob", "sales=ignore")
		if *a.Sums(nil) != *b.Sums(nil) || b.Len() != 2 || b.kept.total != 3 {
			t.Errorf("%d assignments, %d records, %+v", b.Len(), b.kept.total, all(b))
		}
		again := NewBook(3, nil)
		if err := again.Attach(store); err != nil {
			t.Fatal(err)
		}
		if *again.Sums(nil) != *b.Sums(nil) || again.kept.total != 3 {
			t.Errorf("read again: %+v", all(again))
		}
	}
}

// A wipe deletes from the file what it ends, and stays there itself.
func TestFileForgetsWhatAWipeEnds(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, nil)
	assign(t, b, portal, wish(t, "ada", "a", "b", "c"), wish(t, "ad", "a"), wish(t, "adam", "a"))
	old := all(b)
	remove(t, b, portal, wish(t, "ada"))
	assign(t, b, portal, wish(t, "ada", "d"))
	if err := f.Save(old); err != nil { // a copy that comes late
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again, file := openBook(t, dir, 2, nil)
	wantOf(t, again, portal, "ada", "d=ignore")
	wantOf(t, again, portal, "ad", "a=ignore")
	wantOf(t, again, portal, "adam", "a=ignore")
	var channels []string
	if err := file.Load(func(r Record) { channels = append(channels, r.User+"/"+r.Channel) }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(channels)
	if want := []string{"ad/a", "ada/", "ada/d", "adam/a"}; !slices.Equal(channels, want) {
		t.Errorf("the file has %q, want %q", channels, want)
	}
	if n, _ := file.Damaged(); n != 0 || *again.Sums(nil) != *b.Sums(nil) {
		t.Errorf("%d records are damaged, or the books differ", n)
	}
}

// A name that no channel can have removes nothing: an empty one would be a wipe, and others would
// look like damage in the file.
func TestRemovalOfANameThatNoChannelHas(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, nil)
	assign(t, b, portal, wish(t, "ada", "sales"))
	for _, channel := range []string{"", "a\x00b", "a\x01", "a\xff", strings.Repeat("x", presence.MaxChannelName+1)} {
		records, kept, err := b.Remove(portal, []Wish{{User: "ada", Channels: []Assignment{{Channel: channel}}}})
		if err != nil || !kept || len(records) != 0 {
			t.Errorf("%.10q: %+v, kept %v, %v", channel, records, kept, err)
		}
	}
	wantOf(t, b, portal, "ada", "sales=ignore")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again, file := openBook(t, dir, 2, nil)
	wantOf(t, again, portal, "ada", "sales=ignore")
	if n, kept := file.Damaged(); n != 0 || len(all(again)) != 1 {
		t.Errorf("%d records are damaged, kept in %q, of %+v", n, kept, all(again))
	}
}

func TestBlindRemovalsHaveABoundOfTheirOwn(t *testing.T) {
	a, b, portal := twoBooks(t)
	a.now = clockAt(time.Now().Add(time.Second))
	var reported []string
	a.OnRemoved(func(_ presence.HostName, users []string) { reported = append(reported, users...) })
	a.blind.hosts[portal] = MaxBlindOfHost
	records, kept, err := a.Remove(portal, []Wish{wish(t, "ada", "sales")})
	if err != nil || kept || len(records) != 1 || len(all(a)) != 0 {
		t.Errorf("at the bound: %+v, kept %v, %v", records, kept, err)
	}
	assign(t, b, portal, wish(t, "ada", "sales"))
	if held, err := b.Merge(records); err != nil || !held.Ended {
		t.Errorf("another pod: %+v, %v", held, err)
	}
	wantOf(t, b, portal, "ada")
	if err := merged(a, []Record{{Host: portal, User: "bob", Blind: true, Version: Version{Clock: 1 << 60}}}); !errors.Is(err, ErrTooMany) {
		t.Errorf("of another pod, at the bound: %v", err)
	}
	if !slices.Equal(reported, []string{"ada", "bob"}) {
		t.Errorf("without room, removals of %q are reported", reported)
	}
	assign(t, a, portal, wish(t, "ada", "sales")) // an assignment fits
	a.blind.hosts[portal] = 0
	a.kept.hosts[portal] = MaxOfHost
	if _, kept, err := a.Remove(portal, []Wish{wish(t, "kim", "sales"), wish(t, "lee")}); err != nil || !kept {
		t.Errorf("on a host that is full: kept %v, %v", kept, err)
	}
	if a.blind.hosts[portal] != 2 {
		t.Errorf("%d blind removals are counted, want 2", a.blind.hosts[portal])
	}
}

func TestBlindRemovalsAreForgottenEarlier(t *testing.T) {
	a, _, portal := twoBooks(t)
	start := time.Now().Truncate(SweepEvery).Add(time.Minute)
	a.now = clockAt(start)
	assign(t, a, portal, wish(t, "ada", "sales"))
	remove(t, a, portal, wish(t, "ada", "sales"), wish(t, "bob", "sales"), wish(t, "kim"))
	for _, step := range []struct {
		after time.Duration
		want  int
	}{
		{BlindRetention - 2*time.Minute, 3},
		{BlindRetention + SweepEvery, 1},
		{Retention + SweepEvery, 0},
	} {
		a.now = clockAt(start.Add(step.after))
		if err := a.Sweep(); err != nil || len(all(a)) != step.want {
			t.Errorf("after %s: %v, %d records, want %d", step.after, err, len(all(a)), step.want)
		}
	}
	if a.blind.total != 0 || a.kept.total != 0 {
		t.Errorf("%d and %d records are counted in the end", a.blind.total, a.kept.total)
	}
}

// What the book counts is what it has.
func checkCounts(t *testing.T, b *Book) {
	t.Helper()
	var kept, blind, assigned int
	var values [kinds]int
	for _, r := range all(b) {
		switch {
		case r.Kind != KindAssignment:
			values[r.Kind]++
			continue
		case r.Blind:
			blind++
		default:
			kept++
		}
		if r.Mode != None {
			assigned++
		}
	}
	got := fmt.Sprint(b.kept.total, b.blind.total, b.assigned, b.values[KindRevocation].total, b.values[KindEpoch].total)
	if want := fmt.Sprint(kept, blind, assigned, values[KindRevocation], values[KindEpoch]); got != want {
		t.Errorf("counted are %s, there are %s", got, want)
	}
}

// A removal of all channels needs no room for a record of its own where it removes one: otherwise,
// an assignment would stay on a pod whose host is full.
func TestWipeThatRemovesSomethingNeedsNoRoom(t *testing.T) {
	for name, full := range map[string]func(b *Book, host presence.HostName){
		"records":        func(b *Book, host presence.HostName) { b.kept.hosts[host] += MaxOfHost },
		"blind removals": func(b *Book, host presence.HostName) { b.blind.hosts[host] += MaxBlindOfHost },
	} {
		t.Run(name, func(t *testing.T) {
			a, b, portal := twoBooks(t)
			a.now = clockAt(time.Now().Add(time.Second))
			records := assign(t, b, portal, wish(t, "ada", "sales"))
			if name == "records" {
				if err := merged(a, records); err != nil { // the removal is not blind
					t.Fatal(err)
				}
			}
			full(b, portal)
			if err := merged(b, remove(t, a, portal, wish(t, "ada"))); err != nil {
				t.Errorf("merging: %v", err)
			}
			wantOf(t, b, portal, "ada")
			if err := merged(b, []Record{{Host: portal, User: "bob", Blind: name != "records", Version: Version{Clock: 1 << 60}}}); !errors.Is(err, ErrTooMany) {
				t.Errorf("a wipe that removes nothing: %v", err)
			}
		})
	}
}

// A blind removal has removed something, and the pod that made it never learned that. A later one,
// of the channel or of all, says so again, because it must be kept for as long.
func TestLaterBlindRemovalHasRemovedTheSame(t *testing.T) {
	channel := func() Wish { return Wish{User: "ada", Channels: []Assignment{{Channel: "sales"}}} }
	wipe := func() Wish { return Wish{User: "ada"} }
	for name, wishes := range map[string][2]func() Wish{
		"channel, channel": {channel, channel}, "channel, all": {channel, wipe},
		"all, channel": {wipe, channel}, "all, all": {wipe, wipe},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, portal := twoBooks(t)
			a.now = clockAt(time.Now().Add(time.Second))
			assign(t, b, portal, wish(t, "ada", "sales"))
			for i, w := range wishes {
				removed := remove(t, a, portal, w())
				if held, err := b.Merge(removed); err != nil || !removed[0].Blind || !held.Ended {
					t.Errorf("%d: %+v: %+v, %v", i, removed, held, err)
				}
			}
		})
	}
}

// While the disk is full, other pods can assign and wipe without end. What a wipe ends needs no
// saving.
func TestWipeEndsWhatIsNotSaved(t *testing.T) {
	a, _, portal := twoBooks(t)
	store := new(fragile)
	b := NewBook(3, nil)
	if err := b.Attach(store); err != nil {
		t.Fatal(err)
	}
	store.fail(errFull)
	for i := range 50 {
		for _, records := range [][]Record{
			assign(t, a, portal, wish(t, "ada", fmt.Sprintf("c%d", i))), remove(t, a, portal, wish(t, "ada")),
		} {
			if err := merged(b, records); !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		}
	}
	last := assign(t, a, portal, wish(t, "ada", "last"))
	if err := merged(b, last); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if n := b.Unsaved(); n != 2 {
		t.Errorf("%d records wait, want the wipe and the assignment", n)
	}
	store.fail(nil)
	if err := b.Save(); err != nil || len(store.records) != 2 {
		t.Errorf("%v, %d records", err, len(store.records))
	}
}

// A record that comes while a sweep drops the one before still waits to be saved.
func TestSweepLeavesWhatIsNewer(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	b := NewBook(1, nil) // without a store
	old := Record{Host: portal, User: "ada", Channel: "sales", Version: Version{Clock: uint64(time.Now().UnixMilli()) << clockBits}}
	fresh := old
	fresh.Mode, fresh.Version.Clock = Listen, old.Version.Clock+1
	if err := merged(b, []Record{old}); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	b.now = clockAt(time.Now().Add(Retention + 2*SweepEvery))
	b.storeMu.Lock() // where a sweep waits after it has dropped the removal
	swept := make(chan error)
	go func() { swept <- b.Sweep() }()
	for deadline := time.Now().Add(10 * time.Second); b.knows(&old); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the removal is still there")
		}
	}
	if _, all := b.apply([]Record{fresh}, true); !all {
		t.Error("there is no room")
	}
	b.unsaved[nameOf(&fresh)] = fresh // as Merge does next
	b.storeMu.Unlock()
	if err := <-swept; err != nil {
		t.Fatal(err)
	}
	if b.Unsaved() != 1 {
		t.Errorf("%d records wait, want 1", b.Unsaved())
	}
}

// slowDisk is a Store that calls a function before it deletes records.
type slowDisk struct {
	fragile
	deletes func(records []Record)
}

func (s *slowDisk) Delete(records []Record) error {
	s.deletes(records)
	return s.fragile.Delete(records)
}

// Changes do not wait until a large sweep has deleted all that it drops, and what comes back
// meanwhile is stored.
func TestChangesDoNotWaitForALargeSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal, left := mustHost(t, "portal.example.com"), mustHost(t, "left.example.com")
		disk := new(slowDisk)
		b := NewBook(1, nil)
		if err := b.Attach(disk); err != nil {
			t.Fatal(err)
		}
		b.SetScope(serving(portal, left), 1)
		var wishes []Wish
		for i := range 2*rewriteBatch + 1 {
			wishes = append(wishes, Wish{User: fmt.Sprint(i), Channels: []Assignment{{"sales", Listen}}})
		}
		records := assign(t, b, left, wishes...)
		b.SetScope(serving(portal), 2)
		time.Sleep(OutsideRetention + SweepEvery)
		var began, own, others int
		back := make(map[name]Record) // those that are deleted by the second call, or later
		for i := range records {
			back[nameOf(&records[i])] = records[i]
		}
		disk.deletes = func(deleted []Record) {
			began++
			for i := range deleted {
				if began == 1 {
					delete(back, nameOf(&deleted[i]))
				}
			}
			if began > 1 {
				synctest.Wait()
				if own == 0 || began == 3 && others == 0 {
					t.Errorf("batch %d: %d changes of this pod and %d of another one are stored", began, own, others)
				}
				return
			}
			go func() {
				assign(t, b, portal, wish(t, "ada", "sales"))
				own++
			}()
			go func() {
				for _, r := range back {
					if err := merged(b, []Record{r}); err != nil {
						t.Error(err)
					}
					others++
					back = map[name]Record{nameOf(&r): r}
					return
				}
			}()
			synctest.Wait()
		}
		if err := b.Sweep(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := recordsOf(b, left); n != 1 {
			t.Errorf("%d records are back in memory, want 1", n)
		}
		for n, r := range back {
			if disk.records[n] != r {
				t.Errorf("%v is back, and not on the disk", n)
			}
		}
		stored := 0
		for n := range disk.records {
			if n.host == left && n.kind == KindAssignment {
				stored++
			}
		}
		if stored != 1 || began < 3 {
			t.Errorf("%d records on the disk after %d batches", stored, began)
		}
	})
}

// Removals are reported on each pod that they reach, also if they remove nothing, and before the
// changes that they make.
func TestRemovalsAreReported(t *testing.T) {
	a, b, portal := twoBooks(t)
	var got []string
	for name, book := range map[string]*Book{"a": a, "b": b} {
		book.OnRemoved(func(host presence.HostName, users []string) {
			slices.Sort(users)
			got = append(got, fmt.Sprint(name, " removed ", host, " ", users))
		})
		book.changed = func(_ presence.HostName, user string, channels []string) {
			got = append(got, fmt.Sprint(name, " changed ", user, " ", channels))
		}
	}
	step := func(what string, records []Record, want ...string) {
		t.Helper()
		if err := merged(b, records); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
		got = nil
	}
	step("assigned", assign(t, a, portal, wish(t, "ada", "sales")), "a changed ada [sales]", "b changed ada [sales]")
	step("removed", remove(t, a, portal, Wish{User: "ada"}, wish(t, "bob", "hall")),
		"a removed portal.example.com [ada bob]", "a changed ada [sales]", "b removed portal.example.com [ada bob]", "b changed ada [sales]")
	records := remove(t, a, portal, Wish{User: "ada"})
	step("removed again", records, "a removed portal.example.com [ada]", "b removed portal.example.com [ada]")
	step("repeated by the bus", records)
}
