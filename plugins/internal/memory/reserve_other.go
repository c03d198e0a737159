//go:build !(linux || darwin || freebsd)

package memory

// Without mmap, the memory comes from Go's heap, which uses physical memory when a page is first
// touched.

func reserve(n int64) ([]byte, error) { return make([]byte, n), nil }

func commit([]byte, int64, int64) error { return nil }

func release([]byte) {}
