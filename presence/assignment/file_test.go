package assignment

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

func TestFileHasWhatWasSaved(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, nil)
	assign(t, b, portal, wish(t, "ada", "sales=listen", "support"), wish(t, "zwölf", "ä b"))
	remove(t, b, portal, wish(t, "ada", "support"))
	sums := *b.Sums(nil)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again, _ := openBook(t, dir, 2, nil)
	wantOf(t, again, portal, "ada", "sales=listen")
	wantOf(t, again, portal, "zwölf", "ä b=ignore")
	if *again.Sums(nil) != sums || again.Len() != 2 {
		t.Errorf("%d assignments with other sums", again.Len())
	}
	info, err := os.Stat(filepath.Join(dir, "rollcall", "assignments.db"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// A crash leaves the file as it is during a write.
func TestFileIsWholeWhileItIsWritten(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, _ := openBook(t, dir, 1, nil)
	for i := range 30 {
		user := fmt.Sprintf("u%d", i)
		assign(t, b, portal, wish(t, user, "a", "b", "c"))
		again, f := openBook(t, crash(t, dir), 2, nil)
		wantOf(t, again, portal, user, "a=ignore", "b=ignore", "c=ignore")
		if *again.Sums(nil) != *b.Sums(nil) {
			t.Fatalf("after %d changes the file has something else", i+1)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFileKeepsTheLaterRecord(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	_, f := openBook(t, dir, 1, nil)
	later := Record{Host: portal, User: "ada", Channel: "sales", Mode: Listen, Version: Version{Clock: 1 << 60, Node: 2}}
	earlier := Record{Host: portal, User: "ada", Channel: "sales", Mode: Receive, Version: Version{Clock: 1 << 60, Node: 1}}
	for _, r := range []Record{later, earlier} {
		if err := f.Save([]Record{r}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Delete([]Record{earlier}); err != nil { // not this version
		t.Fatal(err)
	}
	var got []Record
	if err := f.Load(func(r Record) { got = append(got, r) }); err != nil || len(got) != 1 || got[0] != later {
		t.Errorf("%+v, %v", got, err)
	}
	if err := f.Delete([]Record{later}); err != nil {
		t.Fatal(err)
	}
	got = nil
	if err := f.Load(func(r Record) { got = append(got, r) }); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestFileSavesForManyAtOnce(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	_, f := openBook(t, t.TempDir(), 1, nil)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			r := Record{Host: portal, User: fmt.Sprintf("u%d", i), Channel: "sales", Mode: Ignore, Version: Version{Clock: 1 << 60}}
			if err := f.Save([]Record{r}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := 0
	if err := f.Load(func(Record) { n++ }); err != nil || n != 64 {
		t.Errorf("%d records, %v", n, err)
	}
}

func TestFileIsForOneProcess(t *testing.T) {
	dir := t.TempDir()
	_, f := openBook(t, dir, 1, nil)
	path := filepath.Join(dir, "rollcall", "assignments.db")
	if _, err := OpenFile(path); !errors.Is(err, ErrLocked) {
		t.Errorf("the second one gets %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Save([]Record{{}}); err == nil {
		t.Error("saved in a file that is closed")
	}
}

// A damaged file causes neither a panic nor an exit: it is renamed and replaced. A second one is an
// error until the first one was moved.
func TestFileIsDamaged(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, nil)
	for i := range 200 {
		assign(t, b, portal, wish(t, fmt.Sprintf("user-%d", i), "one", "two", "three"))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "rollcall", "assignments.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	tests := []struct {
		name   string
		damage func(b []byte) []byte
	}{
		{"another file", func([]byte) []byte {
			return []byte("this is no file of assignments, but some text that is long enough for a page")
		}},
		{"both heads", func(b []byte) []byte { clear(b[:2*page]); return b }},
		{"half of it", func(b []byte) []byte { return b[:len(b)/2/page*page] }},
		{"two pages", func(b []byte) []byte { return b[:2*page] }},
		{"pages of zeros", func(b []byte) []byte { clear(b[2*page:]); return b }},
		{"pages of ones", func(b []byte) []byte {
			for i := 2 * page; i < len(b); i++ {
				b[i] = 0xff
			}
			return b
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			broken := filepath.Join(t.TempDir(), "assignments.db")
			image := tt.damage(bytes.Clone(whole))
			if err := os.WriteFile(broken, image, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := OpenFile(broken)
			if err != nil {
				t.Fatal(err)
			}
			b := NewBook(1, nil)
			if err := b.Attach(f); err != nil {
				t.Error(err)
			}
			assign(t, b, portal, wish(t, "new", "a"))
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			if kept, err := os.ReadFile(f.Renamed()); err != nil || !bytes.Equal(kept, image) {
				t.Errorf("the damaged file is not kept as %q: %v", f.Renamed(), err)
			}
			if err := os.WriteFile(broken, image, 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := OpenFile(broken); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "is there already") {
					t.Errorf("the second one: %v", err)
				}
			}
			if err := os.Remove(f.Renamed()); err != nil {
				t.Fatal(err)
			}
			if f, err = OpenFile(broken); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil || f.Renamed() == "" {
				t.Errorf("the first one was moved: %v, renamed to %q", err, f.Renamed())
			}
		})
	}
}

func TestFolderCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(filepath.Join(file, "assignments.db")); err == nil {
		t.Error("opened below a file")
	}
}

// A file that is truncated while it is open ends neither the process nor, by a lock that is not
// released, the shutdown. What the journal has is not lost.
func TestFileIsCutWhileItIsUsed(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, nil)
	for i := range 300 {
		assign(t, b, portal, wish(t, fmt.Sprintf("user-%d", i), "one", "two", "three"))
	}
	if err := os.Truncate(filepath.Join(dir, "rollcall", "assignments.db"), int64(2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := b.Assign(portal, []Wish{wish(t, "new", "a")}, 0); !errors.Is(err, ErrUnavailable) {
			t.Errorf("assigning: %v", err)
		}
	}
	done := make(chan error, 1)
	go func() { done <- f.Close() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("not closed after 10 s")
	}
	again, f := openBook(t, dir, 2, nil)
	wantOf(t, again, portal, "new")
	wantOf(t, again, portal, "user-299", "one=ignore", "three=ignore", "two=ignore")
	if f.Renamed() == "" {
		t.Error("the truncated file is not set aside")
	}
}

// A file that was not completed on a full disk is completed when there is room.
func TestFileIsMadeWhenThereIsRoomAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "assignments.db")
	end := testkit.LimitFiles(t, os.Getpagesize())
	_, err := OpenFile(path)
	end()
	if err == nil {
		t.Fatal("made without room")
	}
	f, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
