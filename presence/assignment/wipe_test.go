package assignment

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
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
			if *a.Sums() != *b.Sums() {
				t.Errorf("books differ: %+v, %+v", all(a), all(b))
			}
		})
	}
}

// A pod whose clock is behind learns from a merge that its change is the earlier one, and makes it again.
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
		if *a.Sums() != *b.Sums() || b.Len() != 2 || b.kept.total != 3 {
			t.Errorf("%d assignments, %d records, %+v", b.Len(), b.kept.total, all(b))
		}
		again := NewBook(3, nil)
		if err := again.Attach(store); err != nil {
			t.Fatal(err)
		}
		if *again.Sums() != *b.Sums() || again.kept.total != 3 {
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
	if n, _ := file.Damaged(); n != 0 || *again.Sums() != *b.Sums() {
		t.Errorf("%d records are damaged, or the books differ", n)
	}
}

// A name that no channel can have removes nothing: an empty one would be a wipe, and others would look like damage in the
// file.
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
	for _, r := range all(b) {
		switch {
		case r.Blind:
			blind++
		default:
			kept++
		}
		if r.Mode != None {
			assigned++
		}
	}
	if got := fmt.Sprint(b.kept.total, b.blind.total, b.assigned); got != fmt.Sprint(kept, blind, assigned) {
		t.Errorf("counted are %s, there are %d %d %d", got, kept, blind, assigned)
	}
}
