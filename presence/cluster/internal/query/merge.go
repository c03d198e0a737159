package query

import (
	"cmp"
	"slices"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// merge merges the replies of pods into one answer.
func merge(q queryKey, replies []podReply) answer {
	replies = slices.DeleteFunc(replies, func(r podReply) bool { return r.parts[0].NotServed })
	slices.SortFunc(replies, func(a, b podReply) int {
		return cmp.Or(cmp.Compare(a.DC, b.DC), cmp.Compare(a.Pod, b.Pod), link.CompareIncarnations(a.Incarnation, b.Incarnation))
	})
	if q.kind == message.KindUsers || q.kind == message.KindNames {
		return mergeListings(q, replies)
	}
	switch q.kind {
	case message.KindExplain:
		return answer{connections: mergeConnections(replies)}
	case message.KindHosts:
		return answer{hosts: mergeHosts(replies)}
	case message.KindListeners:
		return mergeListeners(q, replies)
	case message.KindOnline:
		return answer{online: mergeOnline(replies)}
	case message.KindLast:
		return mergeLast(replies)
	case message.KindDisconnect, message.KindLeave:
		a := answer{}
		for _, r := range replies {
			a.count += int(r.parts[0].Count.LoggedIn)
		}
		return a
	default:
	}
	dcs, tooMany := []DataCenter{}, q.kind == message.KindMembers && entries(q, replies) > MaxListed
	for len(replies) > 0 {
		n := slices.IndexFunc(replies, func(r podReply) bool { return r.DC != replies[0].DC })
		if n < 0 {
			n = len(replies)
		}
		dcs = append(dcs, mergeDataCenter(q, replies[:n], tooMany))
		replies = replies[n:]
	}
	return answer{dcs: dcs}
}

// mergeOnline counts the connections of each user. Replies are sorted by data center.
func mergeOnline(replies []podReply) []OnlineUser {
	var parts [][]presence.Member
	found := make(map[string]*OnlineUser)
	for _, r := range replies {
		for _, part := range r.parts {
			parts = append(parts, part.Members)
			for i := range part.Members {
				u := found[part.Members[i].ID]
				if u == nil {
					u = new(OnlineUser)
					found[part.Members[i].ID] = u
				}
				u.Connections++
				if n := len(u.DataCenters); n == 0 || u.DataCenters[n-1] != r.DC {
					u.DataCenters = append(u.DataCenters, r.DC)
				}
			}
		}
	}
	users := presence.MergeMembers(presence.PerUser, parts...)
	online := make([]OnlineUser, len(users))
	for i, user := range users {
		online[i] = *found[user.ID]
		online[i].User = user
	}
	return online
}

func mergeDataCenter(q queryKey, replies []podReply, tooMany bool) DataCenter {
	dc := DataCenter{Name: replies[0].DC}
	for _, r := range replies {
		dc.Anonymous += int(r.parts[0].Count.Anonymous)
	}
	if q.kind == message.KindMembers {
		if tooMany {
			dc.Authenticated = entries(q, replies)
			return dc
		}
		var parts [][]presence.Member
		for _, r := range replies {
			for _, part := range r.parts {
				parts = append(parts, part.Members)
			}
		}
		dc.Users = presence.MergeMembers(q.per, parts...)
		if dc.Users == nil {
			dc.Users = []presence.User{}
		}
		dc.Authenticated = len(dc.Users)
		return dc
	}
	if q.per.Raw() {
		for _, r := range replies {
			dc.Authenticated += int(r.parts[0].Count.LoggedIn)
		}
		return dc
	}
	dc.Authenticated = countUsers(replies)
	return dc
}

// countUsers counts the distinct users of several pods. The sum would count users on two pods
// twice.
func countUsers(replies []podReply) int {
	pods, most := 0, 0
	for _, r := range replies {
		if users := int(r.parts[0].Count.Users); users > 0 {
			pods++
			most = max(most, users)
		}
	}
	if pods < 2 {
		return most
	}
	runs := make([]run, 0, pods)
	for _, r := range replies {
		if m := (run{r.parts[0].Count.Hashes, r.more}); m.fill() {
			runs = append(runs, m)
		}
	}
	return countDistinct(runs)
}

func mergeListings(q queryKey, replies []podReply) (a answer) {
	if n := entries(q, replies); q.isListing() && n > MaxListed {
		a.tooMany = n
		return a
	}
	var parts [][]presence.Listing
	for _, r := range replies {
		for _, part := range r.parts {
			parts = append(parts, part.Channels)
		}
	}
	if q.page == (presence.Page{}) {
		a.listings = presence.MergeListings(q.per, parts...)
	} else {
		a.listings, a.next = presence.MergePages(q.page, q.per, parts...)
	}
	return a
}

// mergeConnections merges the connections of all pods into one list. A connection with many
// channels arrives in several consecutive entries.
func mergeConnections(replies []podReply) []PodConnection {
	list := []PodConnection{}
	for _, r := range replies {
		first := len(list)
		for _, part := range r.parts {
			for _, conn := range part.Conns {
				if last := len(list) - 1; last >= first && list[last].ID == conn.ID {
					list[last].Channels = append(list[last].Channels, conn.Channels...)
					continue
				}
				conn.Channels = slices.Clip(conn.Channels)
				list = append(list, PodConnection{DataCenter: r.DC, Pod: r.Pod, Connection: conn})
			}
		}
	}
	return list
}

// distinct sorts names and removes duplicates.
func distinct(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
