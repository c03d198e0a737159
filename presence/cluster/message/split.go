package message

import (
	"slices"

	"github.com/rollcall-gateway/rollcall/presence"
)

// room is what a payload has for the lists of a message, in bytes: MaxPayload without what else a
// Reply, a Sites or a Check with the longest names takes, which is less than 1 KiB.
const room = MaxPayload - 1024

// MaxDelta is the DeltaSize up to which a Delta always fits into a payload, in bytes: one has the
// name of its channel too.
const MaxDelta = room - presence.MaxChannelName

// SplitReply returns the parts of a reply, of which the last one says so. Each has the numbers of
// the Count; the lists are shared with r. All hashes are in the first part. A reply with an Event
// has no lists.
func SplitReply(r *Reply) []*Reply {
	var (
		parts []*Reply
		part  *Reply
		free  int
	)
	begin := func() {
		part = &Reply{
			ID: r.ID, Try: r.Try, Part: uint32(len(parts)), NotServed: r.NotServed, Unlisted: r.Unlisted, More: r.More,
			Count: r.Count, Event: r.Event,
		}
		if len(parts) > 0 {
			part.Count.Hashes = nil
		}
		parts, free = append(parts, part), room
	}
	begin()
	free -= leastHash * len(r.Count.Hashes) // at most MaxHashes, which always fit
	for rest := r.Members; len(rest) > 0; {
		part.Members, rest = fit(rest, &free, room, memberSize)
		if len(rest) > 0 {
			begin()
		}
	}
	for _, l := range r.Channels {
		rest := l
		for more := true; more; more = len(rest.Users) > 0 {
			head := listingSize(&rest)
			least := memberLimit
			if len(rest.Details) > 0 {
				head, least = head+numberLimit, memberLimit+detailLimit
			}
			if free < head+least {
				begin()
			}
			free -= head
			l, rest = divide(rest, &free, room-head)
			part.Channels = append(part.Channels, l)
		}
	}
	for _, c := range r.Conns {
		for rest, more := c.Channels, true; more; more = len(rest) > 0 {
			head := connectionSize(&c)
			if free < head+channelLimit {
				begin()
			}
			free -= head
			c.Channels, rest = fit(rest, &free, room-head, textSize)
			part.Conns = append(part.Conns, c)
		}
	}
	for rest := r.Hosts; len(rest) > 0; {
		part.Hosts, rest = fit(rest, &free, room, hostCountSize)
		if len(rest) > 0 {
			begin()
		}
	}
	for rest := r.Listeners; len(rest) > 0; {
		part.Listeners, rest = fit(rest, &free, room, listenerSize)
		if len(rest) > 0 {
			begin()
		}
	}
	part.Last = true
	return parts
}

// divide returns a listing with the first users, as many as there is free room for, and one with
// the rest, in which nobody is counted again.
func divide(l presence.Listing, free *int, room int) (first, rest presence.Listing) {
	first, rest = l, l
	i := 0
	first.Users, rest.Users = fit(l.Users, free, room, func(u *presence.User) int {
		size := userSize(u)
		if len(l.Seen) > 0 {
			size += timeLimit
		}
		if i < len(l.Details) {
			size += listedDetailSize(u, l.Details[i])
		}
		i++
		return size
	})
	n := len(first.Users)
	if len(l.Seen) > 0 {
		first.Seen, rest.Seen = l.Seen[:n:n], l.Seen[n:]
	}
	if len(l.Details) > 0 {
		first.Details, rest.Details = l.Details[:n:n], l.Details[n:]
	}
	rest.Count, rest.Userless = 0, 0
	return first, rest
}

// SplitSites returns the parts of what a pod says of its sites. A site of very many patterns
// becomes several, which together serve the same hosts or, if it has several sets, more: the pod
// says so when it is asked about one.
func SplitSites(s *Sites) []*Sites {
	all := make([]Site, 0, len(s.Sites))
	for _, site := range s.Sites {
		all = append(all, shorten(site)...)
	}
	lists := divideList(all, siteSize)
	parts := make([]*Sites, 0, len(lists))
	for _, sites := range lists {
		parts = append(parts, &Sites{Sum: s.Sum, Part: uint32(len(parts)), Sites: sites})
	}
	for _, part := range parts {
		part.Parts = uint32(len(parts))
	}
	return parts
}

// shorten returns sites that fit into a payload and serve the hosts of the given one. Of several
// sets the shortest alone is kept, since dividing more of them would multiply the sites.
func shorten(site Site) []Site {
	if siteSize(&site) <= room {
		return []Site{site}
	}
	set := slices.MinFunc(site.Sets, func(a, b []string) int { return len(a) - len(b) })
	return halve(set, site.Events)
}

// halve divides a set until it fits: a host that matches one pattern of the set matches one of
// either half.
func halve(set []string, events bool) []Site {
	site := Site{Sets: [][]string{set}, Events: events}
	if siteSize(&site) <= room || len(set) < 2 {
		return []Site{site}
	}
	return append(halve(set[:len(set)/2], events), halve(set[len(set)/2:], events)...)
}

// SplitCheck returns the checks that together ask what c asks, each of no more channels than a
// [CheckDone] can list. If there are several, each has to be given an ID of its own, since a
// CheckDone answers one of them.
func SplitCheck(c *Check) []*Check {
	lists := divideList(c.Channels, func(c *CheckChannel) int { return max(checkSize(c), answerLimit) })
	checks := make([]*Check, 0, len(lists))
	for _, channels := range lists {
		checks = append(checks, &Check{ID: c.ID, Host: c.Host, Channels: channels})
	}
	return checks
}

// SplitHostSums returns the messages that together say what m says, for hosts in the order of their
// names.
func SplitHostSums(m *HostSums) []*HostSums {
	lists := divideList(m.Hosts, func(s *HostSum) int { return numberedHostSize(s.Host) })
	parts := make([]*HostSums, 0, len(lists))
	after := m.After
	for _, hosts := range lists {
		parts = append(parts, &HostSums{After: after, Hosts: hosts})
		if len(hosts) > 0 {
			after = hosts[len(hosts)-1].Host.String()
		}
	}
	parts[len(parts)-1].Last = m.Last
	return parts
}

// SplitHostShards returns the messages that together say what m says: none if it says nothing.
func SplitHostShards(m *HostShards) []*HostShards {
	if len(m.Hosts) == 0 {
		return nil
	}
	var parts []*HostShards
	for _, hosts := range divideList(m.Hosts, shardsSize) {
		parts = append(parts, &HostShards{hosts})
	}
	return parts
}

// SplitUnfollow returns the messages that together say what m says: none if it says nothing.
func SplitUnfollow(m *Unfollow) []*Unfollow {
	if len(m.Hosts) == 0 {
		return nil
	}
	var parts []*Unfollow
	for _, hosts := range divideList(m.Hosts, func(s *HostSet) int { return numberedHostSize(s.Host) }) {
		parts = append(parts, &Unfollow{hosts})
	}
	return parts
}

// SplitDetails returns the messages that together say what m says.
func SplitDetails(m *Details) []*Details {
	lists := divideList(m.Users, userDetailSize)
	parts := make([]*Details, 0, len(lists))
	for _, users := range lists {
		parts = append(parts, &Details{Host: m.Host, Hello: m.Hello, Users: users})
	}
	return parts
}

// divideList divides a list into parts that each fit into a payload. Of an empty list, it returns
// one empty part.
func divideList[T any](entries []T, size func(*T) int) (parts [][]T) {
	for more := true; more; more = len(entries) > 0 {
		var part []T
		free := room
		part, entries = fit(entries, &free, room, size)
		parts = append(parts, part)
	}
	return parts
}

// fit returns the first entries, as many as there is free room for, and the rest. When none fits
// although all of the room is free, it returns one nevertheless: Append refuses it.
func fit[T any](entries []T, free *int, room int, size func(*T) int) (first, rest []T) {
	fresh := *free == room
	for i := range entries {
		n := size(&entries[i])
		if n > *free && (i > 0 || !fresh) {
			return entries[:i:i], entries[i:]
		}
		*free -= n
	}
	return entries, nil
}
