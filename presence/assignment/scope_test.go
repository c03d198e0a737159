package assignment

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// serving returns the scope of a pod that serves the hosts.
func serving(hosts ...presence.HostName) func(presence.HostName) bool {
	return func(host presence.HostName) bool { return slices.Contains(hosts, host) }
}

// onDisk returns the number of records in the file of the folder, of all kinds.
func onDisk(t *testing.T, dir string) (n int) {
	t.Helper()
	f, err := OpenFile(filepath.Join(dir, "rollcall", "assignments.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Load(func(Record) { n++ }); err != nil {
		t.Fatal(err)
	}
	return n
}

// shelf is a book with a file, and records of all kinds on two hosts.
type shelf struct {
	*Book
	t          *testing.T
	dir        string
	file       *File
	kept, left presence.HostName
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{t: t, dir: t.TempDir(), kept: mustHost(t, "kept.example.com"), left: mustHost(t, "left.example.com")}
	s.Book, s.file = openBook(t, s.dir, 1, nil)
	for _, host := range []presence.HostName{s.kept, s.left} {
		assign(t, s.Book, host, wish(t, "ada", "sales", "support"), wish(t, "bob", "sales"))
		remove(t, s.Book, host, wish(t, "bob", "sales"))
		revoke(t, s.Book, host, 60*24*time.Hour, "eve")
		setEpoch(t, s.Book, host, 3, uint64(time.Now().UnixMilli()))
	}
	return s
}

func (s *shelf) at(now time.Time) { s.now = clockAt(now) }

func (s *shelf) close() {
	s.t.Helper()
	s.Detach()
	if err := s.file.Close(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelf) restart(now time.Time) {
	s.t.Helper()
	s.close()
	var err error
	if s.file, err = OpenFile(filepath.Join(s.dir, "rollcall", "assignments.db")); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = s.file.Close() }) // some tests have closed it
	s.Book = NewBook(1, nil)
	s.at(now)
	if err := s.Attach(s.file); err != nil {
		s.t.Fatal(err)
	}
}

// recordsOf returns the number of records that a book has of a host.
func recordsOf(b *Book, host presence.HostName) (n int) {
	for _, r := range all(b) {
		if r.Host == host {
			n++
		}
	}
	return n
}

// A host that has left the scope keeps its records for 30 days, over restarts. Then they are
// dropped from memory and from the file.
func TestRecordsOutsideTheScopeAreDroppedAfter30Days(t *testing.T) {
	const ofHost = 5 // records of each host at first
	begin := time.Now()
	day := func(n int) time.Time { return begin.Add(time.Duration(n) * 24 * time.Hour) }
	for _, test := range []struct {
		name string
		do   func(s *shelf)
		want int // records of the host that has left, at the end
		file int // records in the file at the end, with those of times in step
	}{
		{"after 29 days", func(s *shelf) {
			s.at(day(29))
		}, ofHost, 2*ofHost + 2},
		{"after 30 days", func(s *shelf) {
			s.at(day(30).Add(SweepEvery))
		}, 0, ofHost - 1}, // the removal and the epoch of the other host have had their time, too
		{"restarted before", func(s *shelf) {
			s.restart(day(20))
			s.SetScope(serving(s.kept), 0)
			s.at(day(30).Add(SweepEvery))
		}, 0, ofHost - 1},
		{"restarted after", func(s *shelf) {
			s.restart(day(31))
			s.SetScope(serving(s.kept), 0)
		}, 0, ofHost - 1},
		{"served again before", func(s *shelf) {
			s.at(day(20))
			s.SetScope(serving(s.kept, s.left), 0)
			s.InStep(0)
			s.restart(day(29))
			s.SetScope(serving(s.kept), 0)
			s.at(day(29).Add(23 * time.Hour))
		}, ofHost, 2*ofHost + 2},
		{"served again later", func(s *shelf) {
			s.restart(day(31)) // what was removed meanwhile can be forgotten
			s.SetScope(serving(s.kept, s.left), 0)
		}, 0, ofHost - 1},
		{"without a cluster from then on", func(s *shelf) {
			s.restart(day(31))
			s.SetScope(nil, 0)
		}, ofHost - 2, 2*(ofHost-2) + 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newShelf(t)
			s.at(begin)
			s.SetScope(serving(s.kept), 0)
			if n := recordsOf(s.Book, s.left); n != ofHost {
				t.Fatalf("%d records, want %d", n, ofHost)
			}
			test.do(s)
			if err := s.Sweep(); err != nil {
				t.Error(err)
			}
			if n := recordsOf(s.Book, s.left); n != test.want {
				t.Errorf("%d records of the host that has left, want %d", n, test.want)
			}
			if m := s.Mode(s.kept, "ada", "sales"); m == None {
				t.Error("an assignment of the host that is kept is gone")
			}
			if want := 2; test.want == 0 && (s.Len() != want || s.Revocations() != 1 || len(s.hosts) != 1) {
				t.Errorf("%d assignments, %d revocations, %d hosts", s.Len(), s.Revocations(), len(s.hosts))
			}
			if s.close(); onDisk(t, s.dir) != test.file {
				t.Errorf("%d records in the file, want %d", onDisk(t, s.dir), test.file)
			}
		})
	}
}

// totalOf returns the total of the hosts in the scope of a book for which in returns true.
func totalOf(b *Book, in func(presence.HostName) bool) uint64 {
	total, _ := b.Total(in)
	return total
}

func sumsOf(b *Book, in func(presence.HostName) bool) Sums {
	in, _ = b.Select(in)
	return *b.Sums(in)
}

// Two books have one total of the hosts that both serve, whatever else they have.
func TestTotalIsOfTheHostsInScope(t *testing.T) {
	a, b, portal := twoBooks(t)
	other := mustHost(t, "other.example.com")
	both := serving(portal)
	for i := range 50 {
		records := assign(t, a, portal, wish(t, fmt.Sprintf("user-%d", i), "sales"))
		if err := merged(b, records); err != nil {
			t.Fatal(err)
		}
	}
	revoke(t, a, other, time.Hour, "ada")
	assign(t, a, other, wish(t, "bob", "sales"))
	if totalOf(a, nil) == totalOf(b, nil) || sumsOf(a, nil) == sumsOf(b, nil) {
		t.Error("the sums are equal, with another host")
	}
	check := func(when string) {
		t.Helper()
		if totalOf(a, both) != totalOf(b, both) || sumsOf(a, both) != sumsOf(b, both) {
			t.Errorf("%s: the sums of the host that both have differ", when)
		}
	}
	check("at first")
	a.SetScope(serving(portal), 0)
	if totalOf(a, nil) != totalOf(b, nil) || sumsOf(a, nil) != sumsOf(b, nil) {
		t.Error("the sums are not equal, without the other host")
	}
	if got := a.Offered(serving(portal, other)); !slices.Equal(got, []presence.HostName{other}) {
		t.Errorf("%v is offered", got)
	}
	if got := a.Offered(serving(portal)); len(got) != 0 {
		t.Errorf("%v is offered to a pod that does not serve it", got)
	}
	check("outside the scope")
	a.SetScope(serving(other), 0)
	if totalOf(a, both) != 0 || sumsOf(a, both) != (Sums{}) {
		t.Error("a host that the pod does not serve is in the sums")
	}
	a.SetScope(nil, 0)
	check("in the scope again")
	if totalOf(a, nil) == totalOf(b, nil) || sumsOf(a, nil) == sumsOf(b, nil) || len(a.Offered(serving(portal, other))) != 0 {
		t.Error("without a scope, a host is left out")
	}
}

// What is outside the scope is not offered when other pods may have forgotten removals.
func TestRecordsAreNotOfferedInTheirLastDay(t *testing.T) {
	s := newShelf(t)
	hour := time.Now().Truncate(time.Hour)
	s.at(hour)
	s.SetScope(serving(s.kept), 0)
	for before, want := range map[time.Duration]int{offerMargin + time.Hour: 1, offerMargin: 0, 0: 0} {
		s.at(hour.Add(OutsideRetention - before))
		if got := s.Offered(serving(s.kept, s.left)); len(got) != want {
			t.Errorf("%v before the end, %v is offered", before, got)
		}
	}
}

// A book takes what is sent to all pods only for hosts of its scope, and those that it has records
// of.
func TestTakesWhatIsInScopeOrKnown(t *testing.T) {
	s := newShelf(t)
	s.SetScope(serving(s.kept), 0)
	for host, want := range map[presence.HostName]bool{s.kept: true, s.left: true, mustHost(t, "other.example.com"): false} {
		if got := s.Takes(host); got != want {
			t.Errorf("%v: %v, want %v", host, got, want)
		}
	}
}

// The first record of a host outside the scope says since when it is kept, also after a restart.
func TestRecordThatAPodHadToConfirmHasItsTime(t *testing.T) {
	s := newShelf(t)
	other := mustHost(t, "other.example.com")
	begin := time.Now().Add(24 * time.Hour)
	s.at(begin)
	s.SetScope(serving(s.kept), 0)
	made := NewBook(2, nil)
	if err := made.Attach(new(fragile)); err != nil {
		t.Fatal(err)
	}
	if err := merged(s.Book, assign(t, made, other, wish(t, "ada", "sales"))); err != nil {
		t.Fatal(err)
	}
	s.restart(begin.Add(29 * 24 * time.Hour))
	s.SetScope(serving(s.kept), 0)
	if n := recordsOf(s.Book, other); n != 1 {
		t.Errorf("%d records after 29 days, want 1", n)
	}
	s.at(begin.Add(OutsideRetention + SweepEvery))
	if err := s.Sweep(); err != nil || recordsOf(s.Book, other) != 0 {
		t.Errorf("%d records after 30 days, %v", recordsOf(s.Book, other), err)
	}
}

// A record of a host outside the scope costs no more if there are many such hosts: the book does
// not compare all others with the scope.
func TestNewHostOutsideCostsNoMoreThanTheFirst(t *testing.T) {
	const hosts = 500
	b, compared := NewBook(1, nil), 0
	b.SetScope(func(presence.HostName) bool {
		compared++
		return false
	}, 1)
	for i := range hosts {
		v := Version{b.Time()<<clockBits + uint64(i), 9}
		if _, err := b.Take([]Record{{Host: mustHost(t, fmt.Sprintf("h%d.example.com", i)), User: "ada", Channel: "sales", Mode: Listen, Version: v}}); err != nil {
			t.Fatal(err)
		}
	}
	if compared > 5*hosts {
		t.Errorf("%d hosts were compared with the scope", compared)
	}
	for host, h := range b.hosts {
		if h.left.Kind != kindLeft {
			t.Errorf("%v has no last time in step", host)
		}
	}
}
