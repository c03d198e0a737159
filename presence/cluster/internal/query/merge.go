package query

import (
	"cmp"
	"math/bits"
	"slices"
	"sync"

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
	dcs := []DataCenter{}
	for len(replies) > 0 {
		n := slices.IndexFunc(replies, func(r podReply) bool { return r.DC != replies[0].DC })
		if n < 0 {
			n = len(replies)
		}
		dcs = append(dcs, mergeDataCenter(q, replies[:n]))
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

func mergeDataCenter(q queryKey, replies []podReply) DataCenter {
	dc := DataCenter{Name: replies[0].DC}
	for _, r := range replies {
		dc.Anonymous += int(r.parts[0].Count.Anonymous)
	}
	if q.kind == message.KindMembers {
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
	pods, most, hashes := 0, 0, 0
	for _, r := range replies {
		if users := int(r.parts[0].Count.Users); users > 0 {
			pods++
			most = max(most, users)
		}
		for _, part := range r.parts {
			hashes += len(part.Count.Hashes)
		}
	}
	if pods < 2 {
		return most
	}
	u := unions.Get().(*union)
	defer unions.Put(u)
	u.reset(hashes)
	for _, r := range replies {
		for _, part := range r.parts {
			for _, h := range part.Count.Hashes {
				u.add(h)
			}
		}
	}
	return u.size
}

// union counts distinct hashes, in a table of at least twice their number. Its factor is random in
// each process, so that outsiders cannot choose hashes that collide.
type union struct {
	table []uint64
	shift int
	size  int
	zero  bool // 0 was added; in the table, 0 marks a free slot
}

var (
	unions      = sync.Pool{New: func() any { return new(union) }}
	unionFactor = link.Random() | 1
)

// keepUnion limits the table that is kept for reuse, in entries: 2 MiB.
const keepUnion = 1 << 18

func (u *union) reset(hashes int) {
	log := max(bits.Len(uint(hashes))+1, 4)
	if n := 1 << log; n <= len(u.table) && len(u.table) <= keepUnion {
		u.table = u.table[:n]
		clear(u.table)
	} else {
		u.table = make([]uint64, n)
	}
	u.shift, u.size, u.zero = 64-log, 0, false
}

func (u *union) add(h uint64) {
	if h == 0 {
		if !u.zero {
			u.zero = true
			u.size++
		}
		return
	}
	mask := len(u.table) - 1
	for i := int(h * unionFactor >> u.shift); ; i = (i + 1) & mask {
		switch u.table[i] {
		case h:
			return
		case 0:
			u.table[i] = h
			u.size++
			return
		}
	}
}

func mergeListings(q queryKey, replies []podReply) (a answer) {
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
