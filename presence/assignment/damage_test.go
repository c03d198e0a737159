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

	"go.etcd.io/bbolt"
)

// load opens a file with these bytes, and returns its records and the number of damaged ones. For a
// file that was renamed, it returns ErrDamaged.
func load(t *testing.T, path string, image []byte) (records []Record, damaged int, err error) {
	t.Helper()
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(path)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	if f.Renamed() != "" {
		return nil, 0, ErrDamaged
	}
	err = f.Load(func(r Record) { records = append(records, r) })
	damaged, _ = f.Damaged()
	return records, damaged, err
}

// sample returns the records and the bytes of a file.
func sample(t *testing.T) (records []Record, image []byte) {
	t.Helper()
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	b, f := openBook(t, dir, 1, nil)
	assign(t, b, portal, wish(t, "USER_1", "sales=listen"), wish(t, "USER_2", "sales", "support=receive"))
	if err := errors.Join(f.Load(func(r Record) { records = append(records, r) }), f.Close()); err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(filepath.Join(dir, "rollcall", "assignments.db"))
	if err != nil {
		t.Fatal(err)
	}
	return records, image
}

// A flipped bit on disk assigns no other user, and no loss is silent.
func TestFlippedBitAssignsNobodyElse(t *testing.T) {
	want, image := sample(t)
	dir := t.TempDir()
	page := os.Getpagesize()
	bits, dropped := 0, 0
	flip := func(bit int) {
		flipped := bytes.Clone(image)
		flipped[bit/8] ^= 1 << (bit % 8)
		got, damaged, err := load(t, filepath.Join(dir, fmt.Sprint(bits)), flipped) // a damaged file can remain locked
		bits++
		switch {
		case errors.Is(err, ErrDamaged):
		case err != nil:
			t.Errorf("bit %d: %v", bit, err)
		case len(got)+damaged < len(want):
			t.Errorf("bit %d: %d records and %d damaged, want %d", bit, len(got), damaged, len(want))
		default:
			dropped += damaged
		}
		for _, r := range got {
			if !slices.Contains(want, r) {
				t.Errorf("bit %d: %+v was never assigned", bit, r)
			}
		}
	}
	for start := 2 * page; start < len(image); start += page {
		whole := image[start : start+page]
		before, _, ok := bytes.Cut(whole, []byte("portal.example.com"))
		if !ok {
			continue
		}
		first := len(before)
		last := bytes.LastIndex(whole, []byte("portal.example.com"))
		end := last + len("portal.example.com.USER_2.support") + valueSize + 4
		for i := first; i < end; i++ {
			flip((start+i)*8 + i*5%8)
		}
		// The number of entries, in front of them: the page has one entry, or none.
		flip((start+first-(1+len(want))*16+10)*8 + 1)
		flip((start+10)*8 + 1)
		user := bytes.Index(whole, []byte("USER_1"))
		for bit := range 6 * 8 {
			flip((start+user)*8 + bit)
		}
	}
	if bits < 200 || dropped < 150 {
		t.Errorf("%d bits flipped, %d records were left out", bits, dropped)
	}
}

func TestDamagedRecordsAreReplacedByOtherPods(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	want, image := sample(t)
	other := NewBook(2, nil)
	if _, all := other.apply(want, false); !all {
		t.Fatal("no room")
	}
	at := bytes.LastIndex(image, []byte("USER_1"))
	image[at+5] ^= 2 // USER_3
	dir := t.TempDir()
	path := filepath.Join(dir, "rollcall", "assignments.db")
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, image, 0o600)); err != nil {
		t.Fatal(err)
	}

	b, f := openBook(t, dir, 1, nil)
	n, kept := f.Damaged()
	if copied, err := os.ReadFile(kept); n != 1 || err != nil || !bytes.Contains(copied, []byte("USER_3")) {
		t.Errorf("%d damaged, and the copy has %d bytes: %v", n, len(copied), err)
	}
	wantOf(t, b, portal, "USER_1")
	wantOf(t, b, portal, "USER_3")
	wantOf(t, b, portal, "USER_2", "sales=ignore", "support=receive")
	for i := range Shards {
		if _, err := b.Merge(other.Part(i, nil)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again, f := openBook(t, dir, 3, nil)
	if n, _ := f.Damaged(); n != 0 || *again.Sums(nil) != *other.Sums(nil) {
		t.Errorf("%d damaged, %d assignments", n, again.Len())
	}
}

// A file of the first format has no checksums. It is rewritten with them.
func TestFileOfTheFirstFormat(t *testing.T) {
	portal := mustHost(t, "portal.example.com")
	dir := t.TempDir()
	path := filepath.Join(dir, "rollcall", "assignments.db")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	const users = rewriteBatch + 5 // more than one transaction
	err = db.Update(func(tx *bbolt.Tx) error {
		records, err := tx.CreateBucket([]byte("assignments"))
		if err != nil {
			return err
		}
		for i := range users {
			r := Record{Host: portal, User: fmt.Sprintf("u%05d", i), Channel: "sales", Mode: Listen, Version: Version{Clock: 1 << 60, Node: 7}}
			value := appendValue(nil, &r)
			value[0] = 1
			if err := records.Put(appendKey(nil, &r), value); err != nil {
				return err
			}
		}
		if err := records.Put([]byte("rubbish"), []byte{1}); err != nil {
			return err
		}
		meta, err := tx.CreateBucket([]byte("rollcall"))
		if err != nil {
			return err
		}
		return meta.Put([]byte("format"), []byte("1"))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		b, f := openBook(t, dir, uint64(i), nil)
		n, _ := f.Damaged()
		if b.Len() != users || n != 1-i {
			t.Errorf("opened %d times before: %d assignments, %d damaged", i, b.Len(), n)
		}
		wantOf(t, b, portal, "u00000", "sales=listen")
		assign(t, b, portal, wish(t, "u00000", "sales=listen"))
		if _, err := OpenFile(path); !errors.Is(err, ErrLocked) {
			t.Errorf("the second one gets %v", err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// It is not damaged, so it is not replaced.
func TestFileOfALaterFormat(t *testing.T) {
	dir := t.TempDir()
	_, f := openBook(t, dir, 1, nil)
	err := f.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Put(formatKey, []byte("4")) })
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(f.path); err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), `the format "4"`) {
		t.Errorf("got %v", err)
	}
	if after, err := os.ReadFile(f.path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file is not as it was: %v", err)
	}
}
