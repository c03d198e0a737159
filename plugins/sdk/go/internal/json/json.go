// Package json reads JSON into a tree. It is a small part of the size of encoding/json and needs no reflection.
package json

import (
	"slices"
	"strconv"
)

// Kind is what a value is.
type Kind uint8

// The kinds. Missing is the zero value: what [Value.Get] returns for a name that is not there.
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
	// Text is that of a string, and the digits of a number.
	Text string
	// Items are the values of an array or an object.
	Items []Value
	// Keys are the names of an object, one for each of Items.
	Keys []string
	// Raw is the value as it was written.
	Raw []byte
}

// Get returns the value of a name in an object; the last one if it is there several times.
func (v Value) Get(name string) Value {
	for i, key := range slices.Backward(v.Keys) {
		if key == name {
			return v.Items[i]
		}
	}
	return Value{}
}

// SyntaxError tells what is wrong with a text, and at which byte.
type SyntaxError struct {
	Problem string
	Offset  int
}

func (e *SyntaxError) Error() string {
	return "JSON, byte " + strconv.Itoa(e.Offset) + ": " + e.Problem
}
