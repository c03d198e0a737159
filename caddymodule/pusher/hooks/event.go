package hooks

import (
	"bytes"
	"strconv"

	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Names of events.
const (
	ChannelOccupied   = "channel_occupied"
	ChannelVacated    = "channel_vacated"
	MemberAdded       = "member_added"
	MemberRemoved     = "member_removed"
	ClientEvent       = "client_event"
	CacheMiss         = "cache_miss"
	SubscriptionCount = "subscription_count"
)

// Event is one event.
type Event struct {
	Name    string
	Channel string
	UserID  string  // "" for none
	Client  *Client // nil unless it is a ClientEvent
	Number  *Number // nil for events that say nothing about who is there
}

// Client is what a client has sent.
type Client struct{ Event, Data, SocketID string }

// Number puts the events of a channel in order. A receiver that drops an event whose epoch and seq
// are not greater than the greatest of the channel is right at the end.
type Number struct {
	Epoch uint64
	Seq   uint64 // grows by one, from 1 in each epoch
	Count int    // how many are in the channel after the event
}

// Encode returns the event as it is queued: with an ID and its host, which are not sent.
func (e *Event) Encode(id string, host presence.HostName) []byte {
	b := append(make([]byte, 0, 192), `{"id":"`...)
	b = append(append(b, id...), `","type":"webhook","host":"`...)
	b = append(append(b, host.String()...), `","name":"`...)
	b = append(append(b, e.Name...), `","channel":`...)
	b = wire.AppendString(b, e.Channel)
	if c := e.Client; c != nil {
		b = wire.AppendString(append(b, `,"event":`...), c.Event)
		b = wire.AppendString(append(b, `,"data":`...), c.Data)
		b = wire.AppendString(append(b, `,"socket_id":`...), c.SocketID)
	}
	if e.UserID != "" {
		b = wire.AppendString(append(b, `,"user_id":`...), e.UserID)
	}
	if n := e.Number; n != nil {
		if e.Name == SubscriptionCount {
			b = strconv.AppendInt(append(b, `,"subscription_count":`...), int64(n.Count), 10)
		}
		b = strconv.AppendUint(append(b, `,"seq":`...), n.Seq, 10)
		b = strconv.AppendUint(append(b, `,"epoch":`...), n.Epoch, 10)
		b = strconv.AppendInt(append(b, `,"count":`...), int64(n.Count), 10)
	}
	return append(b, '}')
}

// sent returns the part of a queued event that is sent, without its first brace.
func sent(queued []byte) []byte {
	i := bytes.Index(queued, []byte(`"name":`)) // an ID and a host have no quotation mark
	return queued[max(i, 1):]
}
