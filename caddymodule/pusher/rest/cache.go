package rest

import (
	"context"
	"strconv"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/pusher"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// cache returns the last event of a cache channel as JSON; null if there is none, or if the channel
// is hidden.
func (s *Server) cache(ctx context.Context, q *request, channel string) ([]byte, cluster.Truth) {
	others, truth := s.PodsToAsk(q.site)
	last, found := s.Registry.Pods().LastEvent(q.host, channel)
	if others != nil {
		last, found, truth = others.LastEvent(ctx, q.host, channel)
	}
	return q.cacheOf(channel, last, found), truth
}

// cacheAgain sets the caches of channels that events were sent to: this pod keeps what it has sent.
func (s *Server) cacheAgain(q *request, channels []string, list []counts) {
	for i, channel := range channels {
		if list[i].has&cached != 0 {
			last, found := s.Registry.Pods().LastEvent(q.host, channel)
			list[i].cache = q.cacheOf(channel, last, found)
		}
	}
}

func (q *request) cacheOf(channel string, last presence.LastEvent, found bool) []byte {
	if !found || q.hides(channel) {
		return []byte("null")
	}
	_, data := pusher.BackendEvent(last.Body, last.Raw)
	b := wire.AppendString([]byte(`{"data":`), data)
	b = strconv.AppendInt(append(b, `,"ttl":`...), int64((last.TTL+time.Second-1)/time.Second), 10)
	return append(b, '}')
}

// hides reports whether the rules hide a channel, which then may be unoccupied. One whose rules
// fail is hidden, too.
func (q *request) hides(channel string) bool {
	class, err := q.site.Rules().Classifier.Classify(q.host, channel)
	return err != nil || class.Hidden
}
