package query

import (
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// maxLong limits the queries about long lists that are answered at the same time, of those that
// other pods are asked, and of the rest. Others wait.
const maxLong = 2

// MaxListed is the maximum number of users, or of connections with a user, that [Asker.AllUsers]
// lists, and of entries (see [presence.Host.Entries]) that [Asker.Users] lists without a limit.
const MaxListed = 1_000_000

// isListing reports whether a query is for all users of channels, however many there are.
func (q queryKey) isListing() bool {
	return q.kind == message.KindUsers && q.channel == "" && q.page.Limit == 0
}

// entries returns how many entries the lists of the replies have, also those that were left out.
func entries(q queryKey, replies []podReply) (n int) {
	for _, r := range replies {
		if c := r.parts[0].Count; q.per.Raw() && q.kind != message.KindUsers {
			n += int(c.LoggedIn)
		} else {
			n += int(c.Users)
		}
	}
	return n
}

// lacking returns the pods whose lists were left out, and are needed for the answer. It relies on
// no pod for that: a faulty one can say that it left out what nobody needs. Nobody would read it.
func lacking(q queryKey, replies []podReply) (pods []link.Peer) {
	switch {
	case q.kind == message.KindCount && q.per.Raw():
		return nil // a sum of numbers
	case q.kind == message.KindCount:
	case q.kind != message.KindMembers && !q.isListing(), entries(q, replies) > MaxListed:
		return nil
	}
	withUsers := make(map[string]int) // number of pods with users in each data center
	for _, r := range replies {
		if !r.parts[0].NotServed && r.parts[0].Count.Users > 0 {
			withUsers[r.DC]++
		}
	}
	for _, r := range replies {
		if first := r.parts[0]; first.Unlisted && !first.NotServed && (q.kind != message.KindCount || withUsers[r.DC] > 1) {
			pods = append(pods, r.Peer)
		}
	}
	return pods
}

// turns returns the queries about long lists that q waits for. One that no other pod is asked does
// not wait for those that are: a pod that is slow would hold up hosts that it does not serve.
func (k *Queries) turns(q queryKey) chan struct{} {
	if len(k.named(q)) == 0 {
		return k.longOwn
	}
	return k.long
}

// takeTurn waits until fewer than maxLong of the queries that have a turn are answered. Meanwhile,
// f is shared with all equal queries, because it begins after them. It returns
//   - now: whether there was nothing to wait for, so that earlier replies can be used,
//   - other: an equal query that waits already, and answers this one too; the caller has no turn
//     then.
//
// ok is false if the queries were stopped.
func (k *Queries) takeTurn(turns chan struct{}, q queryKey, f *sharedAnswer) (now bool, other *sharedAnswer, ok bool) {
	select {
	case turns <- struct{}{}:
		return true, nil, true
	default:
	}
	if f != nil {
		if other = k.postpone(q, f); other != nil {
			return false, other, true
		}
		defer k.begin(q, f)
	}
	select {
	case turns <- struct{}{}:
		return false, nil, true
	case <-k.stop:
		return false, nil, false
	}
}

// postpone makes f the shared answer while it waits for its turn. If another one waits, it returns
// that.
func (k *Queries) postpone(q queryKey, f *sharedAnswer) *sharedAnswer {
	k.mu.Lock()
	defer k.mu.Unlock()
	known := k.shared[q]
	if known != nil && known.waits {
		return known
	}
	if known != nil || len(k.shared) < maxShared {
		f.waits = true
		k.shared[q] = f
	}
	return nil
}

// begin ends the time in which f was shared because it waited.
func (k *Queries) begin(q queryKey, f *sharedAnswer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f.waits {
		f.waits, f.began = false, time.Now()
		time.AfterFunc(k.timing.Share, func() { k.dropFlight(q, f) })
	}
}

// complete asks for the lists that were left out of the replies. The hashes of a count come as
// streams, which are read while they are merged; the lists of users at once.
func (k *Queries) complete(q queryKey, g *gathered, pods []link.Peer) {
	if q.kind == message.KindCount {
		for i := range g.replies {
			if r := &g.replies[i]; slices.Contains(pods, r.Peer) {
				s := k.stream(q, g.seed, r.Peer)
				r.more = s.next
				g.streams = append(g.streams, s)
			}
		}
		return
	}
	query := q.message(g.seed)
	query.Whole = true
	self := k.link.Self()
	var own []podReply
	others := slices.DeleteFunc(slices.Clone(pods), func(p link.Peer) bool { return p == self })
	whole, missing := k.request(*query, others, func(query *message.Query) {
		k.sendTo(others, query)
		if len(others) < len(pods) {
			own = k.own(query, false)
		}
	})
	g.replies = slices.DeleteFunc(g.replies, func(r podReply) bool { return slices.Contains(pods, r.Peer) })
	g.replies = slices.Concat(g.replies, whole, own)
	g.missing = append(g.missing, missing...)
}
