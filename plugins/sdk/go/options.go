package rollcall

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/internal/json"
)

// Options is a block of options. An accessor returns its second argument if the block does not have the option.
type Options struct {
	value json.Value
	asked []string
	inner []innerOptions
	err   error // the first option with a wrong form
}

type innerOptions struct {
	name string
	*Options
}

// Has reports whether the block has the option.
func (b *Options) Has(name string) bool {
	return b.get(name).Kind != json.Missing
}

// String returns the value of an option with one value: `keep domain`.
func (b *Options) String(name, otherwise string) string {
	v := b.get(name)
	switch v.Kind {
	case json.Missing:
		return otherwise
	case json.String, json.Number:
		return v.Text
	default:
	}
	b.wrong(name, "one value", v)
	return otherwise
}

// Strings returns the values of an option with one or more values: `domains example.com example.org`.
func (b *Options) Strings(name string, otherwise ...string) []string {
	v := b.get(name)
	switch v.Kind {
	case json.Missing:
		return otherwise
	case json.String, json.Number:
		return []string{v.Text}
	case json.Array:
		list := make([]string, 0, len(v.Items))
		for _, item := range v.Items {
			if item.Kind != json.String && item.Kind != json.Number {
				b.wrong(name, "words", v)
				return otherwise
			}
			list = append(list, item.Text)
		}
		return list
	default:
	}
	b.wrong(name, "one or more values", v)
	return otherwise
}

// Bool reports whether an option is set: `strict` alone, or with on or off, true or false, yes or no.
func (b *Options) Bool(name string, otherwise bool) bool {
	v := b.get(name)
	switch v.Kind {
	case json.Missing:
		return otherwise
	case json.True:
		return true
	case json.False:
		return false
	case json.String:
		switch v.Text {
		case "on", "true", "yes":
			return true
		case "off", "false", "no":
			return false
		}
	default:
	}
	b.wrong(name, "nothing, on or off", v)
	return otherwise
}

// Int returns the value of an option whose value is a whole number: `keep 2`.
func (b *Options) Int(name string, otherwise int64) int64 {
	v := b.get(name)
	switch v.Kind {
	case json.Missing:
		return otherwise
	case json.String, json.Number:
		if n, err := strconv.ParseInt(v.Text, 10, 64); err == nil {
			return n
		}
	default:
	}
	b.wrong(name, "a whole number", v)
	return otherwise
}

// Block returns a nested block. It is empty if there is none.
func (b *Options) Block(name string) *Options {
	for _, i := range b.inner {
		if i.name == name {
			return i.Options
		}
	}
	inner := &Options{value: json.Value{Kind: json.Object, Raw: []byte("{}")}}
	switch v := b.get(name); v.Kind {
	case json.Object:
		inner.value = v
	case json.Missing:
	default:
		b.wrong(name, "a block", v)
	}
	b.inner = append(b.inner, innerOptions{name, inner})
	return inner
}

// Names returns the names of the options as written, for a block whose names the plugin cannot know.
func (b *Options) Names() []string {
	b.asked = append(b.asked, b.value.Keys...)
	return b.value.Keys
}

// JSON returns the block as JSON, for a plugin that prefers encoding/json. All its options then count as known.
func (b *Options) JSON() []byte {
	b.allKnown()
	return b.value.Raw
}

func (b *Options) allKnown() {
	for _, name := range b.Names() {
		if b.value.Get(name).Kind == json.Object {
			b.Block(name).allKnown()
		}
	}
}

func (b *Options) get(name string) json.Value {
	if !slices.Contains(b.asked, name) {
		b.asked = append(b.asked, name)
	}
	return b.value.Get(name)
}

func (b *Options) wrong(name, want string, got json.Value) {
	if b.err == nil {
		b.err = errors.New(name + ": want " + want + ", got " + string(got.Raw))
	}
}

// check returns what is wrong with the block, which is the option named path.
func (b *Options) check(path string) error {
	if b.err != nil {
		return errors.New(path + ": " + b.err.Error())
	}
	for _, name := range b.value.Keys {
		if !slices.Contains(b.asked, name) {
			return errors.New(path + ": unknown option " + strconv.Quote(name) + "; " + known(b.asked))
		}
	}
	for _, i := range b.inner {
		if err := i.check(path + ": " + i.name); err != nil {
			return err
		}
	}
	return nil
}

func known(names []string) string {
	if len(names) == 0 {
		return "there are none"
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(name)
	}
	return "known are " + strings.Join(quoted, ", ")
}
