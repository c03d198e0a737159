package memory

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"
)

func TestALargeMemoryIsChargedWhatItWrote(t *testing.T) {
	b := NewBudget(1 << 30)
	l, err := New(b, Spec{Least: 16 * page, Most: 64 * page, Expected: 2 * page})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Free()
	view := l.Reallocate(16 * page)
	if b.Used() != 2*page {
		t.Errorf("%d bytes are charged before it was measured", b.Used())
	}
	small := int64(os.Getpagesize())
	read := byte(0)
	for i := range 16 {
		read |= view[i*page] // reading makes no page
	}
	for i := range 3 {
		view[i*page] = read + 1
	}
	if own, exact := l.Measure(); own != 3*small || !exact || b.Used() != 3*small+allowance || l.Charged() != b.Used() {
		t.Errorf("%d bytes, exact: %t, charged %d", own, exact, b.Used())
	}
	view = l.Reallocate(20 * page)
	if b.Used() != 3*small+allowance+4*page {
		t.Errorf("%d bytes are charged after it grew", b.Used())
	}
	for i := range view {
		view[i] = 1
	}
	if own, _ := l.Measure(); own != 20*page || b.Used() != 20*page {
		t.Errorf("%d bytes when all are written, charged %d", own, b.Used())
	}
}

// The two ways agree, also about more regions than one call returns.
func TestPagesAreCountedAlikeInBothWays(t *testing.T) {
	l := newMemory(t, NewBudget(1<<30), 64*page, 64*page)
	view, small := l.Bytes(), os.Getpagesize()
	written := int64(0)
	for i := 0; i < len(view); i += 3 * small {
		view[i] = 1
		written += int64(small)
	}
	read, ok := readPages(pagemap(), l.space[:l.open])
	if !ok || read != written {
		t.Errorf("%d bytes by reading, want %d", read, written)
	}
	if scanned, ok := scanPages(pagemap(), l.space[:l.open]); ok && scanned != written { // Linux 6.7
		t.Errorf("%d bytes by scanning, want %d", scanned, written)
	}
}

func TestMemoriesHaveNoHugePages(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		return // the kernel has none
	}
	l := newMemory(t, NewBudget(1<<30), 16*page, 64*page)
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	at := uintptr(unsafe.Pointer(&l.space[0]))
	listed, inside := false, false
	for line := range strings.Lines(string(maps)) {
		// The kernel lists adjacent mappings with the same flags as one.
		var from, to uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			inside = from <= at && at < to
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && inside {
			listed = true
			if !strings.Contains(flags, " nh") {
				t.Errorf("the flags are%s", flags)
			}
		}
	}
	if !listed {
		t.Errorf("the mapping at %x is not listed in\n%s", at, maps)
	}
}

func TestMemoriesLeaveMappingsToTheRuntime(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/vm/max_map_count")
	if err != nil {
		t.Fatal(err)
	}
	limit := int64(0)
	if _, err := fmt.Sscan(string(text), &limit); err != nil {
		t.Fatal(err)
	}
	if n := mostMemories(); n < 1 || 4*n > limit {
		t.Errorf("%d memories for %d mappings", n, limit)
	}
}
