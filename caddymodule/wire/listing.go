package wire

import "github.com/rollcall-gateway/rollcall/presence"

// AppendUser implements [presence.Encoder]: it appends an array entry, after a comma unless first.
func (Encoder) AppendUser(b []byte, u *presence.User, first bool) []byte {
	if !first {
		b = append(b, ',')
	}
	return AppendUser(b, u)
}

// AppendPrivate implements [presence.Encoder]: it appends a member of the object with channels as
// keys, after a comma unless first.
func (Encoder) AppendPrivate(b []byte, id presence.ID, u *presence.User, first bool) []byte {
	if !first {
		b = append(b, ',')
	}
	b = append(b, `"`+presence.PrivatePrefix...)
	b = id.Append(b)
	b = append(b, `":`...)
	if u == nil {
		return append(b, '1')
	}
	return AppendUser(b, u)
}
