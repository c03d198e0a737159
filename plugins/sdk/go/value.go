package rollcall

import "github.com/rollcall-gateway/rollcall/plugins/sdk/go/internal/json"

// Value is a JSON value. The zero Value stands for one that is missing; all methods may be called on it.
type Value struct{ v json.Value }

// ParseJSON reads a JSON value in UTF-8, nested at most 64 deep. The value does not refer to text.
func ParseJSON(text []byte) (Value, error) {
	v, err := json.Parse(text)
	return Value{v}, err
}

// Exists reports whether there is a value. It is true for null.
func (v Value) Exists() bool { return v.v.Kind != json.Missing }

// IsObject reports whether the value is an object.
func (v Value) IsObject() bool { return v.v.Kind == json.Object }

// Get returns the value below the names, each in the object before it; of a name that is repeated, the
// last one.
func (v Value) Get(names ...string) Value {
	for _, name := range names {
		v.v = v.v.Get(name)
	}
	return v
}

// Text returns the text of a string, the digits of a number, and otherwise "".
func (v Value) Text() string { return v.v.Text }

// Bool reports whether the value is true.
func (v Value) Bool() bool { return v.v.Kind == json.True }

// Texts returns the texts of a list, without those of its values that are neither strings nor numbers.
// A string or a number is a list of itself.
func (v Value) Texts() (texts []string) {
	items := v.v.Items
	if v.v.Kind != json.Array {
		items = []json.Value{v.v}
	}
	for _, item := range items {
		if item.Kind == json.String || item.Kind == json.Number {
			texts = append(texts, item.Text)
		}
	}
	return texts
}

// Items returns the values of a list or an object, Names the names of an object's.
func (v Value) Items() []Value {
	items := make([]Value, len(v.v.Items))
	for i, item := range v.v.Items {
		items[i].v = item
	}
	return items
}

// Names returns the names of an object, one for each of Items.
func (v Value) Names() []string { return v.v.Keys }

// JSON returns the value as it was written, nil if it is missing.
func (v Value) JSON() []byte { return v.v.Raw }

// WithText returns an object as JSON, with the text of a name replaced, or added if there is no such
// name.
func (v Value) WithText(name, text string) []byte {
	b := append(make([]byte, 0, len(v.v.Raw)+len(name)+len(text)+8), '{')
	found := false
	for i, item := range v.v.Items {
		if v.v.Kind != json.Object {
			break
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(json.AppendString(b, v.v.Keys[i]), ':')
		if v.v.Keys[i] == name {
			b, found = json.AppendString(b, text), true
		} else {
			b = append(b, item.Raw...)
		}
	}
	if !found {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = json.AppendString(append(json.AppendString(b, name), ':'), text)
	}
	return append(b, '}')
}
