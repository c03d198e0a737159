package hostile

import (
	"fmt"
	"os"
	"testing"
)

// workDir holds the modules of this run.
var workDir string

func TestMain(m *testing.M) {
	if job := os.Getenv(jobVariable); job != "" {
		os.Exit(work(job, os.Args[1:]))
	}
	dir, err := os.MkdirTemp("", "rollcall-hostile-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	workDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}
