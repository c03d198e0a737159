package rollcall

import (
	"encoding/binary"
	"errors"
	"strconv"

	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/internal/arena"
)

// Request is the input of the classify and authorize hooks. Its texts may be kept.
type Request struct {
	Host    string
	Channel string
	// Site is the kind of the channel by the site's own rules: [Authenticated] or [Anonymous].
	Site Decision
	// UserID and Email are the joining user's; empty in classify and for an anonymous connection.
	UserID, Email string
	// Anonymous is set in authorize if the connection has no user.
	Anonymous bool
	// NeedsGrant is set if the site's own rules need a grant for the channel. The kind anonymous is then
	// refused as a failure.
	NeedsGrant bool
}

const (
	requestVersion = 1
	requestHeader  = 16 // bytes
	flagAnonymous  = 1 << 0
	flagNeedsGrant = 1 << 2
)

// UnmarshalBinary decodes the form that Rollcall writes.
func (r *Request) UnmarshalBinary(b []byte) error {
	// The common case is nested: in WebAssembly, Go continues there at once. To the code after an
	// if it jumps, which costs as much as a call.
	if len(b) >= requestHeader && b[0] == requestVersion {
		host := int(binary.LittleEndian.Uint16(b[4:]))
		channel := host + int(binary.LittleEndian.Uint16(b[6:]))
		user := channel + int(binary.LittleEndian.Uint16(b[8:]))
		email := user + int(binary.LittleEndian.Uint16(b[10:]))
		extension := int64(binary.LittleEndian.Uint32(b[12:]))
		if int64(len(b)) == requestHeader+int64(email)+extension {
			r.Site = Decision(b[1])
			flags := binary.LittleEndian.Uint16(b[2:])
			r.Anonymous, r.NeedsGrant = flags&flagAnonymous != 0, flags&flagNeedsGrant != 0
			// One copy for all texts: comparing them with those of the previous request costs more.
			all := arena.String(b[requestHeader : requestHeader+email])
			r.Host, r.Channel, r.UserID, r.Email = all[:host], all[host:channel], all[channel:user], all[user:email]
			return nil
		}
	}
	return refuse(b)
}

// refuse returns what is wrong with a request.
func refuse(b []byte) error {
	switch {
	case len(b) < requestHeader:
		return errors.New("request: " + strconv.Itoa(len(b)) + " bytes are fewer than a header")
	case b[0] != requestVersion:
		return errors.New("request: version " + strconv.Itoa(int(b[0])) + " is not known")
	default:
		return errors.New("request: the lengths in the header do not add up to " + strconv.Itoa(len(b)) + " bytes")
	}
}
