package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// target is a fuzz target and the package that it is in.
type target struct {
	pkg, name string
}

// fuzzAll runs each fuzz target of the packages for the given time.
func fuzzAll(w io.Writer, time string, packages []string) (counts, error) {
	targets, err := findTargets(packages)
	if err != nil {
		return counts{}, err
	}
	var sum counts
	var failures []error
	for _, t := range targets {
		fmt.Fprintf(w, "%s for %s\n", t.name, time)
		c, err := fuzz(w, t, time)
		sum = sum.plus(c)
		if err != nil {
			failures = append(failures, err)
		}
	}
	return sum, errors.Join(failures...)
}

// fuzz runs one target. A run that failed only because its time was over is repeated once: in Go 1.26 the fuzzing
// coordinator can take its own deadline for a failure of the target (golang/go#75804, fixed in Go 1.27).
func fuzz(w io.Writer, t target, time string) (counts, error) {
	for attempt := 1; ; attempt++ {
		var out bytes.Buffer
		c, err := goTest(io.MultiWriter(w, &out), []string{"-run=^$", "-fuzz=^" + t.name + "$", "-fuzztime=" + time, t.pkg})
		if err == nil || attempt == 2 || !onlyTimeWasOver(out.String()) {
			return c, err
		}
		fmt.Fprintf(w, "%s: the time was over in the middle of an input; once more\n", t.name)
	}
}

// onlyTimeWasOver reports whether the output of a failed fuzz run shows the false failure of golang/go#75804: the
// only message is that of the deadline, and no failing input was found.
func onlyTimeWasOver(output string) bool {
	return strings.Contains(output, "\n    context deadline exceeded\n") &&
		!strings.Contains(output, "Failing input written to") &&
		!strings.Contains(output, "panic:") &&
		!strings.Contains(output, ".go:")
}

// findTargets asks the test binaries of the packages for their fuzz targets. Finding none is an error.
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

// parseTargets reads the output of "go test -list": the names of a package, then a line with the package itself.
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
