package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReportAddsUp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report")
	for name, c := range map[string]counts{"unit": {passed: 3, skipped: 1}, "e2e": {passed: 4, failed: 2}} {
		if err := addToReport(file, name, c, 1500*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	sum, err := printReport(&out, file)
	if err != nil {
		t.Fatal(err)
	}
	if want := (counts{passed: 7, failed: 2, skipped: 1}); sum != want {
		t.Errorf("sum = %v, want %v", sum, want)
	}
	if !strings.HasSuffix(out.String(), "\n7 passed, 2 failed, 1 skipped\n") {
		t.Errorf("the report ends with:\n%s", &out)
	}
}

func TestReportIsNeeded(t *testing.T) {
	if _, err := printReport(new(bytes.Buffer), filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("a missing report is not an error")
	}
}
