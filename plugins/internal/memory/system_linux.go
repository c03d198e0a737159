package memory

import (
	"encoding/binary"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mostMemories returns how many memories the process may have. Each needs up to three mappings.
// When a process has vm.max_map_count of them, the Go runtime gets no memory and ends it: a quarter
// is left for everything else.
func mostMemories() int64 {
	text, err := os.ReadFile("/proc/sys/vm/max_map_count")
	if err != nil {
		return 65_530 / 4 // the kernel's default
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 65_530 / 4
	}
	return max(1, n/4)
}

// keepSmallPages keeps transparent huge pages out of a memory, where a byte written would take 2
// MiB. A kernel without them refuses, which is as good.
func keepSmallPages(space []byte) { _ = unix.Madvise(space, unix.MADV_NOHUGEPAGE) }

// pagemap is the file of the process that describes its pages, or nil.
var pagemap = sync.OnceValue(func() *os.File {
	file, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil
	}
	return file
})

// ownBytes counts the pages of a memory that are neither zero nor part of a file: those that were
// written.
func ownBytes(space []byte) (own int64, exact bool) {
	file := pagemap()
	if file == nil {
		return 0, false
	}
	if own, exact = scanPages(file, space); exact {
		return own, true
	}
	return readPages(file, space)
}

// scanArgument and pageRegion are struct pm_scan_arg and struct page_region of linux/fs.h.
type scanArgument struct {
	size, flags, start, end, walkEnd, regions, regionsLen, maxPages uint64

	inverted, mask, anyOf, returned uint64 // categories of pages
}

type pageRegion struct{ start, end, categories uint64 }

// Constants of linux/fs.h.
const (
	pagemapScan = 0xc0606610

	pageIsFile    = 1 << 2
	pageIsPresent = 1 << 3
	pageIsSwapped = 1 << 4
	pageIsZero    = 1 << 5
)

// scanPages asks the kernel for the written pages, which takes some 15 us for 600 pages. Linux 6.7
// and later can tell.
func scanPages(file *os.File, space []byte) (own int64, exact bool) {
	var regions [64]pageRegion
	start := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(space))))
	end := start + uint64(len(space))
	for start < end {
		argument := scanArgument{
			start: start, end: end, regions: uint64(uintptr(unsafe.Pointer(&regions[0]))), regionsLen: uint64(len(regions)),
			inverted: pageIsFile | pageIsZero, mask: pageIsFile | pageIsZero, anyOf: pageIsPresent | pageIsSwapped,
			returned: pageIsPresent,
		}
		argument.size = uint64(unsafe.Sizeof(argument))
		n, _, errno := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), pagemapScan, uintptr(unsafe.Pointer(&argument)))
		if errno != 0 || argument.walkEnd <= start {
			return 0, false
		}
		for _, r := range regions[:n] {
			own += int64(r.end - r.start)
		}
		start = argument.walkEnd
	}
	return own, true
}

// Bits of an entry of pagemap, see admin-guide/mm/pagemap.rst of Linux.
const (
	entryFile    = 1 << 61
	entrySwapped = 1 << 62
	entryPresent = 1 << 63
)

// readPages reads the entries of all pages. It takes some pages of zeros for written ones.
func readPages(file *os.File, space []byte) (own int64, exact bool) {
	page := int64(os.Getpagesize())
	first := int64(uintptr(unsafe.Pointer(unsafe.SliceData(space)))) / page
	entries := make([]byte, int64(len(space))/page*8)
	if _, err := file.ReadAt(entries, first*8); err != nil {
		return 0, false
	}
	for len(entries) > 0 {
		entry := binary.NativeEndian.Uint64(entries)
		if entry&(entryPresent|entrySwapped) != 0 && entry&entryFile == 0 {
			own += page
		}
		entries = entries[8:]
	}
	return own, true
}
