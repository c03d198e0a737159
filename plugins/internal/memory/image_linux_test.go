package memory

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func newImage(t *testing.T, b *Budget, size int64, parts map[int64]string) *Image {
	t.Helper()
	image, err := NewImage(b, size, func(yield func(int64, []byte) bool) {
		for offset, contents := range parts {
			if !yield(offset, []byte(contents)) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestMemoriesOfAnImageShareNoWrites(t *testing.T) {
	b := NewBudget(1 << 30)
	image := newImage(t, b, 16*page, map[int64]string{0: "first", 16*page - 4: "last"})
	if b.Used() != 16*page || image.Size() != 16*page {
		t.Errorf("%d bytes are charged for an image of %d", b.Used(), image.Size())
	}
	spec := Spec{Least: 16 * page, Most: 32 * page, Image: image, Expected: page}
	var memories [3]*Linear
	for i := range memories {
		l, err := New(b, spec)
		if err != nil {
			t.Fatal(err)
		}
		memories[i] = l
		view := l.Reallocate(16 * page)
		want := append([]byte("first"), make([]byte, 16*page-9)...)
		if want = append(want, "last"...); !bytes.Equal(view, want) {
			t.Fatalf("memory %d begins with %q", i, view[:16])
		}
		if own, exact := l.Measure(); own != 0 || !exact {
			t.Errorf("memory %d has %d bytes before it is written", i, own)
		}
		for at := range view {
			view[at] = byte(i + 1)
		}
		if own, _ := l.Measure(); own != 16*page {
			t.Errorf("memory %d has %d bytes after all are written", i, own)
		}
		grown := l.Reallocate(20 * page)
		if &grown[0] != &view[0] || !bytes.Equal(grown[16*page:], make([]byte, 4*page)) {
			t.Errorf("memory %d moved, or has grown by something", i)
		}
	}
	// The mappings outlive the file.
	image.Close()
	for i, l := range memories {
		if view := l.Bytes(); view[0] != byte(i+1) || view[16*page-1] != byte(i+1) {
			t.Errorf("memory %d was overwritten", i)
		}
		l.Free()
	}
	if b.Used() != 0 || b.Pressure() != 0 {
		t.Errorf("%d bytes are left", b.Used())
	}
}

// Nobody can change an image: not its pages that no instance has copied, nor its size.
func TestImagesAreSealed(t *testing.T) {
	image := newImage(t, NewBudget(1<<30), page, nil)
	defer image.Close()
	if _, err := image.file.WriteAt([]byte("x"), 0); !errors.Is(err, os.ErrPermission) {
		t.Errorf("write: %v", err)
	}
	for _, size := range []int64{0, 2 * page} {
		if err := image.file.Truncate(size); !errors.Is(err, os.ErrPermission) {
			t.Errorf("truncate to %d: %v", size, err)
		}
	}
	fd := int(image.file.Fd())
	if _, err := unix.Mmap(fd, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); !errors.Is(err, os.ErrPermission) {
		t.Errorf("a shared mapping: %v", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, 0); !errors.Is(err, os.ErrPermission) {
		t.Errorf("another seal: %v", err)
	}
}

func TestAnImageIsAtMostAQuarterOfTheBudget(t *testing.T) {
	b := NewBudget(8 * page)
	image := newImage(t, b, 2*page, nil)
	image.Close()
	if _, err := NewImage(b, 3*page, nil); !errors.Is(err, ErrBudget) || b.Used() != 0 {
		t.Errorf("got %v, %d bytes are charged", err, b.Used())
	}
}
