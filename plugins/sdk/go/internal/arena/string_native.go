//go:build !wasip1

package arena

// String returns a string with the bytes of b, which may change afterwards. It is an ordinary
// string, because tests run in parallel.
func String(b []byte) string { return string(b) }
