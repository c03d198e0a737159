package json

import "unicode/utf8"

// maxDepth is the deepest nesting of arrays and objects, so that a text cannot exhaust the stack.
const maxDepth = 64

// Parse reads one JSON value according to RFC 8259, in UTF-8. The result does not refer to text.
func Parse(text []byte) (Value, error) {
	if !utf8.Valid(text) {
		return Value{}, &SyntaxError{Problem: "not UTF-8"}
	}
	p := &parser{text: append([]byte(nil), text...)}
	v, err := p.value(0)
	if err != nil {
		return Value{}, err
	}
	if p.skipSpace(); p.at < len(p.text) {
		return Value{}, p.problem("more after the end of the value")
	}
	return v, nil
}

type parser struct {
	text []byte
	at   int
}

func (p *parser) problem(text string) error {
	return &SyntaxError{Problem: text, Offset: p.at}
}

func (p *parser) skipSpace() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end of the text.
func (p *parser) peek() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

// take skips space, and then c if it is next. It reports whether it was.
func (p *parser) take(c byte) bool {
	p.skipSpace()
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *parser) value(depth int) (v Value, err error) {
	if depth > maxDepth {
		return v, p.problem("more than 64 levels deep")
	}
	p.skipSpace()
	start := p.at
	switch c := p.peek(); {
	case c == '{':
		v.Kind = Object
		err = p.object(&v, depth)
	case c == '[':
		v.Kind = Array
		err = p.array(&v, depth)
	case c == '"':
		v.Kind = String
		v.Text, err = p.str()
	case c == '-' || isDigit(c):
		v.Kind = Number
		v.Text, err = p.number()
	case p.word("true"):
		v.Kind = True
	case p.word("false"):
		v.Kind = False
	case p.word("null"):
		v.Kind = Null
	default:
		return v, p.problem("no value")
	}
	v.Raw = p.text[start:p.at:p.at]
	return v, err
}

func (p *parser) object(v *Value, depth int) error {
	p.at++
	if p.take('}') {
		return nil
	}
	for {
		if p.skipSpace(); p.peek() != '"' {
			return p.problem("want a name")
		}
		key, err := p.str()
		if err != nil {
			return err
		}
		if !p.take(':') {
			return p.problem("want a colon")
		}
		item, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		v.Keys, v.Items = append(v.Keys, key), append(v.Items, item)
		if p.take('}') {
			return nil
		}
		if !p.take(',') {
			return p.problem("want a comma or the end of the object")
		}
	}
}

func (p *parser) array(v *Value, depth int) error {
	p.at++
	if p.take(']') {
		return nil
	}
	for {
		item, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		v.Items = append(v.Items, item)
		if p.take(']') {
			return nil
		}
		if !p.take(',') {
			return p.problem("want a comma or the end of the array")
		}
	}
}

func (p *parser) word(w string) bool {
	if len(p.text)-p.at < len(w) || string(p.text[p.at:p.at+len(w)]) != w {
		return false
	}
	p.at += len(w)
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (p *parser) digits() bool {
	start := p.at
	for isDigit(p.peek()) {
		p.at++
	}
	return p.at > start
}

func (p *parser) number() (string, error) {
	start := p.at
	if p.peek() == '-' {
		p.at++
	}
	if p.peek() == '0' {
		p.at++
	} else if !p.digits() {
		return "", p.problem("want a digit")
	}
	if p.peek() == '.' {
		if p.at++; !p.digits() {
			return "", p.problem("want a digit")
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.at++
		if c := p.peek(); c == '+' || c == '-' {
			p.at++
		}
		if !p.digits() {
			return "", p.problem("want a digit")
		}
	}
	return string(p.text[start:p.at]), nil
}
