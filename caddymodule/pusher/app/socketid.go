package app

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/rollcall-gateway/rollcall/presence"
)

// SocketID is the name of a connection in the protocol: two random numbers of 31 bits.
type SocketID struct{ a, b uint32 }

// NewSocketID returns a new random SocketID.
func NewSocketID() SocketID {
	var p [8]byte
	_, _ = rand.Read(p[:]) // never fails: since Go 1.24, crypto/rand ends the process instead
	return SocketID{binary.NativeEndian.Uint32(p[:4]) & math.MaxInt32, binary.NativeEndian.Uint32(p[4:]) & math.MaxInt32}
}

// ParseSocketID decodes digits, a dot and digits. Numbers that no connection has are no error: the
// result is then the ID of no connection.
func ParseSocketID(text string) (SocketID, error) {
	a, b, found := strings.Cut(text, ".")
	if !found || !digits(a) || !digits(b) {
		return SocketID{}, errors.New("a socket_id is two numbers with a dot between them, as in 1234.5678")
	}
	return SocketID{parseNumber(a), parseNumber(b)}, nil
}

func parseNumber(digits string) uint32 {
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || (len(digits) > 1 && digits[0] == '0') {
		return math.MaxUint32 // not a number of 31 bits
	}
	return uint32(n)
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// String returns the text of the ID, such as 1234.5678.
func (id SocketID) String() string { return string(id.Append(nil)) }

// Append appends the text of the ID to b.
func (id SocketID) Append(b []byte) []byte {
	b = strconv.AppendUint(b, uint64(id.a), 10)
	b = append(b, '.')
	return strconv.AppendUint(b, uint64(id.b), 10)
}

// ConnID returns the ID of the connection with that SocketID. It is derived, so that pods need not
// exchange which connection has which name.
func ConnID(id SocketID) presence.ID {
	sum := sha256.Sum256(id.Append([]byte("rollcall socket_id")))
	return presence.ID(sum[:16])
}
