package members

import (
	"strconv"
	"strings"
	"unsafe"
)

// Types of a value.
const (
	typeText = 1
	typeJSON = 2
)

// Member is what an answer shows of one user: a list of fields. It is valid during the call, the texts that
// it returns forever. A kept text keeps its whole batch in memory, at most 64 KiB; strings.Clone avoids that.
type Member struct {
	fields  []field
	joined  []byte // values that were joined from several texts
	changed bool
}

type field struct {
	key, value string
	// start and end are the place of the field in the batch; start is -1 for a new key.
	start, end int32
	kind       byte
	set        bool // the value is not the one in the batch
	joined     bool // the value is in Member.joined
}

// New returns a member as Rollcall creates it, for tests of a plugin.
func New(id, email string) *Member {
	return &Member{fields: []field{
		{key: "id", value: id, kind: typeText, start: -1},
		{key: "email", value: email, kind: typeText, start: -1},
	}}
}

// ID returns the field "id".
func (m *Member) ID() string {
	for i := range m.fields {
		// Unlike a comparison with a variable, this is not a call.
		if f := &m.fields[i]; f.key == "id" {
			return f.text()
		}
	}
	return ""
}

// Email returns the field "email". It is "" if it is not known, or if an earlier plugin deleted it.
func (m *Member) Email() string {
	for i := range m.fields {
		if f := &m.fields[i]; f.key == "email" {
			return f.text()
		}
	}
	return ""
}

// Info returns the field "info", JSON; "" if there is none, or if the answer does not show it.
func (m *Member) Info() string { return m.Get("info") }

// Status returns the field "status", JSON; "" if there is none, or if the answer does not show it.
func (m *Member) Status() string { return m.Get("status") }

// Get returns the value of a field: its text, or its JSON if it is not a text. It is "" if there is no such field.
func (m *Member) Get(key string) string {
	if f := m.find(key); f != nil {
		return f.text()
	}
	return ""
}

// text returns a value that stays valid: the room of joined texts is reused.
func (f *field) text() string {
	if f.joined {
		return strings.Clone(f.value)
	}
	return f.value
}

// Has reports whether there is such a field.
func (m *Member) Has(key string) bool { return m.find(key) != nil }

// IsJSON reports whether the value of a field is JSON rather than a text.
func (m *Member) IsJSON(key string) bool {
	f := m.find(key)
	return f != nil && f.kind == typeJSON
}

// Keys returns the keys of all fields, in order.
func (m *Member) Keys() []string {
	keys := make([]string, len(m.fields))
	for i := range m.fields {
		keys[i] = m.fields[i].key
	}
	return keys
}

// Set sets a field to a text, and adds the field if necessary. It joins several texts, which costs
// less than with +. It panics if the key has more than 255 bytes.
func (m *Member) Set(key string, text ...string) {
	f := m.set(key, typeText)
	if len(text) == 1 {
		f.value = text[0]
		return
	}
	joined := m.joined
	for _, part := range text {
		joined = append(joined, part...)
	}
	added := joined[len(m.joined):]
	f.value, f.joined = unsafe.String(unsafe.SliceData(added), len(added)), true
	m.joined = joined
}

// SetInt sets a field to a number.
func (m *Member) SetInt(key string, n int64) { m.SetJSON(key, strconv.FormatInt(n, 10)) }

// SetBool sets a field to true or false.
func (m *Member) SetBool(key string, b bool) { m.SetJSON(key, strconv.FormatBool(b)) }

// SetJSON sets a field to any value, as JSON. If the value is not JSON, the hook fails.
func (m *Member) SetJSON(key, value string) { m.set(key, typeJSON).value = value }

// Delete deletes a field. A user without fields is left out.
func (m *Member) Delete(key string) {
	kept := m.fields[:0]
	for i := range m.fields {
		if m.fields[i].key != key {
			kept = append(kept, m.fields[i])
		}
	}
	m.changed = m.changed || len(kept) != len(m.fields)
	m.fields = kept
}

// Rename changes a field's key, and deletes a field that had that key. It does nothing without the field.
func (m *Member) Rename(from, to string) {
	if from == to || m.find(from) == nil {
		return
	}
	checkKey(to)
	m.Delete(to)
	f := m.find(from)
	f.key, f.start = to, -1
	m.changed = true
}

// Hide leaves the user out of the answer, counts included.
func (m *Member) Hide() {
	m.fields = m.fields[:0]
	m.changed = true
}

// Hidden reports whether the user is left out.
func (m *Member) Hidden() bool { return len(m.fields) == 0 }

func (m *Member) find(key string) *field {
	for i := range m.fields {
		f := &m.fields[i]
		// Comparing texts is a call, and most often their lengths differ.
		if len(f.key) == len(key) && f.key == key {
			return f
		}
	}
	return nil
}

// set returns the field of the key, to be given a value.
func (m *Member) set(key string, kind byte) *field {
	m.changed = true
	if f := m.find(key); f != nil {
		f.kind, f.set, f.joined = kind, true, false
		return f
	}
	checkKey(key)
	m.fields = append(m.fields, field{key: key, kind: kind, start: -1, set: true})
	return &m.fields[len(m.fields)-1]
}

const maxKey = 255 // bytes

func checkKey(key string) {
	if len(key) > maxKey {
		panic("members: the key " + strconv.Quote(key[:32]) + "... is longer than 255 bytes")
	}
}
