package assignment

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// crash copies the files in the folder of a book, as a process leaves them that is killed, and
// returns the folder of the copies.
func crash(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "rollcall"), os.DirFS(filepath.Join(dir, "rollcall"))); err != nil {
		t.Fatal(err)
	}
	return to
}

// journalOf returns the path of the journal in the folder of a book.
func journalOf(dir string) string {
	return filepath.Join(dir, "rollcall", "assignments.db"+journalExt)
}

// crowd returns wishes whose records take about a third of an area of the journal.
func crowd(t testing.TB, n int) (wishes []Wish) {
	for i := range 1000 {
		wishes = append(wishes, wish(t, fmt.Sprintf("user-%d-%d", n, i), strings.Repeat("c", 180)))
	}
	return wishes
}

func TestJournalIsReadAfterACrash(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, nil)
	for i := range 12 { // several generations
		assign(t, b, portal, crowd(t, i)...)
		remove(t, b, portal, Wish{User: fmt.Sprintf("user-%d-7", i)})
		again, copied := openBook(t, crash(t, dir), 2, nil)
		if *again.Sums(nil) != *b.Sums(nil) {
			t.Fatalf("after %d changes, %d assignments instead of %d", i+1, again.Len(), b.Len())
		}
		if n, kept := copied.Damaged(); n != 0 || kept != "" {
			t.Errorf("%d damaged, kept as %q", n, kept)
		}
	}
	if f.journal.gen < 3 {
		t.Errorf("%d generations", f.journal.gen)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(journalOf(dir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a journal is left: %v", err)
	}
	if again, _ := openBook(t, dir, 2, nil); *again.Sums(nil) != *b.Sums(nil) {
		t.Error("the database alone has something else")
	}
}

func TestJournalIsDamaged(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, nil)
	var ends []int64
	users := []string{"ada", "bob", "cleo"}
	for _, user := range users {
		assign(t, b, portal, wish(t, user, "sales"))
		ends = append(ends, f.journal.offset(1)+f.journal.areas[1].end)
	}
	tests := []struct {
		name    string
		damage  func(b []byte)
		lost    []string
		damaged int
	}{
		{"the last frame was not written", func(b []byte) { clear(b[ends[1]:]) }, []string{"cleo"}, 0},
		{"the last frame was written in part", func(b []byte) { clear(b[ends[2]-5:]) }, []string{"cleo"}, 0},
		{"a bit of the first frame", func(b []byte) { b[ends[0]-3] ^= 4 }, []string{"ada"}, 1},
		{"a bit of the second frame", func(b []byte) { b[ends[0]+frameHead+5] ^= 4 }, []string{"bob"}, 1},
		{"the head of the second frame", func(b []byte) { clear(b[ends[0]:][:frameHead]) }, []string{"bob"}, 1},
		{"its length", func(b []byte) { b[ends[0]+16] = 0xff }, []string{"bob"}, 1},
		{"the first two", func(b []byte) { clear(b[journalHead+areaSize : ends[1]]) }, []string{"ada", "bob"}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			copied := crash(t, dir)
			image, err := os.ReadFile(journalOf(copied))
			if err != nil {
				t.Fatal(err)
			}
			tt.damage(image)
			if err := os.WriteFile(journalOf(copied), image, 0o600); err != nil {
				t.Fatal(err)
			}
			again, f := openBook(t, copied, 2, nil)
			for _, user := range users {
				want := []string{"sales=ignore"}
				if slices.Contains(tt.lost, user) {
					want = nil
				}
				wantOf(t, again, portal, user, want...)
			}
			n, kept := f.Damaged()
			if n != tt.damaged {
				t.Errorf("%d damaged, want %d", n, tt.damaged)
			}
			if n == 0 && kept == "" {
				return
			}
			if got, err := os.ReadFile(kept); err != nil || !bytes.Equal(got, image) {
				t.Errorf("the damaged journal is not kept as %q: %v", kept, err)
			}
		})
	}
}

// Where an operator has put a backup in place of the database, the journal of the other one is not
// for it.
func TestJournalOfAnotherDatabaseIsLeftOut(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	path := filepath.Join(dir, "rollcall", "assignments.db")
	for session, user := range []string{"ada", "bob"} {
		b, f := openBook(t, dir, 1, nil)
		assign(t, b, portal, wish(t, user, "sales"))
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		backup, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ = openBook(t, dir, 1, nil)
		assign(t, b, portal, wish(t, "cleo", "sales"))
		restored := crash(t, dir)
		if err := os.WriteFile(filepath.Join(restored, "rollcall", "assignments.db"), backup, 0o600); err != nil {
			t.Fatal(err)
		}
		again, f := openBook(t, restored, 2, nil)
		if wantOf(t, again, portal, "cleo"); again.Len() != session+1 {
			t.Errorf("%d assignments", again.Len())
		}
		assign(t, again, portal, wish(t, "dora", "sales"))
		if n, kept := f.Damaged(); n != 0 || kept != "" {
			t.Errorf("%d damaged, kept as %q", n, kept)
		}
		once, _ := openBook(t, crash(t, restored), 3, nil)
		wantOf(t, once, portal, "dora", "sales=ignore")
		dir = crash(t, restored)
		path = filepath.Join(dir, "rollcall", "assignments.db")
		b, f = openBook(t, dir, 1, nil)
		remove(t, b, portal, wish(t, "dora"))
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Without a journal, changes go to the database.
func TestJournalFails(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	t.Run("there is no room for one", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(journalOf(dir), "in the way"), 0o700); err != nil {
			t.Fatal(err)
		}
		b, _ := openBook(t, dir, 1, nil)
		assign(t, b, portal, wish(t, "ada", "sales"))
		again, _ := openBook(t, crash(t, dir), 2, nil)
		wantOf(t, again, portal, "ada", "sales=ignore")
	})
	t.Run("the disk fails", func(t *testing.T) {
		dir := t.TempDir()
		b, f := openBook(t, dir, 1, nil)
		assign(t, b, portal, wish(t, "ada", "sales"))
		works := f.journal.file
		only, err := os.Open(works.Name())
		if err != nil {
			t.Fatal(err)
		}
		f.journal.file = only // cannot be written
		if _, err := b.Assign(portal, []Wish{wish(t, "bob", "sales")}, 0); !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		wantOf(t, b, portal, "bob")
		assign(t, b, portal, wish(t, "cleo", "sales"))
		again, _ := openBook(t, crash(t, dir), 2, nil)
		for user, want := range map[string][]string{"ada": {"sales=ignore"}, "bob": nil, "cleo": {"sales=ignore"}} {
			wantOf(t, again, portal, user, want...)
		}
		if err := errors.Join(works.Close(), f.Close()); err != nil {
			t.Error(err)
		}
	})
}

// What was deleted is not brought back by the journal.
func TestDeletedStaysDeletedAfterACrash(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	_, f := openBook(t, dir, 1, nil)
	r := Record{Host: portal, User: "ada", Channel: "sales", Mode: Listen, Version: Version{Clock: 1 << 60}}
	if err := errors.Join(f.Save([]Record{r}), f.Delete([]Record{r})); err != nil {
		t.Fatal(err)
	}
	if again, _ := openBook(t, crash(t, dir), 2, nil); again.Len() != 0 {
		t.Error("it is back")
	}
}

// FuzzJournal opens journals of arbitrary bytes.
func FuzzJournal(f *testing.F) {
	dir := f.TempDir()
	b, file := openBook(f, dir, 1, nil)
	for _, user := range []string{"ada", "bob"} {
		assign(f, b, mustHost(f, "portal.example.com"), wish(f, user, "sales", "support=listen"))
	}
	id, area := file.journal.id, make([]byte, file.journal.areas[1].end)
	if _, err := file.journal.file.ReadAt(area, file.journal.offset(1)); err != nil {
		f.Fatal(err)
	}
	f.Add(area, []byte{}, uint64(0))
	f.Add(area[:len(area)-1], area, uint64(1))
	f.Add(append([]byte{0}, area...), area[frameHead:], uint64(0))
	f.Fuzz(func(t *testing.T, one, two []byte, done uint64) {
		content := make([]byte, journalHead+2*areaSize)
		for i := range 8 {
			content[i] = byte(id >> (56 - 8*i))
		}
		copy(content[journalHead:][:areaSize], two)
		copy(content[journalHead+areaSize:], one)
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := openJournal(path, id, done)
		if err != nil || j == nil {
			t.Fatalf("not opened: %v", err)
		}
		for _, gen := range j.waiting() {
			if gen <= done {
				t.Errorf("generation %d is done", gen)
			}
			list, _ := j.records(gen)
			for _, r := range list {
				if !r.Valid() && !r.validLeft() {
					t.Errorf("%+v is no record", r)
				}
			}
		}
		if err := j.file.Close(); err != nil {
			t.Error(err)
		}
	})
}
