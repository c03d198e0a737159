package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/cespare/xxhash/v2"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/events"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	source "github.com/rollcall-gateway/rollcall/presence/events"
)

// Events is a receiver of events: who comes and goes.
type Events struct {
	// The URL that events are sent to with POST: https, or http for a receiver on a private
	// network. Placeholders are allowed.
	URL string `json:"url,omitempty"`

	// The secrets that sign requests, each with at least 16 bytes; with several, they can be
	// rotated. A secret is `whsec_` and base64, or any other text. Placeholders are allowed.
	Secret []string `json:"secret,omitempty"`

	// The types of events that are sent: `channel.occupied`, `channel.vacated`, `member.joined`,
	// `member.left`, `user.online` and `user.offline`. Default: the first four.
	Types []string `json:"types,omitempty"`

	// Patterns of the channels whose events are sent, with `*` for any text. Default: all channels.
	Channels []string `json:"channels,omitempty"`

	// The time that the receiver has for an answer, up to `1m`. Default: `10s`.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// The maximum size of the queue on disk for each host, in bytes, from 65536 (64KiB) to
	// 1073741824 (1GiB). When it is full, events are dropped and named again later. Default:
	// 67108864 (64MiB).
	Queue int64 `json:"queue,omitempty"`
}

// UnmarshalCaddyfile sets up the receiver from Caddyfile tokens. Syntax:
//
//	events <URL> {
//	    secret   <secret>...
//	    types    <type>...
//	    channels <pattern>...
//	    timeout  <duration>
//	    queue    <size>
//	}
func (e *Events) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if err := firstArgument(d, &e.URL); err != nil {
		return err
	}
	return block(d, options{
		"secret":   several(&e.Secret),
		"types":    several(&e.Types),
		"channels": several(&e.Channels),
		"timeout":  timeout(&e.Timeout),
		"queue":    size(&e.Queue),
	})
}

// receiver returns the receiver that the configuration describes. No error shows any part of a
// secret, or of the URL, which can have one.
func (e *Events) receiver(logger *zap.Logger) (*events.Receiver, error) {
	to := &backend.Endpoint{Timeout: time.Duration(e.Timeout), Queue: e.Queue}
	err := complete(to, e.URL, e.Secret, "events go to the receiver without encryption: use https", logger)
	switch {
	case err != nil:
		return nil, err
	case slices.Contains(e.Channels, ""):
		return nil, errors.New("channels: a pattern is empty: write a name, or remove it")
	}
	r := &events.Receiver{Endpoint: to, ID: backend.ReceiverOf(to.URL), Types: events.DefaultTypes, Channels: e.Channels}
	if len(e.Types) > 0 {
		if r.Types, err = eventTypes(e.Types); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func eventTypes(names []string) (all events.Types, err error) {
	for _, name := range names {
		t, ok := source.ParseType(name)
		if of := events.TypesOf(t); !ok || !events.AllTypes.HasAny(of) {
			return 0, fmt.Errorf("types: %q is no type: use %s", name, strings.Join(eventTypeNames(), ", "))
		}
		all |= events.TypesOf(t)
	}
	return all, nil
}

func eventTypeNames() []string {
	var names []string
	for t := source.ChannelOccupied; t <= source.UserOffline; t++ {
		names = append(names, t.String())
	}
	return names
}

// provisionEvents sets the receivers of a site.
func (h *Handler) provisionEvents(s *site.Site) error {
	for i, e := range h.Events {
		if e == nil {
			return fmt.Errorf("%s is null: write a URL and a secret", numbered("events", i))
		}
		r, err := e.receiver(h.siteLogger(s))
		if err != nil {
			return fmt.Errorf("%s: %w", numbered("events", i), err)
		}
		if slices.ContainsFunc(s.Events, func(other *events.Receiver) bool { return other.ID == r.ID }) {
			return fmt.Errorf("%s: its URL is that of another one: write one block with all types, or another path", numbered("events", i))
		}
		r.Number = strconv.Itoa(i + 1)
		s.Events = append(s.Events, r)
	}
	if len(s.Events) > 0 {
		s.EventsSum = receiversSum(h.Events, s.Events)
	}
	return nil
}

// receiversSum changes with the configuration of receivers.
func receiversSum(configured any, receivers []*events.Receiver) uint64 {
	raw, _ := json.Marshal(configured) // it is hashed, and never leaves the process
	sum := xxhash.Sum64(raw)
	for _, r := range receivers {
		sum ^= xxhash.Sum64String(r.ID + r.Number) // placeholders can have changed
	}
	return sum
}

var _ caddyfile.Unmarshaler = (*Events)(nil)
