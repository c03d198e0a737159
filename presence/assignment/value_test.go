package assignment

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

func wantRevoked(t *testing.T, b *Book, host presence.HostName, user string, issued time.Time, want bool) {
	t.Helper()
	var iat int64
	if !issued.IsZero() {
		iat = issued.Unix()
	}
	if _, got := b.Revoked(host, user, iat); got != want {
		t.Errorf("a token of %s issued at %v: revoked is %v, want %v", user, issued, got, want)
	}
}

func TestRevocationRefusesWhatWasIssuedBefore(t *testing.T) {
	a, b, portal := twoBooks(t)
	start := time.Now().Truncate(time.Second)
	a.now, b.now = clockAt(start), clockAt(start)
	if err := merged(b, revoke(t, a, portal, time.Hour, "ada", "ada")); err != nil {
		t.Fatal(err)
	}
	for name, book := range map[string]*Book{"own": a, "of another pod": b} {
		t.Run(name, func(t *testing.T) {
			for user, tests := range map[string]map[time.Time]bool{
				"ada": {{}: true, start.Add(-time.Hour): true, start.Add(Skew): true, start.Add(Skew + time.Second): false},
				"bob": {{}: false, start.Add(-time.Hour): false},
			} {
				for issued, want := range tests {
					wantRevoked(t, book, portal, user, issued, want)
				}
			}
			wantRevoked(t, book, mustHost(t, "other.example.com"), "ada", start, false)
			book.now = clockAt(start.Add(7 * time.Second))
			if since, _ := book.Revoked(portal, "ada", 0); since != 7*time.Second {
				t.Errorf("made %s ago", since)
			}
			book.now = clockAt(start.Add(time.Hour + Skew))
			wantRevoked(t, book, portal, "ada", time.Time{}, true)
			book.now = clockAt(start.Add(time.Hour + Skew + time.Millisecond))
			wantRevoked(t, book, portal, "ada", time.Time{}, false)
		})
	}
}

// A later revocation up to an earlier time opens nothing, and lasts longer, in whatever order pods
// receive the two.
func TestRevocationsOfOneUserMerge(t *testing.T) {
	start := time.Now().Truncate(time.Second)
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		a, b, portal := twoBooks(t)
		a.now, b.now = clockAt(start), clockAt(start.Add(time.Minute))
		first := revoke(t, a, portal, time.Hour, "ada")
		second, err := b.Revoke(portal, []string{"ada"}, start.Add(-time.Hour).Unix(), 2*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		c := NewBook(3, nil)
		c.now = b.now
		store := new(fragile)
		if err := c.Attach(store); err != nil {
			t.Fatal(err)
		}
		for _, i := range order {
			held, err := c.Merge([][]Record{first, second}[i])
			if err != nil || held != (Held{}) {
				t.Errorf("%+v, %v", held, err)
			}
		}
		again := NewBook(4, nil)
		if err := again.Attach(store); err != nil {
			t.Fatal(err)
		}
		for _, book := range []*Book{c, again} {
			for _, at := range []time.Duration{time.Minute, 2 * time.Hour} {
				book.now = clockAt(start.Add(at))
				wantRevoked(t, book, portal, "ada", start, true)
				wantRevoked(t, book, portal, "ada", start.Add(time.Minute), false)
			}
			if *book.Sums(nil) != *c.Sums(nil) {
				t.Error("the sums differ")
			}
		}
	}
}

// Clocks of pods that are hours apart open nothing, and refuse new tokens at no pod whose clock is
// right.
func TestRevocationWithClocksHoursApart(t *testing.T) {
	const apart = 3 * time.Hour
	now := time.Now().Truncate(time.Second)
	for name, tt := range map[string]struct {
		revoker time.Duration // by how much its clock is ahead
		cluster time.Duration
	}{
		"the revoking pod is behind":  {-apart, 0},
		"the revoking pod is ahead":   {apart, apart},
		"another pod was ahead":       {0, apart},
		"one is ahead and one behind": {-apart, apart},
	} {
		t.Run(name, func(t *testing.T) {
			a, right, portal := twoBooks(t)
			clock := func() uint64 { return unixMilli(now.Add(tt.cluster)) }
			a.now, right.now = clockAt(now.Add(tt.revoker)), clockAt(now)
			a.SetClock(clock)
			right.SetClock(clock)
			if err := merged(right, revoke(t, a, portal, time.Hour, "ada")); err != nil {
				t.Fatal(err)
			}
			store := right.store
			again := NewBook(3, nil)
			again.now = clockAt(now.Add(30 * time.Minute)) // restarted
			if err := again.Attach(store); err != nil {
				t.Fatal(err)
			}
			for _, book := range []*Book{right, again} {
				wantRevoked(t, book, portal, "ada", now, true)
				wantRevoked(t, book, portal, "ada", now.Add(Skew+time.Second), false)
			}
			if since, _ := right.Revoked(portal, "ada", 0); since != 0 {
				t.Errorf("made %s ago", since)
			}
		})
	}
}

// The version of a record can be far ahead of the clock of a pod that has left its cluster.
func TestRevocationIsNotNewForHours(t *testing.T) {
	b, _, portal := twoBooks(t)
	now := time.Now()
	b.SetClock(func() uint64 { return unixMilli(now.Add(time.Hour)) })
	revoke(t, b, portal, time.Hour, "ada")
	b.SetClock(func() uint64 { return 0 })
	if since, revoked := b.Revoked(portal, "ada", 0); !revoked || since < time.Hour {
		t.Errorf("revoked %v, made %s ago", revoked, since)
	}
}

func TestValuesKeepTheirBounds(t *testing.T) {
	a, b, portal := twoBooks(t)
	revoke(t, a, portal, time.Hour, "ada")
	setEpoch(t, a, portal, 7, 1)
	a.values[KindRevocation].hosts[portal] = MaxRevokedOfHost
	before := *a.Sums(nil)
	if _, err := a.Revoke(portal, []string{"bob", "ada"}, 0, time.Hour); !errors.Is(err, ErrTooManyValues) || *a.Sums(nil) != before {
		t.Errorf("on a host that is full: %v, or a part of it was done", err)
	}
	revoke(t, a, portal, time.Hour, "ada") // again
	if err := merged(a, revoke(t, b, portal, time.Hour, "eve")); !errors.Is(err, ErrTooMany) {
		t.Errorf("of another pod, on a host that is full: %v", err)
	}
	revoke(t, a, mustHost(t, "other.example.com"), time.Hour, "bob")
	assign(t, a, portal, wish(t, "bob", "sales")) // has room of its own

	a.values[KindEpoch].total = maxEpochs
	if _, err := a.SetEpoch(portal, 6, 1); !errors.Is(err, ErrTooManyValues) {
		t.Errorf("an epoch without room: %v", err)
	}
	setEpoch(t, a, portal, 7, 2)
	for shard, epoch := range map[uint8]uint64{EpochShards: 1, 0: maxValue + 1} {
		if _, err := b.SetEpoch(portal, shard, epoch); err == nil {
			t.Errorf("the epoch %d of the shard %d is set", epoch, shard)
		}
	}
	full := NewBook(3, nil)
	for what, err := range map[string]error{
		"revoking without a store": func() error { _, err := full.Revoke(portal, []string{"ada"}, 0, time.Hour); return err }(),
		"an epoch without a store": func() error { _, err := full.SetEpoch(portal, 0, 1); return err }(),
	} {
		if !errors.Is(err, ErrUnavailable) || len(all(full)) != 0 {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestValuesEnd(t *testing.T) {
	a, b, portal := twoBooks(t)
	start := time.Now().Truncate(SweepEvery).Add(time.Minute)
	a.now, b.now = clockAt(start), clockAt(start)
	records := revoke(t, a, portal, time.Hour, "ada")
	records = append(records, setEpoch(t, a, portal, 0, 7)...)
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{time.Hour + 30*time.Minute, 2}, {2 * time.Hour, 1}, {EpochRetention, 1}, {EpochRetention + SweepEvery, 0}} {
		a.now = clockAt(start.Add(step.after))
		if err := a.Sweep(); err != nil || len(all(a)) != step.want || len(a.store.(*fragile).records) != step.want {
			t.Errorf("after %s: %v, %d records, want %d", step.after, err, len(all(a)), step.want)
		}
		if _, err := a.Merge(records); err != nil || len(all(a)) != step.want {
			t.Errorf("after %s: another pod brought one back: %v", step.after, err)
		}
	}
	checkCounts(t, a)

	a.now = clockAt(start)
	setEpoch(t, a, portal, 0, 9)
	a.now = clockAt(start.Add(EpochRetention - time.Hour))
	setEpoch(t, a, portal, 0, 9) // its owner is there
	setEpoch(t, a, portal, 0, 8) // too low
	a.now = clockAt(start.Add(EpochRetention + SweepEvery))
	if err := a.Sweep(); err != nil || a.Epochs(portal)[0] != 9 {
		t.Errorf("%v, epochs %v", err, a.Epochs(portal))
	}
}

func TestEpochs(t *testing.T) {
	a, b, portal := twoBooks(t)
	other := mustHost(t, "other.example.com")
	var told []string
	b.OnEpoch(func(host presence.HostName, shard uint8, epoch uint64, tie bool) {
		if b.Epochs(host)[shard] != epoch { // needs the locks
			t.Error("another epoch")
		}
		told = append(told, fmt.Sprint(host, " ", shard, " ", epoch, " ", tie))
	})
	news := append(setEpoch(t, a, portal, 3, 100), setEpoch(t, a, other, 0, 7)...)
	for range 2 {
		if held, err := b.Merge(news); err != nil || held != (Held{}) {
			t.Errorf("%+v, %v", held, err)
		}
	}
	setEpoch(t, b, portal, 3, 101)
	if err := merged(b, setEpoch(t, a, portal, 3, 100)); err != nil { // refreshed
		t.Fatal(err)
	}
	if want := []string{"portal.example.com 3 100 false", "other.example.com 0 7 false"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if got := b.Epochs(portal); got != [EpochShards]uint64{3: 101} {
		t.Errorf("epochs %v", got)
	}
	var hosts []string
	b.EpochHosts(func(host presence.HostName) {
		b.Epochs(host) // needs the locks
		hosts = append(hosts, host.String())
	})
	slices.Sort(hosts)
	if !slices.Equal(hosts, []string{"other.example.com", "portal.example.com"}) {
		t.Errorf("hosts %q", hosts)
	}
}

// Two pods that set one epoch both learn of it, whichever version is later. A refresh is no tie.
func TestTiesOfEpochsAreReported(t *testing.T) {
	a, b, portal := twoBooks(t)
	told := make(map[string][]string)
	for name, book := range map[string]*Book{"a": a, "b": b} {
		book.OnEpoch(func(_ presence.HostName, shard uint8, epoch uint64, tie bool) {
			told[name] = append(told[name], fmt.Sprint(shard, " ", epoch, " ", tie))
		})
	}
	ofA, ofB := setEpoch(t, a, portal, 3, 100), setEpoch(t, b, portal, 3, 100)
	for _, err := range []error{merged(a, ofB), merged(b, ofA)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	refreshed := setEpoch(t, a, portal, 3, 101)
	for _, records := range [][]Record{refreshed, refreshed, setEpoch(t, a, portal, 3, 101)} {
		if err := merged(b, records); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(told["a"], []string{"3 100 true"}) || !slices.Equal(told["b"], []string{"3 100 true", "3 101 false"}) {
		t.Errorf("told %q", told)
	}
	if *a.Sums(nil) != *b.Sums(nil) {
		t.Error("the books differ")
	}
}

func TestRevocationsAreReported(t *testing.T) {
	a, b, portal := twoBooks(t)
	start := time.Now().Truncate(time.Second)
	a.now, b.now = clockAt(start), clockAt(start.Add(time.Minute))
	var told []string
	for name, book := range map[string]*Book{"a": a, "b": b} {
		book.OnRevoked(func(host presence.HostName, user string, since time.Duration) {
			if _, revoked := book.Revoked(host, user, 0); !revoked { // needs the locks
				t.Error("not revoked")
			}
			told = append(told, fmt.Sprint(name, " ", host, " ", user, " ", since))
		})
	}
	records := revoke(t, a, portal, time.Hour, "ada")
	for range 2 {
		if err := merged(b, records); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"a portal.example.com ada 0s", "b portal.example.com ada 1m0s"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// A wipe ends assignments only, and user "3" is not shard 3.
func TestWipeLeavesOtherKinds(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, nil)
	path := filepath.Join(dir, "rollcall", "assignments.db")
	assign(t, b, portal, wish(t, "3", "sales"))
	revoke(t, b, portal, time.Hour, "3")
	setEpoch(t, b, portal, 3, 42)
	remove(t, b, portal, Wish{User: "3"})
	revoke(t, b, portal, time.Hour, "new")
	for range 2 {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Fatal(err)
		}
		var again *Book
		again, f = openBook(t, dir, 2, nil)
		if n, _ := f.Damaged(); n != 0 || *again.Sums(nil) != *b.Sums(nil) {
			t.Errorf("%d are damaged, or the sums differ: %+v", n, all(again))
		}
		wantOf(t, again, portal, "3")
		wantRevoked(t, again, portal, "3", time.Time{}, true)
		wantRevoked(t, again, portal, "new", time.Now(), true)
		if got := again.Epochs(portal)[3]; got != 42 {
			t.Errorf("epoch %d", got)
		}
		checkCounts(t, again)
	}
}

// The file keeps the greater of each field, whatever is written last, and deletes exactly what was
// swept.
func TestFileMergesValues(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	_, f := openBook(t, t.TempDir(), 1, nil)
	r := Record{Host: portal, User: "ada", Kind: KindRevocation, Value: 10, Until: maxValue, Local: 10, Version: Version{Clock: 1 << 60, Node: 1}}
	long, high := r, r
	long.Until, long.Value, long.Local = maxValue, 5, 5
	high.Until, high.Value = 20, 10
	for _, r := range []Record{long, high, long} {
		if err := f.Save([]Record{r}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Delete([]Record{long}); err != nil {
		t.Fatal(err)
	}
	var got []Record
	if err := f.Load(func(r Record) { got = append(got, r) }); err != nil || !slices.Equal(got, []Record{r}) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := f.Delete([]Record{r}); err != nil {
		t.Fatal(err)
	}
	got = nil
	if err := f.Load(func(r Record) { got = append(got, r) }); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// BenchmarkRevocations reports what 10,000 revocations take on the heap and in the file, and how
// long a start reads them.
func BenchmarkRevocations(b *testing.B) {
	const users = 10_000
	portal := mustHost(b, "portal.example.com")
	dir := b.TempDir()
	book, f := openBook(b, dir, 1, nil)
	for i := 0; i < users; i += 1000 {
		names := make([]string, 1000)
		for j := range names {
			names[j] = fmt.Sprintf("user-%d", i+j)
		}
		revoke(b, book, portal, 24*time.Hour, names...)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "rollcall", "assignments.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			before := heapBytes()
			start := time.Now()
			again, f := openBook(b, dir, 1, nil)
			b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "ms/start")
			b.ReportMetric(float64(heapBytes()-before)/users, "B/revocation")
			b.ReportMetric(float64(info.Size())/1024, "KiB/file")
			if again.Revocations() != users {
				b.Error("not all are there")
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, user := range []string{"user-77", "nobody"} {
		b.Run("login of "+user, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				book.Revoked(portal, user, 1)
			}
		})
	}
}
