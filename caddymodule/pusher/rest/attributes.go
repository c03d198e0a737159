package rest

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// attributes are what a request wants to know about channels.
type attributes uint8

const (
	userCount         attributes = 1 << iota // distinct users of a presence channel
	subscriptionCount                        // connections
	cached                                   // last event of a cache channel
)

// parseAttributes reads names that are separated by commas.
func parseAttributes(text string) (a attributes, e *failure) {
	for name := range strings.SplitSeq(text, ",") {
		switch strings.TrimSpace(name) {
		case "":
		case "user_count":
			a |= userCount
		case "subscription_count":
			a |= subscriptionCount
		case "cache":
			a |= cached
		default:
			return 0, badRequest("info has an unknown name: it may have user_count, subscription_count and cache, with commas between them")
		}
	}
	return a, nil
}

// applicable returns the attributes that a channel with the traits can have.
func (a attributes) applicable(t app.Traits) attributes {
	if t.Has(app.ToUser) {
		return 0
	}
	if !t.Has(app.Presence) {
		a &^= userCount
	}
	if !t.Has(app.Cached) {
		a &^= cached
	}
	return a
}

// counts are attributes of one channel.
type counts struct {
	has           attributes
	users         int
	subscriptions int
	cache         []byte // JSON
}

// append appends the object of the attributes to b.
func (c *counts) append(b []byte) []byte { return append(c.appendMembers(append(b, '{')), '}') }

// appendMembers appends the members of the object to b, which ends with the brace or another
// member.
func (c *counts) appendMembers(b []byte) []byte {
	member := func(name string) {
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), '"', ':')
	}
	if c.has&userCount != 0 {
		member("user_count")
		b = strconv.AppendInt(b, int64(c.users), 10)
	}
	if c.has&subscriptionCount != 0 {
		member("subscription_count")
		b = strconv.AppendInt(b, int64(c.subscriptions), 10)
	}
	if c.has&cached != 0 {
		member("cache")
		b = append(b, c.cache...)
	}
	return b
}

// attributesOf returns the attributes of channels that apply to each, in order.
func (s *Server) attributesOf(ctx context.Context, q *request, channels []string, want attributes) ([]counts, cluster.Truth) {
	list := make([]counts, len(channels))
	if want == 0 {
		return list, s.ownTruth(q)
	}
	wants := make([]attributes, len(channels))
	for i := range wants {
		wants[i] = want
	}
	return list, s.count(ctx, q, channels, wants, list)
}

// attributesOfBatch sets the attributes that each event of a batch wants.
func (s *Server) attributesOfBatch(ctx context.Context, q *request, batch []event, list []counts) cluster.Truth {
	wants := make([]attributes, len(batch))
	for i := range batch {
		wants[i] = batch[i].info
	}
	return s.count(ctx, q, channelsOf(batch), wants, list)
}

// count sets the attributes of channels. It asks about all of them at the same time, so that pods
// that do not reply cost their timeout once.
func (s *Server) count(ctx context.Context, q *request, channels []string, wants []attributes, list []counts) cluster.Truth {
	var (
		all    sync.WaitGroup
		mu     sync.Mutex // guards truths
		truths = []cluster.Truth{s.ownTruth(q)}
	)
	others, _ := s.PodsToAsk(q.site)
	ask := func(f func() cluster.Truth) {
		if others == nil { // no need to wait
			truths = append(truths, f())
			return
		}
		all.Go(func() {
			t := f()
			mu.Lock()
			defer mu.Unlock()
			truths = append(truths, t)
		})
	}
	for i, name := range channels {
		traits, _ := app.ParseChannel(name)
		c := &list[i]
		c.has = wants[i].applicable(traits)
		if c.has&userCount != 0 {
			ask(func() (t cluster.Truth) { c.users, t = s.size(ctx, q, name, presence.PerUser); return t })
		}
		if c.has&subscriptionCount != 0 {
			ask(func() (t cluster.Truth) {
				c.subscriptions, t = s.size(ctx, q, name, presence.PerConnection)
				return t
			})
		}
		if c.has&cached != 0 {
			ask(func() (t cluster.Truth) { c.cache, t = s.cache(ctx, q, name); return t })
		}
	}
	all.Wait()
	return whole(truths)
}

// size returns the number of users or connections of a channel; 0 if it is not occupied.
func (s *Server) size(ctx context.Context, q *request, channel string, per presence.Per) (int, cluster.Truth) {
	l, truth := s.listing(ctx, q, channel, per)
	return sizeOf(&l), truth
}

// sizeOf returns the number of users or connections of a listing.
func sizeOf(l *presence.Listing) int {
	if l.Named() {
		return len(l.Users) + l.Userless
	}
	return l.Count
}

// listing returns what all pods know of one channel. It has nobody if the channel is hidden, or not
// occupied.
func (s *Server) listing(ctx context.Context, q *request, channel string, per presence.Per) (presence.Listing, cluster.Truth) {
	others, truth := s.PodsToAsk(q.site)
	if others != nil {
		list, truth := others.ChannelUsers(ctx, q.host, cluster.ScopeAll, channel, per)
		if len(list) == 0 {
			return presence.Listing{}, truth
		}
		return list[0], truth
	}
	if l, ok := s.Registry.Pods().Listing(q.host, channel, per); ok {
		return presence.MergeListings(per, []presence.Listing{l})[0], truth // as of several pods
	}
	return presence.Listing{}, truth
}

// whole returns the completeness of an answer of several parts.
func whole(parts []cluster.Truth) cluster.Truth {
	all := cluster.Truth{Complete: true}
	for _, t := range parts {
		all.Complete = all.Complete && t.Complete
		all.Missing = append(all.Missing, t.Missing...)
		all.TooMany = max(all.TooMany, t.TooMany)
	}
	all.Missing = sortedOnce(all.Missing)
	return all
}
