package arena

// A plugin has one thread, and goroutines switch only where they wait.
var shared Arena

// String returns a string with the bytes of b, which may change afterwards.
func String(b []byte) string { return shared.String(b) }
