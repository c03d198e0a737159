package assignment

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
)

var mustHost = testkit.MustHost

// openBook returns a book with a file in the folder, and the file.
func openBook(t testing.TB, dir string, node uint64, changed Changed) (*Book, *File) {
	t.Helper()
	f, err := OpenFile(filepath.Join(dir, "rollcall", "assignments.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // some tests have closed it
	b := NewBook(node, changed)
	if err := b.Attach(f); err != nil {
		t.Fatal(err)
	}
	return b, f
}

// wish returns a wish of a user and channels, each "channel" or "channel=mode".
func wish(t testing.TB, user string, channels ...string) Wish {
	t.Helper()
	w := Wish{User: user}
	for _, text := range channels {
		var mode Mode
		name, word := text, ""
		if i := slices.Index([]byte(text), '='); i >= 0 {
			name, word = text[:i], text[i+1:]
		}
		mode, err := ParseMode(word)
		if err != nil {
			t.Fatal(err)
		}
		w.Channels = append(w.Channels, Assignment{name, mode})
	}
	return w
}

func assign(t testing.TB, b *Book, host presence.HostName, wishes ...Wish) []Record {
	t.Helper()
	records, err := b.Assign(host, wishes, 0)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func remove(t testing.TB, b *Book, host presence.HostName, wishes ...Wish) []Record {
	t.Helper()
	records, _, err := b.Remove(host, wishes)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// revoke revokes tokens of users up to now.
func revoke(t testing.TB, b *Book, host presence.HostName, lasts time.Duration, users ...string) []Record {
	t.Helper()
	records, err := b.Revoke(host, users, 0, lasts)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func setEpoch(t testing.TB, b *Book, host presence.HostName, shard uint8, epoch uint64) []Record {
	t.Helper()
	records, err := b.SetEpoch(host, shard, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// merged merges records, and returns the error of it.
func merged(b *Book, records []Record) error {
	_, err := b.Merge(records)
	return err
}

// of returns a user's assignments as text.
func of(b *Book, host presence.HostName, user string) []string {
	var texts []string
	for _, a := range b.Of(host, user) {
		texts = append(texts, fmt.Sprintf("%s=%s", a.Channel, a.Mode))
	}
	return texts
}

func wantOf(t testing.TB, b *Book, host presence.HostName, user string, want ...string) {
	t.Helper()
	if got := of(b, host, user); !slices.Equal(got, want) {
		t.Errorf("%s of %s is assigned to %q, want %q", user, host, got, want)
	}
}

// all returns all records of a book.
func all(b *Book) []Record {
	var list []Record
	for i := range Shards {
		list = append(list, b.Part(i, nil)...)
	}
	return list
}

// fragile is a Store in memory that can be made to fail.
type fragile struct {
	mu      sync.Mutex
	err     error
	records map[name]Record
	asked   int  // number of records passed to Save
	crowded bool // Delete fails, like that of a file when only its journal has room
}

var errFull = errors.New("no space left on device")

func (s *fragile) Load(take func(r Record)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.records {
		take(r)
	}
	return s.err
}

func (s *fragile) Save(records []Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked += len(records)
	if s.err != nil {
		return s.err
	}
	if s.records == nil {
		s.records = make(map[name]Record)
	}
	for i := range records {
		r := records[i]
		if old, ok := s.records[nameOf(&r)]; ok {
			r = old.Merge(r)
		}
		s.records[nameOf(&r)] = r
	}
	return nil
}

func (s *fragile) Delete(records []Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.crowded {
		return errFull
	}
	for i := range records {
		delete(s.records, nameOf(&records[i]))
	}
	return s.err
}

func (s *fragile) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// held is a Store whose Save blocks.
type held struct {
	fragile
	entered, let chan bool
}

func (s *held) Save(records []Record) error {
	s.entered <- true
	<-s.let
	return s.fragile.Save(records)
}

// clockAt returns a clock that stands still.
func clockAt(t time.Time) func() time.Time { return func() time.Time { return t } }
