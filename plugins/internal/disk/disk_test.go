package disk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The limit holds even if the file was shorter when it was opened.
func TestAFileThatGrowsIsNotReadBeyondItsLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "grows")
	if err := os.WriteFile(path, make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	grow := growing{path: path}
	err := Copy(&grow, path, 1<<20)
	if err == nil || !strings.Contains(err.Error(), "larger than its limit of 1048576 bytes; raise file") {
		t.Errorf("got %v", err)
	}
	if grow.read > 1<<20+1 {
		t.Errorf("%d bytes were read", grow.read)
	}
}

// growing makes the file longer with each read.
type growing struct {
	path string
	read int
}

func (g *growing) Write(b []byte) (int, error) {
	g.read += len(b)
	return len(b), os.Truncate(g.path, int64(g.read+64<<10))
}
