package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeModule creates a module with one test file, and changes into its folder.
func writeModule(t *testing.T, testFile string) {
	t.Helper()
	folder := t.TempDir()
	files := map[string]string{
		"go.mod":      "module example.com/m\n\ngo 1.26.0\n",
		"m.go":        "package m\n",
		"m_test.go":   testFile,
		"none/n.go":   "package none\n",
		"none/doc.go": "// Package none has no tests.\npackage none\n",
	}
	for name, content := range files {
		name = filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(folder)
}

func TestGoTest(t *testing.T) {
	tests := []struct {
		name     string
		testFile string
		want     counts
		wantErr  bool     // error of the command
		shown    []string // expected in the output
		hidden   []string // not expected in the output
	}{
		{
			name:     "tests that pass are counted and silent",
			testFile: `import "testing"; func TestA(t *testing.T) { t.Log("quiet"); t.Run("sub", func(*testing.T) {}) }`,
			want:     counts{passed: 2},
			shown:    []string{"ok  \texample.com/m\t", "?   \texample.com/m/none\t[no test files]"},
			hidden:   []string{"quiet", "PASS"},
		},
		{
			name:     "attributes are shown",
			testFile: `import "testing"; func TestA(t *testing.T) { t.Attr("duplicates", "3 of 70"); t.Attr("runs", "6") }`,
			want:     counts{passed: 1},
			shown:    []string{"--- PASS: TestA (0.00s), duplicates: 3 of 70, runs: 6\n"},
		},
		{
			name:     "a failure is shown",
			testFile: `import "testing"; func TestA(t *testing.T) { t.Error("broken") }; func TestB(*testing.T) {}`,
			want:     counts{passed: 1, failed: 1},
			wantErr:  true,
			shown:    []string{"--- FAIL: TestA", "broken", "FAIL\texample.com/m\t"},
		},
		{
			name:     "a skip is counted and shown with its reason",
			testFile: `import "testing"; func TestA(*testing.T) {}; func TestB(t *testing.T) { t.Skip("no browser") }`,
			want:     counts{passed: 1, skipped: 1},
			shown:    []string{"--- SKIP: TestB", "no browser"},
		},
		{
			name:     "a skipped subtest is counted",
			testFile: `import "testing"; func TestA(t *testing.T) { t.Run("sub", func(t *testing.T) { t.SkipNow() }) }`,
			want:     counts{passed: 1, skipped: 1},
			shown:    []string{"--- SKIP: TestA/sub"},
		},
		{
			name:     "no test",
			testFile: `import _ "testing"`,
			shown:    []string{"[no tests to run]"},
		},
		{
			name:     "a file that does not compile",
			testFile: `import "testing"; func TestA(*testing.T) { undefined() }`,
			want:     counts{failed: 1},
			wantErr:  true,
			shown:    []string{"undefined: undefined", "[build failed]"},
		},
		{
			name:     "a crash shows the test that ran",
			testFile: `import "testing"; func TestA(t *testing.T) { t.Log("before"); go panic("crashed"); select {} }`,
			want:     counts{failed: 1},
			wantErr:  true,
			shown:    []string{"before", "panic: crashed", "FAIL\texample.com/m\t"},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			writeModule(t, "package m\n"+tc.testFile+"\n")
			var out bytes.Buffer
			got, err := goTest(&out, []string{"./..."})
			if got != tc.want || (err != nil) != tc.wantErr {
				t.Errorf("goTest = %v, %v, want %v and an error: %t", got, err, tc.want, tc.wantErr)
			}
			for _, s := range tc.shown {
				if !strings.Contains(out.String(), s) {
					t.Errorf("the output lacks %q:\n%s", s, &out)
				}
			}
			for _, s := range tc.hidden {
				if strings.Contains(out.String(), s) {
					t.Errorf("the output has %q:\n%s", s, &out)
				}
			}
		})
	}
}

func TestVerdict(t *testing.T) {
	tests := []struct {
		counts counts
		want   string
	}{
		{counts{passed: 1}, ""},
		{counts{}, "no test was executed"},
		{counts{passed: 1, failed: 1, skipped: 1}, "1 failed"},
		{counts{passed: 1, skipped: 2}, "2 skipped"},
		{counts{skipped: 1}, "1 skipped"},
	}
	for _, tc := range tests {
		got := ""
		if err := tc.counts.verdict(); err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, tc.want) || (got == "") != (tc.want == "") {
			t.Errorf("verdict of %v = %q, want %q", tc.counts, got, tc.want)
		}
	}
}
