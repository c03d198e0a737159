package operator

import (
	"context"
	"slices"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Limits of a page.
const (
	DefaultPage = 100
	MaxPage     = 1000
)

// ChannelList is a page of the active channels of a host, sorted by name.
type ChannelList struct {
	Host string `json:"host"`
	Truth
	Channels []Channel `json:"channels"`
	// Hidden is the number of hidden channels. One that is active on several pods counts for each.
	Hidden int    `json:"hidden"`
	Next   string `json:"next,omitempty"` // After of the next page; "" on the last one
}

// Channel is an active channel.
type Channel struct {
	Channel string `json:"channel"`
	Kind    string `json:"kind"` // authenticated or anonymous
	Count   int    `json:"count"`
	Counts  string `json:"counts"` // what Count counts: users or connections
}

// Channels lists the active channels of a host: those whose names begin with page.Prefix and follow
// page.After, at most page.Limit; [DefaultPage] if 0. Private channels are left out. Users that
// plugins leave out of listings count. It returns ErrNoHost.
func (o *Operator) Channels(ctx context.Context, host presence.HostName, page presence.Page) (ChannelList, error) {
	if o.pods.SiteOf(host) == nil {
		return ChannelList{}, ErrNoHost
	}
	limit := pageLimit(page.Limit)
	page.Limit = limit + 1 // one more shows whether another page has a channel with a name
	list, _, truth := o.pods.AllChannels(ctx, host, page)
	if i := slices.IndexFunc(list, func(l presence.Listing) bool { return l.Kind == presence.Private }); i >= 0 {
		list = list[:i] // private channels follow all others
	}
	next := ""
	if len(list) > limit {
		list, next = list[:limit], list[limit-1].Channel
	}
	answer := ChannelList{Host: host.String(), Channels: make([]Channel, 0, len(list)), Next: next}
	for i := range list {
		answer.Channels = append(answer.Channels, channelOf(&list[i]))
	}
	pods, known := o.pods.AllHosts(ctx, host)
	for _, p := range pods {
		answer.Hidden += int(p.Hidden)
	}
	answer.Truth = truthOf(truth.And(known))
	return answer, nil
}

// channelOf returns what an operator sees of a channel.
func channelOf(l *presence.Listing) Channel {
	c := Channel{Channel: l.Channel, Kind: l.Kind.String(), Count: max(l.Count, len(l.Users)), Counts: "users"}
	if l.Kind != presence.Authenticated {
		c.Counts = "connections"
	}
	return c
}

// pageLimit returns the limit of a page.
func pageLimit(limit int) int {
	if limit <= 0 {
		return DefaultPage
	}
	return min(limit, MaxPage)
}
