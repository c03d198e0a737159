package main

import (
	"fmt"
	"unicode/utf8"
)

// printTable writes the rows as a table under a heading and a text.
func printTable(heading, text string, rows []*row) {
	width := 0
	for _, r := range rows {
		width = max(width, utf8.RuneCountInString(r.what))
	}
	fmt.Printf("\n## %s\n\n%s\n\n| %-*s | %8s | %8s | %8s | %-20s |\n",
		heading, text, width, "question", "answers", "p50", "p99", "wanted")
	fmt.Printf("| %s | %s: | %s: | %s: | %s |\n", dashes(width), dashes(7), dashes(7), dashes(7), dashes(20))
	for _, r := range rows {
		p50, p99 := r.percentile(50), r.percentile(99)
		fmt.Printf("| %-*s | %8d | %8.3f | %8.3f | %-20s |\n", width, r.what, len(r.took), p50, p99, wanted(r.goals, p50, p99))
	}
}

// wanted says what was to be reached, and whether it was.
func wanted(goals [2]float64, p50, p99 float64) string {
	if goals == [2]float64{} {
		return "–"
	}
	verdict := "met"
	if p50 > goals[0] || p99 > goals[1] {
		verdict = "**missed**"
	}
	return fmt.Sprintf("%g and %g: %s", goals[0], goals[1], verdict)
}

func dashes(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = '-'
	}
	return string(b)
}
