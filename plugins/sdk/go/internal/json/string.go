package json

import (
	"unicode/utf16"
	"unicode/utf8"
)

// str reads a string that starts at the next byte.
func (p *parser) str() (string, error) {
	p.at++
	start := p.at
	for p.at < len(p.text) && plain(p.text[p.at]) {
		p.at++
	}
	text := p.text[start:p.at:p.at] // append copies it
	for {
		switch c := p.peek(); {
		case c == '"':
			p.at++
			return string(text), nil
		case c == '\\':
			p.at++
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			text = utf8.AppendRune(text, r)
		case c >= ' ':
			text = append(text, c)
			p.at++
		default:
			return "", p.problem("a string that does not end, or has a control character")
		}
	}
}

func plain(c byte) bool { return c != '"' && c != '\\' && c >= ' ' }

// escape reads the rest of an escape after its backslash.
func (p *parser) escape() (rune, error) {
	c := p.peek()
	p.at++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		return p.unicode()
	}
	p.at--
	return 0, p.problem("an escape that is not known")
}

// unicode reads the digits of \uXXXX, and the second half of a pair. Half a pair becomes U+FFFD.
func (p *parser) unicode() (rune, error) {
	first, err := p.hex()
	if err != nil || !utf16.IsSurrogate(first) {
		return first, err
	}
	back := p.at
	if p.word(`\u`) {
		second, err := p.hex()
		if err != nil {
			return 0, err
		}
		if r := utf16.DecodeRune(first, second); r != utf8.RuneError {
			return r, nil
		}
		p.at = back
	}
	return utf8.RuneError, nil
}

func (p *parser) hex() (rune, error) {
	var r rune
	for range 4 {
		c := p.peek()
		switch {
		case isDigit(c):
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, p.problem("want four hexadecimal digits")
		}
		r = r<<4 | rune(c)
		p.at++
	}
	return r, nil
}
