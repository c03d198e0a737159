package rest

import (
	"net/http"
	"slices"
	"strings"

	"github.com/rollcall-gateway/rollcall/caddymodule/pusher"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// maxChannels is the maximum number of channels of one event.
const maxChannels = 100

// event is an event to be sent.
type event struct {
	name, data string
	channels   []string // distinct
	traits     []app.Traits
	except     presence.ID // zero for none
	info       attributes
	messages   []presence.Message // see prepare
}

// parseEvent reads an event of /events, or one of a batch, which has one channel.
func parseEvent(v values, c *app.Config, batch bool) (ev event, e *failure) {
	if ev.name, e = v.required("name", "send the name of the event"); e != nil {
		return ev, e
	}
	switch {
	case ev.name == "" || len(ev.name) > app.MaxEvent:
		return ev, badRequest("name must have 1 to %d bytes", app.MaxEvent)
	case strings.HasPrefix(ev.name, "pusher"):
		return ev, badRequest("name begins with pusher, which is for the protocol itself: choose another name")
	}
	if ev.data, e = v.required("data", "send a string, like the JSON text of what the event says"); e != nil {
		if _, found := v["data"]; found {
			e = badRequest("data must be a string: send the JSON text of the value")
		}
		return ev, e
	}
	if len(ev.data) > c.EventSize {
		return ev, fail(http.StatusRequestEntityTooLarge, "data has %d bytes, over %d: send less, or set event_size in the pusher block", len(ev.data), c.EventSize)
	}
	if e = ev.parseChannels(v, batch); e != nil {
		return ev, e
	}
	if e = ev.parseSocket(v); e != nil {
		return ev, e
	}
	info, _, e := v.text("info")
	if e != nil {
		return ev, e
	}
	ev.info, e = parseAttributes(info)
	return ev, e
}

// parseChannels reads the channels of an event.
func (ev *event) parseChannels(v values, batch bool) (e *failure) {
	_, many := v["channels"]
	one, single, e := v.text("channel")
	switch {
	case batch && many:
		return badRequest("an event of a batch has channel, with one name, and no channels")
	case many && single:
		return badRequest("send channels or channel, not both")
	case e != nil:
		return e
	case single:
		ev.channels = []string{one}
	case batch:
		return badRequest("channel is missing: send the name of a channel")
	case !many:
		return badRequest("channels is missing: send an array of 1 to %d names", maxChannels)
	default:
		if ev.channels, e = v.list("channels", maxChannels); e != nil {
			return e
		}
	}
	for i, name := range ev.channels {
		if _, err := app.ParseChannel(name); err != nil {
			if single {
				return badRequest("channel: %s", err)
			}
			return badRequest("channels[%d]: %s", i, err)
		}
	}
	ev.channels = presence.Distinct(ev.channels)
	for _, name := range ev.channels {
		traits, _ := app.ParseChannel(name) // all are valid
		if traits.Has(app.Encrypted) && len(ev.channels) > 1 {
			return badRequest("the channel %s is encrypted with a key of its own: send the event to it alone", name)
		}
		ev.traits = append(ev.traits, traits)
	}
	return nil
}

// parseSocket reads the connection that does not receive the event. One that is unknown is no
// error.
func (ev *event) parseSocket(v values) *failure {
	text, found, e := v.text("socket_id")
	if e != nil || !found {
		return e
	}
	id, err := app.ParseSocketID(text)
	if err != nil {
		return badRequest("socket_id: %s; leave it out if every subscriber is to get the event", err)
	}
	ev.except = app.ConnID(id)
	return nil
}

// prepare makes the messages of the event, and asks the plugins about them. Nothing is sent yet.
func (ev *event) prepare(r *presence.Registry, of *site.Site, host presence.HostName) error {
	body, raw := pusher.BackendMessage(ev.name, ev.data)
	var channels []string
	for i, name := range ev.channels {
		if !ev.traits[i].Has(app.ToUser) {
			channels = append(channels, name)
			continue
		}
		user := strings.TrimPrefix(name, app.UserPrefix)
		ev.messages = append(ev.messages, presence.Message{
			Users: []string{user}, Except: ev.except, Body: body, From: presence.Source{Raw: raw, To: user},
		})
	}
	var bodies presence.Bodies
	if len(channels) > 0 && of.FiltersMessages() {
		var err error
		if bodies, err = of.FilterMessage(host, channels, plugins.Sender{Backend: true}, body); err != nil {
			return err
		}
	}
	// A message has a limit for all of its channels together, which is no limit of this protocol.
	for part := range slices.Chunk(channels, max(1, presence.MaxCopies/(largest(bodies, body)+1))) {
		ev.messages = append(ev.messages, presence.Message{
			Channels: part, Except: ev.except, Body: body, Bodies: bodies, From: presence.Source{Raw: raw},
		})
	}
	for i := range ev.messages {
		if _, err := r.Check(host, &ev.messages[i]); err != nil {
			return err
		}
	}
	return nil
}

func largest(bodies presence.Bodies, body []byte) int {
	n := len(body)
	for _, other := range bodies {
		n = max(n, len(other))
	}
	return n
}

// send sends the event that was prepared.
func (ev *event) send(r *presence.Registry, host presence.HostName) error {
	for _, m := range ev.messages {
		if err := r.Send(host, m); err != nil {
			return err
		}
	}
	return nil
}
