package main

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// table is a table in Markdown.
type table struct {
	head  []string
	rows  [][]string
	goals []string // lines below the table
}

func newTable(head ...string) *table { return &table{head: head} }

func (t *table) add(row ...string) { t.rows = append(t.rows, row) }

func (t *table) goal(text string) { t.goals = append(t.goals, text) }

// write writes the table with aligned columns, for readers of the source.
func (t *table) write(w io.Writer) {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, column := range row {
			widths[i] = max(widths[i], len([]rune(column)))
		}
	}
	line := func(row []string) {
		for i, column := range row {
			fmt.Fprintf(w, "| %s%s ", column, strings.Repeat(" ", widths[i]-len([]rune(column))))
		}
		fmt.Fprintln(w, "|")
	}
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
	if len(t.goals) > 0 {
		fmt.Fprintf(w, "\nGoals: %s.\n", strings.Join(t.goals, "; "))
	}
}

// none stands for a value that was not measured.
const none = "–"

// number formats three digits, or all before the point.
func number(f float64) string {
	switch {
	case math.IsNaN(f):
		return none
	case f >= 1000:
		return thousands(int(f + 0.5))
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	default:
		return fmt.Sprintf("%.2f", f)
	}
}

// thousands formats a whole number with commas.
func thousands(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// ratio formats a figure as a multiple of another.
func ratio(f, of float64) string {
	if of == 0 || math.IsNaN(f) || math.IsNaN(of) {
		return none
	}
	return number(f / of)
}

// goal reports whether a figure is at most the wanted value; least, whether it is at least that.
func goal(got, most float64, what string) string    { return verdict(got <= most, "<= "+what) }
func least(got, wanted float64, what string) string { return verdict(got >= wanted, ">= "+what) }

func verdict(met bool, what string) string {
	if met {
		return what + ": met"
	}
	return what + ": **missed**"
}
