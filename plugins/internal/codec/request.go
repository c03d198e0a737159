// Package codec encodes and decodes the data that the host and a guest exchange: requests, batches
// of records, and the JSON object of a record. All numbers are little endian. It trusts nothing
// that it reads.
package codec

import "encoding/binary"

const (
	requestVersion = 1
	requestHeader  = 16
	maxText        = 1<<16 - 1
)

// Flags of a request.
const (
	FlagAnonymous = 1      // the connection has no user
	FlagBackend   = 1 << 1 // the backend is the sender of the message
	FlagGranted   = 1 << 2 // the patterns of the site require a grant
)

// extensionConnection is the tag of the extension with the ID of the connection.
const extensionConnection = 1

// Request is the input of the hooks classify and authorize, and a part of that of message.
type Request struct {
	Kind                       uint8
	Flags                      uint16
	Host, Channel, User, Email string
	Connection                 string // ID; "" for none
}

// Size returns the number of bytes of the encoded request. It returns false if a text is too long
// for its length field.
func (r *Request) Size() (int, bool) {
	if len(r.Host) > maxText || len(r.Channel) > maxText || len(r.User) > maxText || len(r.Email) > maxText ||
		len(r.Connection) > maxText {
		return 0, false
	}
	return requestHeader + len(r.Host) + len(r.Channel) + len(r.User) + len(r.Email) + r.extensions(), true
}

// extensions returns the number of bytes of the extensions.
func (r *Request) extensions() int {
	if r.Connection == "" {
		return 0
	}
	return 4 + len(r.Connection)
}

// Put writes the request to dst, which holds at least the number of bytes that Size returned.
func (r *Request) Put(dst []byte) {
	_ = dst[requestHeader-1]
	binary.LittleEndian.PutUint64(dst, requestVersion|uint64(r.Kind)<<8|uint64(r.Flags)<<16|
		uint64(len(r.Host))<<32|uint64(len(r.Channel))<<48)
	binary.LittleEndian.PutUint64(dst[8:], uint64(len(r.User))|uint64(len(r.Email))<<16|uint64(r.extensions())<<32)
	n := requestHeader
	n += copy(dst[n:], r.Host)
	n += copy(dst[n:], r.Channel)
	if r.User != "" || r.Email != "" {
		n += copy(dst[n:], r.User)
		n += copy(dst[n:], r.Email)
	}
	if r.Connection != "" {
		binary.LittleEndian.PutUint16(dst[n:], extensionConnection)
		binary.LittleEndian.PutUint16(dst[n+2:], uint16(len(r.Connection)))
		copy(dst[n+4:], r.Connection)
	}
}
