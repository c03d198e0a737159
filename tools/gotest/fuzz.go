package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
)

// suite is a package with fuzz targets.
type suite struct {
	pkg, dir string
	targets  []string
	binary   string // its test, compiled for fuzzing
}

// fuzzAll runs each fuzz target of the packages for the given time. It runs as many at once as
// there are processors, each with one worker, so that no target waits while another package is
// compiled. The output of a target is shown when it has ended.
func fuzzAll(w io.Writer, time string, packages []string) (counts, error) {
	suites, err := findSuites(packages)
	if err != nil {
		return counts{}, err
	}
	cache, err := goOutput("env", "GOCACHE")
	if err != nil {
		return counts{}, err
	}
	temp, err := os.MkdirTemp("", "gotest")
	if err != nil {
		return counts{}, err
	}
	defer os.RemoveAll(temp)
	var mu sync.Mutex // guards the variables below, and w
	var sum counts
	var failures []error
	var wg sync.WaitGroup
	free := make(chan struct{}, runtime.NumCPU())
	for i, s := range suites {
		s.binary = filepath.Join(temp, fmt.Sprint(i))
		if err := s.build(); err != nil {
			mu.Lock()
			failures = append(failures, err)
			mu.Unlock()
			break
		}
		for _, name := range s.targets {
			free <- struct{}{}
			wg.Go(func() {
				defer func() { <-free }()
				var out bytes.Buffer
				c, err := s.fuzz(&out, name, time, filepath.Join(strings.TrimSpace(cache), "fuzz", s.pkg))
				mu.Lock()
				defer mu.Unlock()
				fmt.Fprintf(w, "%s for %s\n%s", name, time, &out)
				sum = sum.plus(c)
				if err != nil {
					failures = append(failures, fmt.Errorf("%s: %w", name, err))
				}
			})
		}
	}
	wg.Wait()
	return sum, errors.Join(failures...)
}

// build compiles the tests for fuzzing. One binary serves all targets: "go test -fuzz" would link
// it again for each. "go test -fuzz" would also instrument all dependencies. The fuzzing worker
// reads every counter of the binary after each input. With the counters of this module only, a
// target that imports Caddy runs about ten times the inputs, and its dependencies need no second
// compilation.
func (s suite) build() error {
	cmd := exec.Command("go", "test", "-c", "-vet=off", "-gcflags=./...=-d=libfuzzer", "-ldflags=-s -w",
		"-o", s.binary, s.pkg)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compiling %s for fuzzing: %w", s.pkg, err)
	}
	return nil
}

// fuzz runs one target as "go test -fuzz" does, with the inputs in the folder cache. It repeats a
// run once that failed only because its time was over: in Go 1.26, the fuzzing coordinator can
// report its own deadline as a failure of the target (golang/go#75804, fixed in Go 1.27).
func (s suite) fuzz(w io.Writer, name, time, cache string) (counts, error) {
	for attempt := 1; ; attempt++ {
		var out bytes.Buffer
		cmd := exec.Command("go", "tool", "test2json", "-t", "-p", s.pkg, s.binary, "-test.v=test2json", "-test.paniconexit0",
			"-test.run=^$", "-test.parallel=1", "-test.fuzz=^"+name+"$", "-test.fuzztime="+time, "-test.fuzzcachedir="+cache)
		cmd.Dir = s.dir
		c, err := readTest(io.MultiWriter(w, &out), cmd)
		if err == nil || attempt == 2 || !onlyTimeWasOver(out.String()) {
			return c, err
		}
		fmt.Fprintf(w, "%s: the time was over in the middle of an input; once more\n", name)
	}
}

// onlyTimeWasOver reports whether the output of a failed run shows the false failure of
// golang/go#75804: the only message is that of the deadline, and there is no failing input.
func onlyTimeWasOver(output string) bool {
	return strings.Contains(output, "\n    context deadline exceeded\n") &&
		!strings.Contains(output, "Failing input written to") &&
		!strings.Contains(output, "panic:") &&
		!strings.Contains(output, ".go:")
}

// declaration begins a fuzz target.
var declaration = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)

// findSuites returns the packages whose tests declare fuzz targets. It returns an error if there
// are none. It reads the files, because to ask the tests of all packages takes minutes.
func findSuites(packages []string) ([]suite, error) {
	const format = "{{.ImportPath}}\t{{.Dir}}{{range .TestGoFiles}}\t{{.}}{{end}}{{range .XTestGoFiles}}\t{{.}}{{end}}"
	out, err := goOutput(append([]string{"list", "-f", format}, packages...)...)
	if err != nil {
		return nil, err
	}
	var suites []suite
	for line := range strings.Lines(out) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		s := suite{pkg: fields[0], dir: fields[1]}
		for _, file := range fields[2:] {
			source, err := os.ReadFile(filepath.Join(s.dir, file))
			if err != nil {
				return nil, err
			}
			for _, m := range declaration.FindAllSubmatch(source, -1) {
				s.targets = append(s.targets, string(m[1]))
			}
		}
		if len(s.targets) > 0 {
			suites = append(suites, s)
		}
	}
	if len(suites) == 0 {
		return nil, errors.New("no fuzz target was found")
	}
	return suites, nil
}

// goOutput returns what the go command prints.
func goOutput(args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return string(out), nil
}
