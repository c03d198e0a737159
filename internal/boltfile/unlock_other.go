//go:build !unix || aix || solaris

package boltfile

import "os"

// unlock does nothing: closing the file is enough here, or nothing is.
func unlock(*os.File) {}
