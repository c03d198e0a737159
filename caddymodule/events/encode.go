package events

import (
	"strconv"

	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/presence/events"
)

// encode returns an event as JSON.
func encode(id string, seq uint64, e *events.Event, r *Receiver) []byte {
	b := append(make([]byte, 0, 256), `{"id":"`...)
	b = append(append(b, id...), `","type":"`...)
	b = append(append(b, e.Type.String()...), `","host":"`...)
	b = append(append(b, e.Host.String()...), `","shard":`...)
	b = strconv.AppendUint(b, uint64(e.Shard), 10)
	b = strconv.AppendUint(append(b, `,"epoch":`...), e.Epoch, 10)
	b = strconv.AppendUint(append(b, `,"seq":`...), seq, 10)
	if e.Channel != "" {
		b = wire.AppendString(append(b, `,"channel":`...), e.Channel)
	}
	switch {
	case e.Type == events.ChannelState && r.Types.HasAny(memberTypes):
		b = append(b, `,"users":[`...)
		for i, record := range e.Records {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, record...)
		}
		b = append(b, ']')
	case e.Type != events.ChannelState && len(e.Records) > 0:
		b = append(append(b, `,"user":`...), e.Records[0]...)
	}
	if e.Channel != "" {
		b = strconv.AppendInt(append(b, `,"count":`...), int64(e.Count), 10)
	}
	b = strconv.AppendInt(append(b, `,"time":`...), e.Time, 10)
	return append(b, '}')
}
