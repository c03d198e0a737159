package boltfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

var bucket = []byte("things")

func mustOpen(t *testing.T, path string, l Layout) *File {
	t.Helper()
	l.Root = bucket
	f, renamed, err := Open(path, l)
	if err != nil || renamed != "" {
		t.Fatalf("renamed to %q, %v", renamed, err)
	}
	t.Cleanup(func() { _ = f.Close() }) // some tests close it themselves
	return f
}

func set(key, value string) func(tx *bbolt.Tx) error {
	return func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put([]byte(key), []byte(value)) }
}

func wantKeys(t *testing.T, f *File, want int) {
	t.Helper()
	n := 0
	err := f.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(_, _ []byte) error { n++; return nil })
	})
	if err != nil || n != want {
		t.Errorf("%d keys, want %d; %v", n, want, err)
	}
}

func TestInitIsForNewFilesAndCheckForOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "x.db")
	var calls []string
	l := Layout{
		Init:  func(tx *bbolt.Tx) error { calls = append(calls, "init"); return set("k", "v")(tx) },
		Check: func(*bbolt.Tx) error { calls = append(calls, "check"); return nil },
	}
	for range 2 {
		f := mustOpen(t, path, l)
		wantKeys(t, f, 1)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(calls, " "); got != "init check" {
		t.Errorf("called: %s", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestSecondOneIsLockedOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	mustOpen(t, path, Layout{})
	if _, _, err := Open(path, Layout{Root: bucket}); !errors.Is(err, ErrLocked) || errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
}

// Changes that arrive during a write must share a transaction.
func TestUpdatesShareATransaction(t *testing.T) {
	f := mustOpen(t, filepath.Join(t.TempDir(), "x.db"), Layout{})
	const changes = 50
	ids := make(map[int]bool)
	var all sync.WaitGroup
	f.writing.Lock()
	for i := range changes {
		all.Go(func() {
			err := f.Update(func(tx *bbolt.Tx) error {
				ids[tx.ID()] = true // one transaction at a time
				return set(fmt.Sprint(i), "v")(tx)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	for f.writing.Waiting() < changes {
	}
	f.writing.Unlock()
	all.Wait()
	wantKeys(t, f, changes)
	if len(ids) != 1 {
		t.Errorf("%d transactions", len(ids))
	}
}

func TestUpdateThatFailsChangesNothing(t *testing.T) {
	f := mustOpen(t, filepath.Join(t.TempDir(), "x.db"), Layout{})
	failed := errors.New("no")
	err := f.Update(func(tx *bbolt.Tx) error { return errors.Join(set("k", "v")(tx), failed) })
	if !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	wantKeys(t, f, 0)
	if err := f.Update(set("k", "v")); err != nil {
		t.Error(err)
	}
	wantKeys(t, f, 1)
}

// full writes a file of many pages and returns its content.
func full(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	f := mustOpen(t, path, Layout{})
	for i := range 20 {
		if err := f.Update(set(fmt.Sprint(i), strings.Repeat("v", 2000))); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func walk(tx *bbolt.Tx) error {
	return tx.Bucket(bucket).ForEach(func(_, _ []byte) error { return nil })
}

func TestDamagedFileIsRenamedOnce(t *testing.T) {
	whole, page := full(t), os.Getpagesize()
	never := errors.New("not of this program")
	tests := []struct {
		name  string
		image []byte
		check func(tx *bbolt.Tx) error
	}{
		{"one byte", whole[:1], walk},
		{"two pages", whole[:2*page], walk},
		{"cut", whole[:len(whole)/2/page*page], nil},
		{"heads of zeros", append(make([]byte, 2*page), whole[2*page:]...), walk},
		{"pages of zeros", append(bytes.Clone(whole[:2*page]), make([]byte, len(whole)-2*page)...), walk},
		{"check", whole, func(*bbolt.Tx) error { return fmt.Errorf("%w: %w", ErrDamaged, never) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			write := func() {
				t.Helper()
				if err := os.WriteFile(path, tt.image, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			open := func() (*File, string, error) { return Open(path, Layout{Root: bucket, Check: tt.check}) }
			write()
			f, renamed, err := open()
			if err != nil || renamed != path+DamagedExt {
				t.Fatalf("renamed to %q, %v", renamed, err)
			}
			if kept, err := os.ReadFile(renamed); err != nil || !bytes.Equal(kept, tt.image) {
				t.Errorf("the damaged file is not kept: %v", err)
			}
			if err := errors.Join(f.Update(set("k", "v")), f.Close()); err != nil {
				t.Error(err)
			}
			write()
			for range 3 {
				if _, _, err := open(); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), renamed) {
					t.Errorf("the second one: %v", err)
				}
			}
			if kept, err := os.ReadFile(path); err != nil || !bytes.Equal(kept, tt.image) {
				t.Errorf("the second one is not left alone: %v", err)
			}
			if err := os.Remove(renamed); err != nil {
				t.Fatal(err)
			}
			if f, renamed, err = open(); err != nil || renamed == "" {
				t.Fatalf("renamed to %q, %v", renamed, err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A check can refuse an undamaged file, which must stay unchanged.
func TestFileOfAnotherProgramIsLeftAlone(t *testing.T) {
	image, path := full(t), filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	later := errors.New("a later format")
	if _, _, err := Open(path, Layout{Root: bucket, Check: func(*bbolt.Tx) error { return later }}); !errors.Is(err, later) {
		t.Errorf("got %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(image, after) {
		t.Errorf("the file is not as it was: %v", err)
	}
	wantKeys(t, mustOpen(t, path, Layout{Check: walk}), 20)
}

// After a file was truncated while it was open, each call must return the same error, and Close
// must not block.
func TestFileThatIsCutWhileItIsOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, full(t), 0o600); err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, path, Layout{})
	if err := os.Truncate(path, int64(2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	first := f.Update(set("k", "v"))
	for range 2 {
		if err := f.View(walk); !errors.Is(err, ErrDamaged) || err.Error() != first.Error() {
			t.Errorf("%v, and then %v", first, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, renamed, err := Open(path, Layout{Root: bucket, Check: walk}); err != nil || renamed == "" {
		t.Errorf("renamed to %q, %v", renamed, err)
	}
}

// On a full disk, an existing file must be readable, a new one must fail, and neither is damage.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	image := full(t)
	end := testkit.LimitFiles(t, os.Getpagesize())
	_, _, err := Open(path, Layout{Root: bucket})
	_, _, again := Open(path, Layout{Root: bucket})
	end()
	if err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("without room: %v", err)
	}
	if fmt.Sprint(err) != fmt.Sprint(again) || !errors.Is(err, syscall.EFBIG) { // the same error is logged once
		t.Errorf("%v, and then %v", err, again)
	}
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	end = testkit.LimitFiles(t, os.Getpagesize())
	f, renamed, err := Open(path, Layout{Root: bucket, Check: walk})
	if err != nil || renamed != "" {
		end()
		t.Fatalf("renamed to %q, %v", renamed, err)
	}
	wantKeys(t, f, 20)
	failed := f.Update(set("k", "v"))
	end()
	if failed == nil || errors.Is(failed, ErrDamaged) {
		t.Errorf("writing without room: %v", failed)
	}
	wantKeys(t, f, 20)
	if err := errors.Join(f.Update(set("k", "v")), f.Close()); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("the folder has %v, %v", files, err)
	}
}

// A process that is killed while it copies a damaged file leaves an incomplete copy. The next one
// makes the copy again.
func TestRewriteAfterAKilledOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	incomplete := path + DamagedExt + newExt
	for name, content := range map[string][]byte{path: full(t), incomplete: full(t)[:100]} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	to, kept, err := mustOpen(t, path, Layout{}).Rewrite(Layout{Root: bucket}, true, func(*bbolt.Tx, *File) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	wantKeys(t, mustOpen(t, kept, Layout{}), 20)
	if _, err := os.Stat(incomplete); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the incomplete copy: %v", err)
	}
}

// A file can break after a rewrite has failed. It must not stay locked.
func TestFileBreaksAfterARewrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, full(t), 0o600); err != nil {
		t.Fatal(err)
	}
	f, failed := mustOpen(t, path, Layout{}), errors.New("no")
	if _, _, err := f.Rewrite(Layout{Root: bucket}, true, func(*bbolt.Tx, *File) error { return failed }); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	if err := f.View(walk); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, renamed, err := Open(path, Layout{Root: bucket, Check: walk}); err != nil || renamed == "" {
		t.Errorf("renamed to %q, %v", renamed, err)
	}
}

func TestRewrite(t *testing.T) {
	failed := errors.New("no")
	fill := func(old *bbolt.Tx, to *File) error {
		return to.Update(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucket).Put([]byte("1"), old.Bucket(bucket).Get([]byte("1")))
		})
	}
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, full(t), 0o600); err != nil {
		t.Fatal(err)
	}
	f, l := mustOpen(t, path, Layout{}), Layout{Root: bucket}
	if to, _, err := f.Rewrite(l, true, func(*bbolt.Tx, *File) error { return failed }); to != nil || !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	wantKeys(t, f, 20)
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("the folder has %v, %v", files, err)
	}

	to, kept, err := f.Rewrite(l, true, fill)
	if err != nil {
		t.Fatal(err)
	}
	wantKeys(t, to, 1)
	if _, _, err := Open(path, l); !errors.Is(err, ErrLocked) {
		t.Errorf("the new one: %v", err)
	}
	wantKeys(t, mustOpen(t, kept, Layout{}), 20)

	if again, _, err := to.Rewrite(l, true, fill); again != nil || !errors.Is(err, ErrDamaged) {
		t.Errorf("a second one to keep: %v", err)
	}
	to, _, err = to.Rewrite(l, false, fill)
	if err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Error(err)
	}
	wantKeys(t, mustOpen(t, path, Layout{Check: walk}), 1)
}
