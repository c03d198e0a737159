package answer

import (
	"strconv"

	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// DataCenter is the part of a host in one data center.
type DataCenter struct {
	Name          string
	Authenticated int
	Anonymous     int
	Users         []presence.User // nil unless requested
	array         []byte          // users after plugins, as JSON; nil without plugins
	Encoded       [][]byte        // chunks of the users as JSON, instead of Users; not nil if used
}

// AllUsers returns the object that is keyed by data center, with the sum.
func AllUsers(dcs []DataCenter) [][]byte {
	total := DataCenter{Name: cluster.Total}
	b := body{text: []byte{'{'}}
	for _, dc := range dcs {
		total.Authenticated += dc.Authenticated
		total.Anonymous += dc.Anonymous
		dc.appendTo(&b)
		b.text = append(b.text, ',')
	}
	total.appendTo(&b)
	b.text = append(b.text, '}')
	return b.allPieces()
}

func (dc DataCenter) appendTo(b *body) {
	b.text = wire.AppendString(b.text, dc.Name)
	b.text = append(b.text, `:{"authenticated":`...)
	if dc.Users != nil || dc.Encoded != nil {
		switch {
		case dc.array != nil:
			b.text = append(b.text, dc.array...)
		case dc.Encoded != nil:
			b.text = append(b.text, '[')
			b.appendEntries(dc.Encoded)
			b.text = append(b.text, ']')
		default:
			b.text = wire.AppendUsers(b.text, dc.Users)
		}
		b.text = append(b.text, `,"authenticatedCount":`...)
	}
	b.text = strconv.AppendInt(b.text, int64(dc.Authenticated), 10)
	b.text = append(b.text, `,"anonymous":`...)
	b.text = strconv.AppendInt(b.text, int64(dc.Anonymous), 10)
	b.text = append(b.text, '}')
}
