package rest

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// channels answers GET /channels: the occupied channels, with their numbers if the request wants
// them.
func (s *Server) channels(ctx context.Context, q *request) (response, *failure) {
	want, e := parseAttributes(q.params.Get("info"))
	if e != nil {
		return response{}, e
	}
	prefix := q.params.Get("filter_by_prefix")
	switch {
	case want&userCount != 0 && !strings.HasPrefix(prefix, presence.SignedMembersPrefix):
		return response{}, badRequest("only presence channels have a user_count: send filter_by_prefix=presence- or more of a name")
	case want&cached != 0:
		return response{}, badRequest("cache is answered about one channel at a time: ask for /channels/NAME?info=cache")
	}
	found, truth := s.occupied(ctx, q, prefix, want)
	if truth.TooMany > 0 {
		return response{}, fail(http.StatusRequestEntityTooLarge, "the channels have %d users or connections, over %d: send a longer filter_by_prefix", truth.TooMany, cluster.MaxListed)
	}
	body := []byte(`{"channels":{`)
	for i := range found {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(wire.AppendString(body, found[i].name), ':')
		body = found[i].append(body)
	}
	return response{append(body, '}', '}'), truth}, nil
}

// named are the counts of a channel.
type named struct {
	name string
	counts
}

// occupied returns the channels with a prefix, sorted by name, and their numbers.
func (s *Server) occupied(ctx context.Context, q *request, prefix string, want attributes) ([]named, cluster.Truth) {
	page := presence.Page{Prefix: prefix}
	var (
		found  []named
		truths []cluster.Truth
	)
	add := func(set func(*named, int), list []presence.Listing, truth cluster.Truth) {
		truths = append(truths, truth)
		for i := range list {
			l := &list[i]
			if l.Kind == presence.Private || !strings.HasPrefix(l.Channel, prefix) {
				continue
			}
			at, known := slices.BinarySearchFunc(found, l.Channel, func(n named, name string) int { return strings.Compare(n.name, name) })
			if !known {
				found = slices.Insert(found, at, named{name: l.Channel, counts: counts{has: want}})
			}
			if set != nil {
				set(&found[at], sizeOf(l))
			}
		}
	}
	if want&userCount != 0 {
		list, truth := s.listings(ctx, q, page, presence.PerUser)
		add(func(c *named, n int) { c.users = n }, list, truth)
	}
	if want&subscriptionCount != 0 {
		list, truth := s.listings(ctx, q, page, presence.PerConnection)
		add(func(c *named, n int) { c.subscriptions = n }, list, truth)
	}
	if want == 0 {
		list, truth := s.names(ctx, q)
		add(nil, list, truth)
	}
	return found, whole(truths)
}

func (s *Server) listings(ctx context.Context, q *request, page presence.Page, per presence.Per) ([]presence.Listing, cluster.Truth) {
	others, truth := s.PodsToAsk(q.site)
	if others != nil {
		list, _, truth := others.Users(ctx, q.host, cluster.ScopeAll, per, page)
		return list, truth
	}
	list, _ := presence.MergePages(page, per, s.Registry.Pods().Page(q.host, page, per)) // as of several pods
	return list, truth
}

func (s *Server) names(ctx context.Context, q *request) ([]presence.Listing, cluster.Truth) {
	others, truth := s.PodsToAsk(q.site)
	if others != nil {
		return others.Channels(ctx, q.host, cluster.ScopeAll)
	}
	if host := s.Registry.Host(q.host); host != nil {
		return host.ActiveChannels(), truth
	}
	return nil, truth
}

// channel answers GET /channels/NAME: whether the channel is occupied, and its numbers.
func (s *Server) channel(ctx context.Context, q *request) (response, *failure) {
	name, traits, e := q.channelName()
	if e != nil {
		return response{}, e
	}
	want, e := parseAttributes(q.params.Get("info"))
	if e != nil {
		return response{}, e
	}
	switch {
	case want&userCount != 0 && !traits.Has(app.Presence):
		return response{}, badRequest("only presence channels have a user_count: ask for subscription_count")
	case want&cached != 0 && !traits.Has(app.Cached):
		return response{}, badRequest("only cache channels have a cache: their names begin with cache-, private-cache-, presence-cache- or private-encrypted-cache-")
	}
	list := make([]counts, 1)
	truth := s.count(ctx, q, []string{name}, []attributes{want | subscriptionCount}, list)
	c := &list[0]
	c.has = want // the connections are counted in any case
	body := strconv.AppendBool([]byte(`{"occupied":`), c.subscriptions > 0)
	return response{append(c.appendMembers(body), '}'), truth}, nil
}

// channelName returns the channel of the path.
func (q *request) channelName() (string, app.Traits, *failure) {
	name := q.args[0]
	traits, err := app.ParseChannel(name)
	switch {
	case err != nil:
		return "", 0, badRequest("%s", err)
	case traits.Has(app.ToUser):
		return "", 0, badRequest("%s and a user is no channel that has subscribers: send events to it", app.UserPrefix)
	}
	return name, traits, nil
}

func sortedOnce(texts []string) []string {
	slices.Sort(texts)
	return slices.Compact(texts)
}
