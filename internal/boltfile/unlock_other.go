//go:build !unix || aix || solaris

package boltfile

import "os"

// unlock does nothing: on these systems, closing the file suffices.
func unlock(*os.File) {}
