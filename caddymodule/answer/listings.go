package answer

import (
	"strconv"

	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/presence"
)

// EncodedListings returns the object that AppendListings appends, from listings whose users are
// already encoded.
func EncodedListings(e presence.Encoded) [][]byte {
	b := body{text: []byte{'{'}}
	for i, ch := range e.Channels {
		if i > 0 {
			b.text = append(b.text, ',')
		}
		b.text = append(wire.AppendString(b.text, ch.Name), ':')
		if !ch.Named {
			b.text = strconv.AppendInt(b.text, int64(ch.Count), 10)
			continue
		}
		b.text = append(b.text, '[')
		b.appendEntries(ch.Users)
		b.text = append(b.text, ']')
	}
	if len(e.Channels) > 0 && len(e.Private) > 0 {
		b.text = append(b.text, ',')
	}
	b.appendEntries(e.Private)
	b.text = append(b.text, '}')
	return b.allPieces()
}

// AppendListings appends the object that is keyed by channel.
func AppendListings(b []byte, list []presence.Listing) []byte {
	b = append(b, '{')
	for i, l := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendString(b, l.Channel)
		b = append(b, ':')
		switch {
		case l.Kind == presence.Private && len(l.Users) > 0:
			b = wire.AppendKnown(b, &l.Users[0])
		case l.Named():
			b = wire.AppendUsers(b, l.Users)
		default:
			b = strconv.AppendInt(b, int64(l.Count), 10)
		}
	}
	return append(b, '}')
}
