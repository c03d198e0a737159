//go:build !unix

package disk

// checkPrivate accepts any folder, because there are no Unix permissions to check.
func checkPrivate(string) error { return nil }
