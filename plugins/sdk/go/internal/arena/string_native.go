//go:build !wasip1

package arena

// String returns a string with the bytes of b, which may change afterwards. Tests run in parallel, so that it is an
// ordinary one.
func String(b []byte) string { return string(b) }
