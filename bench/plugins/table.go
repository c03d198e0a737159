package main

import (
	"fmt"
	"strings"
)

// table is a table in Markdown.
type table struct {
	head []string
	rows [][]string
}

func newTable(head ...string) *table { return &table{head: head} }

func (t *table) add(row ...string) { t.rows = append(t.rows, row) }

// print writes the table under a heading and a text, with aligned columns, for readers of the
// source.
func (t *table) print(heading, text string) {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, column := range row {
			widths[i] = max(widths[i], len([]rune(column)))
		}
	}
	line := func(row []string) {
		for i, column := range row {
			fmt.Printf("| %s%s ", column, strings.Repeat(" ", widths[i]-len([]rune(column))))
		}
		fmt.Println("|")
	}
	fmt.Printf("\n## %s\n\n%s\n\n", heading, text)
	line(t.head)
	rule := make([]string, len(t.head))
	for i := range rule {
		rule[i] = strings.Repeat("-", widths[i])
		if i > 0 {
			rule[i] = strings.Repeat("-", max(widths[i]-1, 1)) + ":"
		}
	}
	line(rule)
	for _, row := range t.rows {
		line(row)
	}
}

// none stands for a value that was not measured.
const none = "–"

// nanos formats a time in ns, with the allocations in parentheses.
func nanos(c *cell) string {
	if c == nil {
		return none
	}
	return fmt.Sprintf("%s (%s)", number(c.ns), number(c.allocs))
}

// micros formats a time in ns as microseconds.
func micros(c *cell) string {
	if c == nil {
		return none
	}
	return number(c.ns / 1000)
}

// number formats three digits, or all before the point.
func number(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	case f == 0:
		return "0"
	default:
		return fmt.Sprintf("%.2f", f)
	}
}

// target formats a goal, and whether it was reached.
func target(got, want float64, unit string) string {
	verdict := "met"
	if got > want {
		verdict = "**missed**"
	}
	return fmt.Sprintf("%s%s: %s", number(want), unit, verdict)
}
