package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// slow is the duration in seconds from which a passing test is shown.
const slow = 2.0

// event is a line of "go test -json"; see "go doc test2json".
type event struct {
	Action  string
	Package string
	Test    string
	Elapsed float64
	Output  string
	Key     string // of an attribute, see testing.T.Attr
	Value   string
}

// goTest runs "go test" with the arguments, shows its progress on w, and returns the counts. The
// error is that of the command, also when a test failed. It leaves vet to "make vet", which has
// more checks: "go test" would analyze all dependencies again, once without and once with the race
// detector.
func goTest(w io.Writer, args []string) (counts, error) {
	return readTest(w, exec.Command("go", append([]string{"test", "-json", "-vet=off"}, args...)...))
}

// readTest is goTest with a command that prints the same.
func readTest(w io.Writer, cmd *exec.Cmd) (counts, error) {
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return counts{}, err
	}
	if err := cmd.Start(); err != nil {
		return counts{}, err
	}
	p := newPrinter(w)
	readErr := p.readAll(out)
	if err := cmd.Wait(); err != nil {
		return p.counts, fmt.Errorf("go test: %w", err)
	}
	return p.counts, readErr
}

// printer turns events into the output of "go test" without -json, and counts them. It holds the
// output of a test back until the test has ended, and drops it if the test passed. It shows passing
// tests that are slow or have attributes.
type printer struct {
	w      io.Writer
	counts counts
	held   map[string]map[string]*strings.Builder // output by package and test
	attrs  map[string]string                      // attributes of running tests, by package and test, as they are shown
	failed map[string]bool                        // packages with a failed test
}

func newPrinter(w io.Writer) *printer {
	return &printer{
		w:      w,
		held:   make(map[string]map[string]*strings.Builder),
		attrs:  make(map[string]string),
		failed: make(map[string]bool),
	}
}

func (p *printer) readAll(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil && e.Action != "" {
				p.handle(e)
			} else {
				p.w.Write(line) // printed by the go command itself
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the output of go test: %w", err)
		}
	}
}

func (p *printer) handle(e event) {
	if e.Test == "" {
		p.handlePackage(e)
		return
	}
	switch e.Action {
	case "output":
		tests := p.held[e.Package]
		if tests == nil {
			tests = make(map[string]*strings.Builder)
			p.held[e.Package] = tests
		}
		if tests[e.Test] == nil {
			tests[e.Test] = new(strings.Builder)
		}
		tests[e.Test].WriteString(e.Output)
	case "attr":
		p.attrs[e.Package+" "+e.Test] += fmt.Sprintf(", %s: %s", e.Key, e.Value)
	case "pass":
		p.counts.passed++
		attrs := p.attrs[e.Package+" "+e.Test]
		if e.Elapsed >= slow || attrs != "" {
			fmt.Fprintf(p.w, "--- PASS: %s (%.2fs)%s\n", e.Test, e.Elapsed, attrs)
		}
		delete(p.held[e.Package], e.Test)
	case "fail":
		p.counts.failed++
		p.failed[e.Package] = true
		p.release(e.Package, e.Test)
	case "skip":
		p.counts.skipped++
		p.release(e.Package, e.Test)
	}
}

// handlePackage handles the events of no test: the closing lines, the compiler's messages, and the
// test binary's output outside tests. The action "skip" means that a package has no test files. A
// package that fails without a failed test counts as one failure; the output of its tests so far is
// shown.
func (p *printer) handlePackage(e event) {
	switch e.Action {
	case "output", "build-output":
		if e.Output != "PASS\n" {
			fmt.Fprint(p.w, e.Output)
		}
	case "fail":
		if !p.failed[e.Package] { // it does not compile, or crashed outside a test
			p.counts.failed++
		}
		for _, test := range slices.Sorted(maps.Keys(p.held[e.Package])) {
			p.release(e.Package, test)
		}
	}
	if e.Action == "pass" || e.Action == "fail" {
		delete(p.held, e.Package)
	}
}

// release prints the held output of a test.
func (p *printer) release(pkg, test string) {
	if b := p.held[pkg][test]; b != nil {
		fmt.Fprint(p.w, b.String())
		delete(p.held[pkg], test)
	}
}
