package wire

import (
	"encoding/json"
	"unicode/utf8"

	"github.com/rollcall-gateway/rollcall/presence"
)

// AppendString appends s as a JSON string. It costs a copy for what needs no escaping, which is nearly all.
func AppendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf || c == 0x7f {
			return appendEscaped(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendEscaped(b []byte, s string) []byte {
	quoted, _ := json.Marshal(s) // a string always has a JSON form
	return append(b, quoted...)
}

// AppendUser appends u as the object with the keys id and email.
func AppendUser(b []byte, u presence.User) []byte {
	b = append(b, `{"id":`...)
	b = AppendString(b, u.ID)
	b = append(b, `,"email":`...)
	b = AppendString(b, u.Email)
	return append(b, '}')
}

// AppendUsers appends the users as an array, [] for none.
func AppendUsers(b []byte, users []presence.User) []byte {
	b = append(b, '[')
	for i, u := range users {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendUser(b, u)
	}
	return append(b, ']')
}
