package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// addToReport appends a line with the counts of a run to the file.
func addToReport(file, name string, c counts, took time.Duration) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("opening the report: %w", err)
	}
	if _, err := fmt.Fprintf(f, "%s %d %d %d %.0f\n", name, c.passed, c.failed, c.skipped, took.Seconds()); err != nil {
		f.Close()
		return fmt.Errorf("writing the report: %w", err)
	}
	return f.Close()
}

// printReport prints the lines of the file as a table, and prints and returns their sum.
func printReport(w io.Writer, file string) (counts, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return counts{}, fmt.Errorf("reading the report: %w", err)
	}
	var sum counts
	fmt.Fprintf(w, "%-14s %8s %8s %8s %8s\n", "", "passed", "failed", "skipped", "seconds")
	for line := range strings.Lines(string(data)) {
		var name string
		var c counts
		var seconds int
		if _, err := fmt.Sscan(line, &name, &c.passed, &c.failed, &c.skipped, &seconds); err != nil {
			return sum, fmt.Errorf("reading the report: %q: %w", line, err)
		}
		fmt.Fprintf(w, "%-14s %8d %8d %8d %8d\n", name, c.passed, c.failed, c.skipped, seconds)
		sum = sum.plus(c)
	}
	fmt.Fprintln(w, sum)
	return sum, nil
}
