package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// unmarshalConfig converts a block to JSON. A word alone becomes true, with one argument a text,
// with several an array of texts, and with a block an object.
func unmarshalConfig(d *caddyfile.Dispenser, to *json.RawMessage) error {
	if err := noArgument(d, "write options in a block, each on a line of its own"); err != nil {
		return err
	}
	object, _, err := unmarshalObject(d)
	*to = object
	return err
}

// maxConfigDepth is the maximum depth of nested blocks.
const maxConfigDepth = 64

// unmarshalObject reads the block that belongs to the current token, and reports whether it has
// one.
func unmarshalObject(d *caddyfile.Dispenser) (object []byte, found bool, err error) {
	object = []byte{'{'}
	seen := make(map[string]bool)
	nesting, before := d.Nesting(), d.Token()
	if nesting > maxConfigDepth {
		return nil, false, d.Errf("blocks are nested more than %d deep", maxConfigDepth)
	}
	for d.NextBlock(nesting) {
		found = true
		word := d.Val()
		if seen[word] {
			return nil, true, d.Errf("%s is there already: write it once, with all its arguments", word)
		}
		seen[word] = true
		if len(object) > 1 {
			object = append(object, ',')
		}
		object = append(appendJSON(object, word), ':')

		args := d.RemainingArgs()
		inner, block, err := unmarshalObject(d)
		switch {
		case err != nil:
			return nil, true, err
		case block && len(args) > 0:
			return nil, true, d.Errf("%s has arguments and a block: write one of them", word)
		case block:
			object = append(object, inner...)
		case len(args) == 0:
			object = append(object, "true"...)
		case len(args) == 1:
			object = appendJSON(object, args[0])
		default:
			object = appendJSON(object, args)
		}
	}
	// The dispenser skips an empty block.
	after := d.Token()
	found = found || after.Text != before.Text || after.Line != before.Line
	return append(object, '}'), found, nil
}

// appendJSON appends the JSON of texts, which cannot fail.
func appendJSON(b []byte, v any) []byte {
	text, _ := json.Marshal(v)
	return append(b, text...)
}

// replaceTexts replaces known placeholders in the texts of a JSON object, but not in its keys.
// Other braces stay, because a plugin may have a use for them.
func replaceTexts(object json.RawMessage) (json.RawMessage, error) {
	if len(object) == 0 {
		return nil, nil
	}
	in := json.NewDecoder(bytes.NewReader(object))
	in.UseNumber()
	c := copier{in: in, known: newKnown("config")}
	if err := c.value(); err != nil || c.out.Bytes()[0] != '{' {
		return nil, errors.New("config is not a JSON object")
	}
	return c.out.Bytes(), c.known.err
}

// copier copies JSON and replaces the placeholders in its texts.
type copier struct {
	in    *json.Decoder
	out   bytes.Buffer
	known *known
}

// value copies the next value.
func (c *copier) value() error {
	token, err := c.in.Token()
	if err != nil {
		return err
	}
	switch v := token.(type) {
	case json.Delim:
		return c.members(v)
	case string:
		c.out.Write(appendJSON(nil, c.known.replace(v)))
	case json.Number:
		c.out.WriteString(v.String())
	default: // true, false or null
		c.out.Write(appendJSON(nil, v))
	}
	return nil
}

// members copies the values after an opening bracket, up to the closing one.
func (c *copier) members(open json.Delim) error {
	c.out.WriteByte(byte(open))
	for i := 0; c.in.More(); i++ {
		if i > 0 {
			c.out.WriteByte(',')
		}
		if open == '{' {
			key, err := c.in.Token()
			if err != nil {
				return err
			}
			c.out.Write(appendJSON(nil, key))
			c.out.WriteByte(':')
		}
		if err := c.value(); err != nil {
			return err
		}
	}
	end, err := c.in.Token()
	if err != nil {
		return err
	}
	c.out.WriteString(end.(json.Delim).String())
	return nil
}
