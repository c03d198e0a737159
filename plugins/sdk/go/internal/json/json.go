// Package json parses JSON into a tree. It is much smaller than encoding/json and needs no reflection.
package json

import (
	"slices"
	"strconv"
)

// Kind is the kind of a value.
type Kind uint8

// Kinds. Missing is the zero value; [Value.Get] returns it for an unknown name.
const (
	Missing Kind = iota
	Null
	False
	True
	Number
	String
	Array
	Object
)

// Value is a JSON value.
type Value struct {
	Kind Kind
	// Text is the text of a string, or the digits of a number.
	Text string
	// Items are the values of an array or an object.
	Items []Value
	// Keys are the names of an object, one for each of Items.
	Keys []string
	// Raw is the value as it was written.
	Raw []byte
}

// Get returns the value of a name in an object, the last one if the name is repeated.
func (v Value) Get(name string) Value {
	for i, key := range slices.Backward(v.Keys) {
		if key == name {
			return v.Items[i]
		}
	}
	return Value{}
}

// SyntaxError says what is wrong with a text, and at which byte.
type SyntaxError struct {
	Problem string
	Offset  int
}

func (e *SyntaxError) Error() string {
	return "JSON, byte " + strconv.Itoa(e.Offset) + ": " + e.Problem
}
