package answer

import (
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/presence"
)

// AppendNames appends the object with the channel names of each kind.
func AppendNames(b []byte, list []presence.Listing) []byte {
	b = append(b, `{"authenticated":`...)
	b = appendNamesOf(b, presence.Authenticated, list)
	b = append(b, `,"anonymous":`...)
	b = appendNamesOf(b, presence.Anonymous, list)
	return append(b, '}')
}

func appendNamesOf(b []byte, kind presence.Kind, list []presence.Listing) []byte {
	b = append(b, '[')
	first := true
	for i := range list {
		if list[i].Kind != kind {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		b = wire.AppendString(b, list[i].Channel)
		first = false
	}
	return append(b, ']')
}
