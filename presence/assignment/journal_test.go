package assignment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
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

// Changes that arrive during a write must share the next one: each write waits for the disk.
func TestChangesShareAWrite(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	b, f := openBook(t, t.TempDir(), 1, nil)
	assign(t, b, portal, wish(t, "ada", "sales"))
	const changes = 50
	begin := f.journal.areas[1].end
	var all sync.WaitGroup
	f.writing.Lock()
	for i := range changes {
		all.Go(func() {
			if _, err := b.Assign(portal, []Wish{wish(t, fmt.Sprint(i), "sales")}, 0); err != nil {
				t.Error(err)
			}
		})
	}
	for f.writing.Waiting() < changes {
	}
	f.writing.Unlock()
	all.Wait()
	content := make([]byte, f.journal.areas[1].end-begin)
	if _, err := f.journal.file.ReadAt(content, f.journal.offset(1)+begin); err != nil {
		t.Fatal(err)
	}
	writes := 0
	_, _ = findFrames(content, f.journal.id, func([]byte) { writes++ })
	if writes != 1 || b.Len() != changes+1 {
		t.Errorf("%d assignments, and %d writes", b.Len(), writes)
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
		{"its ID", func(b []byte) { b[3] ^= 4 }, nil, 1},
		{"its header", func(b []byte) { clear(b[:journalHead]) }, nil, 1},
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

func TestJournalIsTruncated(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, nil)
	assign(t, b, portal, wish(t, "ada", "sales"))
	end := f.journal.offset(1) + f.journal.areas[1].end
	assign(t, b, portal, wish(t, "bob", "sales"))
	for _, size := range []int64{0, 7, journalHead - 1, journalHead, end - 1, end, end + 1} {
		copied := crash(t, dir)
		if err := os.Truncate(journalOf(copied), size); err != nil {
			t.Fatal(err)
		}
		again, f := openBook(t, copied, 2, nil)
		if wantOf(t, again, portal, "bob"); size >= end {
			wantOf(t, again, portal, "ada", "sales=ignore")
		}
		n, kept := f.Damaged()
		if info, err := os.Stat(kept); n != 1 || err != nil || info.Size() != size {
			t.Errorf("%d bytes: %d damaged, kept as %q: %v", size, n, kept, err)
		}
	}
}

// The last frame of a full generation was durable, unlike that of the one that grows.
func TestFullGenerationLosesItsLastFrame(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, nil)
	assign(t, b, portal, wish(t, "ada", "sales"))
	first := f.journal.areas[1].end
	assign(t, b, portal, wish(t, "bob", "sales"))
	second := f.journal.areas[1].end
	f.journal.next() // as if the database had no room
	assign(t, b, portal, wish(t, "cleo", "sales"))
	whole, err := os.ReadFile(journalOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(area []byte){
		"whole":                  func([]byte) {},
		"a bit of the last":      func(area []byte) { area[second-3] ^= 4 },
		"the last":               func(area []byte) { clear(area[first:second]) },
		"all":                    func(area []byte) { clear(area) },
		"a bit of the first one": func(area []byte) { area[30] ^= 4 },
	} {
		copied, image := crash(t, dir), bytes.Clone(whole)
		damage(image[f.journal.offset(1):][:areaSize])
		if err := os.WriteFile(journalOf(copied), image, 0o600); err != nil {
			t.Fatal(err)
		}
		again, f := openBook(t, copied, 2, nil)
		wantOf(t, again, portal, "cleo", "sales=ignore")
		lost := 0
		if again.Len() < 3 {
			lost = 1
		}
		if n, _ := f.Damaged(); n != lost || (lost == 1) == (name == "whole") {
			t.Errorf("%s: %d assignments, %d damaged", name, again.Len(), n)
		}
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

// The journal of a database that is gone must be read, not replaced: a process can end after it has
// renamed a damaged database, and an operator moves one away.
func TestJournalOutlivesItsDatabase(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, _ := openBook(t, dir, 1, nil)
	assign(t, b, portal, wish(t, "ada", "sales"))
	for name, lose := range map[string]func(path string) error{
		"renamed by a process that has ended": func(path string) error {
			if err := os.Truncate(path, 100); err != nil {
				return err
			}
			f, err := OpenFile(path)
			if err != nil {
				return err
			}
			return f.Close()
		},
		"moved away": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			copied := crash(t, dir)
			if err := lose(filepath.Join(copied, "rollcall", "assignments.db")); err != nil {
				t.Fatal(err)
			}
			again, f := openBook(t, copied, 2, nil)
			wantOf(t, again, portal, "ada", "sales=ignore")
			if n, kept := f.Damaged(); n != 0 || kept != "" {
				t.Errorf("%d damaged, kept as %q", n, kept)
			}
		})
	}
}

// The header of the journal and the database can be damaged together. Frames have the ID, too, so
// they are read, and nothing is deleted.
func TestJournalAndItsDatabaseAreDamaged(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, nil)
	assign(t, b, portal, wish(t, "ada", "sales"))
	first := f.journal.offset(1)
	assign(t, b, portal, wish(t, "bob", "sales"))
	for name, tt := range map[string]struct {
		damage func(b []byte)
		left   []string
	}{
		"a bit of the ID":    {func(b []byte) { b[3] ^= 4 }, []string{"ada", "bob"}},
		"the ID":             {func(b []byte) { clear(b[:8]) }, []string{"ada", "bob"}},
		"and a bit of ada's": {func(b []byte) { b[3] ^= 4; b[first+frameHead+5] ^= 4 }, nil},
		"all of it":          {func(b []byte) { _, _ = rand.NewChaCha8([32]byte{}).Read(b) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			copied := crash(t, dir)
			image, err := os.ReadFile(journalOf(copied))
			if err != nil {
				t.Fatal(err)
			}
			tt.damage(image)
			err = os.WriteFile(journalOf(copied), image, 0o600)
			if err := errors.Join(err, os.Truncate(filepath.Join(copied, "rollcall", "assignments.db"), 100)); err != nil {
				t.Fatal(err)
			}
			again, f := openBook(t, copied, 2, nil)
			for _, user := range tt.left {
				wantOf(t, again, portal, user, "sales=ignore")
			}
			n, kept := f.Damaged()
			if got, err := os.ReadFile(kept); n == 0 || err != nil || !bytes.Equal(got, image) || f.Renamed() == "" {
				t.Errorf("%d damaged, the journal is not kept as %q: %v", n, kept, err)
			}
		})
	}
}

// A process that is killed while it makes a journal leaves a part of one.
func TestJournalIsNotComplete(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, nil)
	assign(t, b, portal, wish(t, "ada", "sales"))
	image, err := os.ReadFile(journalOf(dir))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 100, journalHead + 100} {
		if err := os.WriteFile(journalOf(dir)+".new", image[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		b, f := openBook(t, dir, 2, nil)
		wantOf(t, b, portal, "ada", "sales=ignore")
		if n, kept := f.Damaged(); n != 0 || kept != "" {
			t.Errorf("%d damaged, kept as %q", n, kept)
		}
		user := fmt.Sprint("user-", size)
		assign(t, b, portal, wish(t, user, "sales"))
		again, _ := openBook(t, crash(t, dir), 3, nil)
		wantOf(t, again, portal, user, "sales=ignore")
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if files, err := os.ReadDir(filepath.Dir(journalOf(dir))); err != nil || len(files) != 1 {
		t.Errorf("the folder has %v, %v", files, err)
	}
}

// The journal must be read although what identifies it is damaged.
func TestStateOfTheJournalIsDamaged(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, nil)
	assign(t, b, portal, wish(t, "ada", "sales"))
	id := binary.BigEndian.AppendUint64(nil, f.journal.id)
	for at := range 20 {
		copied := crash(t, dir)
		path := filepath.Join(copied, "rollcall", "assignments.db")
		image, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		image[bytes.LastIndex(image, id)+at] ^= 0x10
		if err := os.WriteFile(path, image, 0o600); err != nil {
			t.Fatal(err)
		}
		again, f := openBook(t, copied, 2, nil)
		wantOf(t, again, portal, "ada", "sales=ignore")
		if n, _ := f.Damaged(); n != 1 {
			t.Errorf("byte %d: %d damaged", at, n)
		}
	}
}

// A removal is in the journal, and the assignment in the database or in the journal, too.
func TestRemovalHoldsAfterACrashAndItsRetention(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	for _, inDatabase := range []bool{true, false} {
		for _, removal := range []Wish{wish(t, "ada", "sales"), {User: "ada"}} {
			dir := t.TempDir()
			b, f := openBook(t, dir, 1, nil)
			b.now = clockAt(time.Now().Add(-Retention - 2*SweepEvery))
			assign(t, b, portal, wish(t, "ada", "sales"))
			if inDatabase {
				if err := f.empty(); err != nil {
					t.Fatal(err)
				}
			}
			remove(t, b, portal, removal)
			dir = crash(t, dir)
			for range 2 {
				again, f := openBook(t, dir, 2, nil)
				if wantOf(t, again, portal, "ada"); len(all(again)) != 0 {
					t.Errorf("the book has %+v", all(again))
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// Where the database was damaged, all of the journal is read. It must not have an earlier
// generation without the one that follows.
func TestGenerationsOfAJournalAreInOrder(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, nil)
	none := []Record{{Host: portal, User: "nobody", Channel: "sales", Version: Version{Clock: 1}}}
	assign(t, b, portal, wish(t, "ada", "sales"))
	err := f.Delete(none)
	removal := remove(t, b, portal, wish(t, "ada", "sales"))
	if err := errors.Join(err, f.Delete(removal), f.Delete(none)); err != nil {
		t.Fatal(err)
	}
	assign(t, b, portal, wish(t, "bob", "sales"))
	copied := crash(t, dir)
	if err := os.Truncate(filepath.Join(copied, "rollcall", "assignments.db"), 100); err != nil {
		t.Fatal(err)
	}
	again, f := openBook(t, copied, 2, nil)
	if f.Renamed() == "" {
		t.Error("the database is not set aside")
	}
	wantOf(t, again, portal, "bob", "sales=ignore")
	wantOf(t, again, portal, "ada")
}

// A journal with records that this Rollcall does not know stays for a later one.
func TestJournalOfALaterRollcallIsLeftAlone(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, nil)
	assign(t, b, portal, wish(t, "ada", "sales"))
	if err := f.journal.append(appendFrame(nil, []Record{{Host: portal, User: "ada", Kind: kinds}})); err != nil {
		t.Fatal(err)
	}
	dir = crash(t, dir)
	image, err := os.ReadFile(journalOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	f, err = OpenFile(filepath.Join(dir, "rollcall", "assignments.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := NewBook(2, nil).Attach(f); !errors.Is(err, errEntry) {
		t.Errorf("got %v", err)
	}
	if err := f.Save([]Record{{Host: portal, User: "bob", Channel: "sales", Mode: Listen}}); err == nil {
		t.Error("saved")
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if f.journal != nil {
		t.Error("the journal is open")
	}
	if after, err := os.ReadFile(journalOf(dir)); err != nil || !bytes.Equal(after, image) {
		t.Errorf("the journal is not as it was: %v", err)
	}
}

// Without a journal, changes go to the database, until there can be one again.
func TestJournalFails(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	retry := func(t *testing.T, f *File, fails, works bool) {
		t.Helper()
		if err := f.RetryJournal(); (err != nil) != fails || (f.journal != nil) != works {
			t.Errorf("there is a journal: %t; %v", f.journal != nil, err)
		}
	}
	t.Run("there is no room for one", func(t *testing.T) {
		dir := t.TempDir()
		b, f := openBook(t, dir, 1, nil)
		if err := os.MkdirAll(filepath.Join(journalOf(dir), "in the way"), 0o700); err != nil {
			t.Fatal(err)
		}
		retry(t, f, false, false)
		assign(t, b, portal, wish(t, "ada", "sales"))
		for range 2 {
			retry(t, f, true, false)
		}
		copied := crash(t, dir)
		for _, name := range []string{journalOf(copied), journalOf(dir)} {
			if err := os.RemoveAll(name); err != nil {
				t.Fatal(err)
			}
		}
		again, _ := openBook(t, copied, 2, nil)
		wantOf(t, again, portal, "ada", "sales=ignore")
		retry(t, f, true, true)
		retry(t, f, false, true)
		assign(t, b, portal, wish(t, "bob", "sales"))
		again, _ = openBook(t, crash(t, dir), 3, nil)
		wantOf(t, again, portal, "ada", "sales=ignore")
		wantOf(t, again, portal, "bob", "sales=ignore")
	})
	t.Run("the disk fails", func(t *testing.T) {
		dir := t.TempDir()
		b, f := openBook(t, dir, 1, nil)
		assign(t, b, portal, wish(t, "ada", "sales"))
		works := f.journal.file
		only, err := os.Open(journalOf(dir))
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
		retry(t, f, true, true)
		retry(t, f, false, true)
		if err := errors.Join(works.Close(), f.Close()); err != nil {
			t.Error(err)
		}
		retry(t, f, true, false)
		if _, err := os.Stat(journalOf(dir)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a closed file has a journal: %v", err)
		}
	})
}

// When the database has no room for a full generation, a change either is in the journal or fails.
func TestDatabaseHasNoRoom(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, nil)
	assign(t, b, portal, wish(t, "ada", "sales")) // makes the journal
	end := testkit.LimitFiles(t, journalHead+2*areaSize)
	failed := 0
	for i := 0; failed < 3 && i < 100; i++ {
		if _, err := b.Assign(portal, crowd(t, i), 0); err != nil {
			failed++
		}
	}
	assign(t, b, portal, wish(t, "bob", "sales")) // the area has room for it
	end()
	again, _ := openBook(t, crash(t, dir), 2, nil)
	end = testkit.LimitFiles(t, journalHead+2*areaSize)
	closed := f.Close()
	end()
	if failed < 3 {
		t.Error("there was room")
	}
	if *again.Sums(nil) != *b.Sums(nil) {
		t.Errorf("after a crash, %d assignments instead of %d", again.Len(), b.Len())
	}
	again, f = openBook(t, dir, 3, nil)
	if *again.Sums(nil) != *b.Sums(nil) {
		t.Errorf("after closing (%v), %d assignments instead of %d", closed, again.Len(), b.Len())
	}
	assign(t, again, portal, crowd(t, 0)...)
	if n, kept := f.Damaged(); n != 0 || kept != "" || f.Renamed() != "" {
		t.Errorf("%d damaged, kept as %q, renamed to %q", n, kept, f.Renamed())
	}
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
