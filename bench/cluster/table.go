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
	fmt.Printf("\n## %s\n\n%s\n\n| %-*s | %8s | %8s | %8s |\n", heading, text, width, "query", "answers", "p50", "p99")
	fmt.Printf("| %s | %s: | %s: | %s: |\n", dashes(width), dashes(7), dashes(7), dashes(7))
	met, goals := true, [2]float64{}
	for _, r := range rows {
		p50, p99 := r.percentile(50), r.percentile(99)
		fmt.Printf("| %-*s | %8d | %8.3f | %8.3f |\n", width, r.what, len(r.took), p50, p99)
		if r.goals != [2]float64{} {
			met, goals = met && p50 <= r.goals[0] && p99 <= r.goals[1], r.goals
		}
	}
	if goals != [2]float64{} {
		verdict := "met"
		if !met {
			verdict = "**missed**"
		}
		fmt.Printf("\nGoals: allusers p50 <= %g, p99 <= %g: %s.\n", goals[0], goals[1], verdict)
	}
}

func dashes(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = '-'
	}
	return string(b)
}
