package caddymodule

import (
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
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/hooks"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
)

// PusherWebhook is a receiver of Pusher's webhooks. They are signed with the first key of the app
// that the host has.
type PusherWebhook struct {
	// The URL that webhooks are sent to with POST: https, or http for a receiver on a private
	// network. Placeholders are allowed.
	URL string `json:"url,omitempty"`

	// The names of the events that are sent: `channel_occupied`, `channel_vacated`, `member_added`,
	// `member_removed`, `client_event`, `cache_miss` and `subscription_count`. Default: the first
	// four.
	Events []string `json:"events,omitempty"`

	// The time after which an event that cannot be delivered is given up, from `5m`. Default:
	// never, until the queue is full.
	Keep caddy.Duration `json:"keep,omitempty"`

	// The time that the receiver has for an answer, up to `1m`. Default: `10s`.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// The maximum size of the queue on disk for each host, in bytes, from 65536 (64KiB) to
	// 1073741824 (1GiB). When it is full, events are dropped, and what is there is sent again
	// later. Default: 67108864 (64MiB).
	Queue int64 `json:"queue,omitempty"`
}

// UnmarshalCaddyfile sets up the receiver from Caddyfile tokens. Syntax:
//
//	webhook <URL> {
//	    events  <name>...
//	    keep    <duration>
//	    timeout <duration>
//	    queue   <size>
//	}
func (w *PusherWebhook) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if err := firstArgument(d, &w.URL); err != nil {
		return err
	}
	return block(d, options{
		"events":  several(&w.Events),
		"keep":    timeout(&w.Keep),
		"timeout": timeout(&w.Timeout),
		"queue":   size(&w.Queue),
	})
}

// receiver returns the receiver that the configuration describes, without the key of an app. No
// error shows any part of the URL, which can have a secret.
func (w *PusherWebhook) receiver(logger *zap.Logger) (*events.Receiver, error) {
	to := &backend.Endpoint{Timeout: time.Duration(w.Timeout), Queue: w.Queue, Patience: hooks.MinKeep, Keep: time.Duration(w.Keep)}
	var err error
	if to.URL, err = resolveURL(w.URL, "webhooks go to the receiver without encryption: use https", logger); err != nil {
		return nil, err
	}
	if err = limit(to); err != nil {
		return nil, err
	}
	if w.Keep != 0 && to.Keep < hooks.MinKeep {
		return nil, fmt.Errorf("keep %s: use a duration of at least %s", to.Keep, hooks.MinKeep)
	}
	r := &events.Receiver{Endpoint: to, Webhook: true, Types: events.DefaultTypes}
	if len(w.Events) > 0 {
		r.Types = 0
	}
	for _, name := range w.Events {
		t, ok := events.ParseWebhookType(name)
		if !ok {
			return nil, fmt.Errorf("events: %q is no event: use %s", name, strings.Join(events.WebhookTypeNames(), ", "))
		}
		r.Types |= t
	}
	return r, nil
}

// provisionWebhooks sets the receivers of hosts with an app. The receivers of other events are set,
// and the apps are.
func (h *Handler) provisionWebhooks(s *site.Site) error {
	list := h.Pusher.Webhooks
	var receivers []*events.Receiver
	for i, w := range list {
		option := numbered("pusher: webhook", i)
		if w == nil {
			return fmt.Errorf("%s is null: write a URL", option)
		}
		r, err := w.receiver(h.siteLogger(s))
		if err != nil {
			return fmt.Errorf("%s: %w", option, err)
		}
		r.ID = backend.ReceiverOf("webhook " + r.URL) // the URL may also be a receiver of other events
		if slices.ContainsFunc(receivers, func(other *events.Receiver) bool { return other.ID == r.ID }) {
			return fmt.Errorf("%s: its URL is that of another one: write one block with all events, or another path", option)
		}
		r.Number = "webhook-" + strconv.Itoa(i+1)
		receivers = append(receivers, r)
	}
	if len(receivers) == 0 {
		return nil
	}
	s.Webhooks = make(site.Webhooks)
	for i := range s.Pusher.Apps {
		a := &s.Pusher.Apps[i]
		if _, ok := s.Webhooks[a.Host]; ok {
			continue // the first app of a host signs
		}
		all := slices.Clone(s.Events)
		for _, r := range receivers {
			signed, to := *r, *r.Endpoint
			to.Writer = &hooks.Writer{Key: a.Keys[0]}
			signed.Endpoint = &to
			all = append(all, &signed)
		}
		s.Webhooks[a.Host] = all
	}
	s.EventsSum ^= webhooksSum(list, receivers, s.Webhooks)
	return nil
}

// webhooksSum changes with everything that is configured about webhooks but keys, which begin no
// epoch.
func webhooksSum(list []*PusherWebhook, receivers []*events.Receiver, of site.Webhooks) uint64 {
	sum := receiversSum(list, receivers)
	for host := range of {
		sum ^= xxhash.Sum64String(host.String() + " webhooks")
	}
	return sum
}

var _ caddyfile.Unmarshaler = (*PusherWebhook)(nil)
