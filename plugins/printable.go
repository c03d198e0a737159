package plugins

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// printable returns a text of a module as a terminal or a log may show it: runes that are not printable, ends of lines
// included, are escaped as in a Go string. So a module can neither forge a line nor command a terminal.
func printable(text string) string {
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	if !strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// printableAll changes the texts in place, and returns them.
func printableAll(texts []string) []string {
	for i, text := range texts {
		texts[i] = printable(text)
	}
	return texts
}

// printableError is an error whose text may hold text of a module.
type printableError struct{ cause error }

// Error implements error.
func (e printableError) Error() string { return printable(e.cause.Error()) }

// Unwrap returns the error itself.
func (e printableError) Unwrap() error { return e.cause }
