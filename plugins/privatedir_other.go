//go:build !unix

package plugins

// checkPrivate accepts any folder: there are no Unix permissions to check.
func checkPrivate(string) error { return nil }
