package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
)

// target is a fuzz target in its package.
type target struct {
	pkg, name string
}

// fuzzAll runs each fuzz target of the packages for the given time. It runs as many at once as
// there are processors, each with one worker, so that no target waits while another package is
// compiled. The output of a target is shown when it has ended.
func fuzzAll(w io.Writer, time string, packages []string) (counts, error) {
	targets, err := findTargets(packages)
	if err != nil {
		return counts{}, err
	}
	var mu sync.Mutex // guards the variables below, and w
	var sum counts
	var failures []error
	var wg sync.WaitGroup
	free := make(chan struct{}, runtime.NumCPU())
	var built string
	for _, t := range targets {
		// Two simultaneous go commands would compile the same packages twice.
		if t.pkg != built {
			built = t.pkg
			if err := build(t); err != nil {
				mu.Lock()
				failures = append(failures, err)
				mu.Unlock()
				break
			}
		}
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			var out bytes.Buffer
			c, err := fuzz(&out, t, time)
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(w, "%s for %s\n%s", t.name, time, &out)
			sum = sum.plus(c)
			if err != nil {
				failures = append(failures, fmt.Errorf("%s: %w", t.name, err))
			}
		})
	}
	wg.Wait()
	return sum, errors.Join(failures...)
}

// build compiles the package of a target for fuzzing, into the build cache.
func build(t target) error {
	cmd := exec.Command("go", "test", "-c", "-fuzz=^"+t.name+"$", "-o", os.DevNull, t.pkg)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compiling %s for fuzzing: %w", t.pkg, err)
	}
	return nil
}

// fuzz runs one target. It repeats a run once that failed only because its time was over: in Go
// 1.26, the fuzzing coordinator can report its own deadline as a failure of the target
// (golang/go#75804, fixed in Go 1.27).
func fuzz(w io.Writer, t target, time string) (counts, error) {
	for attempt := 1; ; attempt++ {
		var out bytes.Buffer
		c, err := goTest(io.MultiWriter(w, &out), []string{
			"-run=^$", "-parallel=1", "-fuzz=^" + t.name + "$", "-fuzztime=" + time, t.pkg,
		})
		if err == nil || attempt == 2 || !onlyTimeWasOver(out.String()) {
			return c, err
		}
		fmt.Fprintf(w, "%s: the time was over in the middle of an input; once more\n", t.name)
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

// findTargets asks the test binaries of the packages for their fuzz targets. It returns an error if
// there are none.
func findTargets(packages []string) ([]target, error) {
	args := append([]string{"test", "-list=^Fuzz"}, packages...)
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		os.Stdout.Write(out)
		return nil, fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	targets := parseTargets(string(out))
	if len(targets) == 0 {
		return nil, errors.New("no fuzz target was found")
	}
	return targets, nil
}

// parseTargets parses the output of "go test -list": the names of a package, then a line with the
// package.
func parseTargets(list string) []target {
	var targets []target
	var names []string
	for line := range strings.Lines(list) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "Fuzz") {
			names = append(names, line)
			continue
		}
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == "ok" {
			for _, name := range names {
				targets = append(targets, target{fields[1], name})
			}
			names = nil
		}
	}
	return targets
}
