package rest

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// values is an object of a body. Names are matched exactly, and null counts as missing.
type values map[string]json.RawMessage

// parseObject decodes a JSON object. what is its name in errors.
func parseObject(raw []byte, what string) (values, *failure) {
	if !utf8.Valid(raw) { // encoding/json would change texts
		return nil, badRequest("%s is not UTF-8", what)
	}
	var v values
	if err := json.Unmarshal(raw, &v); err != nil || v == nil {
		return nil, badRequest("%s must be a JSON object", what)
	}
	for name, value := range v {
		if string(value) == "null" {
			delete(v, name)
		}
	}
	return v, nil
}

// text returns a string, and whether there is one.
func (v values) text(name string) (text string, found bool, e *failure) {
	raw, found := v[name]
	if !found {
		return "", false, nil
	}
	if json.Unmarshal(raw, &text) != nil {
		return "", true, badRequest("%s must be a string", name)
	}
	return text, true, nil
}

// required returns a string that must be there.
func (v values) required(name, example string) (string, *failure) {
	text, found, e := v.text(name)
	if e == nil && !found {
		e = badRequest("%s is missing: %s", name, example)
	}
	return text, e
}

// list returns an array of strings.
func (v values) list(name string, most int) (list []string, e *failure) {
	var texts []*string
	if json.Unmarshal(v[name], &texts) != nil {
		return nil, badRequest("%s must be an array of strings", name)
	}
	if len(texts) == 0 || len(texts) > most {
		return nil, badRequest("%s has %d entries: send 1 to %d", name, len(texts), most)
	}
	for i, text := range texts {
		if text == nil {
			return nil, badRequest("%s must be a string", fmt.Sprintf("%s[%d]", name, i))
		}
		list = append(list, *text)
	}
	return list, nil
}
