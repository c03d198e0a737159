package query

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Limits of the work for other pods. A query beyond them is dropped, and its answer names this pod
// as missing.
const (
	responders = 4
	maxQueries = 4096 // bundles of about a hundred queries each from a few dozen pods
)

// Responder replies to the queries of other pods, and to this pod's own queries.
type Responder struct {
	link     *link.Link
	registry *presence.Registry
	local    Local
	queries  chan queried
	pending  sync.Map // keys of the queries that wait or are being answered
	done     sync.Map // replies to queries that were carried out, by key, for keepReply
	dropped  atomic.Uint64
	hashes   keptHashes
}

type queried struct {
	from  link.Peer
	query *message.Query
}

// queriedKey identifies a query. Its repetitions have the same key.
type queriedKey struct {
	from link.Peer
	id   uint64
}

func (q queried) key() queriedKey { return queriedKey{q.from, q.query.ID} }

// NewResponder returns a responder, which drops queries until Start.
func NewResponder(l *link.Link, registry *presence.Registry, local Local) *Responder {
	return &Responder{link: l, registry: registry, local: local, queries: make(chan queried, maxQueries)}
}

// Start starts the goroutines, which end when stop is closed.
func (r *Responder) Start(all *sync.WaitGroup, stop <-chan struct{}) {
	for range responders {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				case q := <-r.queries:
					r.answer(q)
					r.pending.Delete(q.key())
				}
			}
		})
	}
}

// Dropped returns how many queries were dropped.
func (r *Responder) Dropped() uint64 { return r.dropped.Load() }

// Handle queues a query, unless it repeats one that is not answered yet. It does not block.
func (r *Responder) Handle(from link.Peer, m message.Message) {
	q, ok := m.(*message.Query)
	if !ok {
		r.link.Counts.Unknown.Add(1)
		return
	}
	asked := queried{from, q}
	if _, repeated := r.pending.LoadOrStore(asked.key(), nil); repeated {
		return
	}
	select {
	case r.queries <- asked:
	default:
		r.pending.Delete(asked.key())
		r.dropped.Add(1)
	}
}

func (r *Responder) answer(q queried) {
	inbox := r.link.Inbox(q.from)
	for _, part := range message.SplitReply(r.replyOnce(q)) {
		r.link.SendBundled(inbox, []link.Peer{q.from}, part)
	}
}

// keepReply is how long the reply to a query that changed something is kept for its repetitions. No
// pod waits longer for replies.
const keepReply = time.Minute

// replyOnce is reply for a query of another pod. It carries out a query that changes something only
// once: its repetitions get the same reply.
func (r *Responder) replyOnce(q queried) *message.Reply {
	if q.query.Kind != message.KindDisconnect && q.query.Kind != message.KindLeave {
		return r.reply(q.from, q.query, true)
	}
	if kept, ok := r.done.Load(q.key()); ok {
		again := *kept.(*message.Reply)
		again.Try = q.query.Try
		return &again
	}
	reply := r.reply(q.from, q.query, true)
	r.done.Store(q.key(), reply)
	time.AfterFunc(keepReply, func() { r.done.Delete(q.key()) })
	return reply
}

// reply returns this pod's reply to a pod. A count has hashes if it is merged with those of other
// pods.
func (r *Responder) reply(to link.Peer, q *message.Query, hashes bool) *message.Reply {
	reply := &message.Reply{ID: q.ID, Try: q.Try}
	if q.Kind == message.KindPing {
		return reply
	}
	switch q.Kind {
	case message.KindDisconnect: // these two also have an effect on a host without connections
		reply.Count.LoggedIn = uint64(r.local.Disconnect(q.Host, q.Channel, q.Call))
	case message.KindLeave:
		reply.Count.LoggedIn = uint64(r.local.Leave(q.Host, q.Call))
	case message.KindLast: // a pod without connections of the host can have sent it
		if e, ok := r.registry.Pods().LastEvent(q.Host, q.Channel); ok && e.TTL >= time.Millisecond {
			reply.Event = &e
			return reply
		}
	default:
	}
	if q.Kind == message.KindHosts {
		reply.Hosts = r.local.Hosts(q.Host)
		return reply
	}
	host := r.registry.Host(q.Host)
	if host == nil && reply.Count.LoggedIn == 0 {
		reply.NotServed = !r.local.Serves(q.Host)
		return reply
	}
	switch q.Kind {
	case message.KindCount:
		stats := host.Stats()
		reply.Count = countOf(stats)
		switch {
		case q.Raw || !hashes:
		case !q.Whole && stats.Users > unaskedHashes:
			reply.Unlisted = true
		default:
			reply.Count.Hashes, reply.More = r.hashes.part(to, q, r.registry.Pods())
		}
	case message.KindMembers:
		stats := host.Stats()
		reply.Count = countOf(stats)
		if reply.Unlisted = !q.Whole && max(stats.Users, stats.LoggedIn) > unaskedMembers; reply.Unlisted {
			break
		}
		reply.Members, stats = r.registry.Pods().Members(q.Host, per(q))
		reply.Count = countOf(stats)
	case message.KindUsers:
		if q.Channel == "" && q.Page.Limit == 0 {
			n := r.registry.Pods().Entries(q.Host, q.Page, per(q))
			reply.Count.Users = uint64(n)
			if reply.Unlisted = !q.Whole && n > unaskedListings; reply.Unlisted {
				break
			}
		}
		reply.Channels = r.listings(q)
	case message.KindNames:
		reply.Channels = host.ActiveChannels()
	case message.KindOnline:
		reply.Members = r.registry.Pods().Online(q.Host, q.Call.Users)
	case message.KindPing, message.KindDisconnect, message.KindLeave, message.KindLast, message.KindHosts: // handled above
	case message.KindExplain:
		reply.Conns = r.local.Explain(q.Host, q.User)
	case message.KindListeners:
		var (
			of presence.Listing
			ok bool
		)
		of, reply.Listeners, ok = r.local.Listeners(q.Host, presence.Listeners{Channel: q.Channel, After: q.User, Limit: q.Page.Limit}.OneMore())
		if ok && q.Channel != "" {
			reply.Channels = []presence.Listing{of}
		}
	}
	return reply
}

// listings returns this pod's reply to a query for users.
func (r *Responder) listings(q *message.Query) []presence.Listing {
	pods := r.registry.Pods()
	if q.Channel != "" {
		if l, ok := pods.Listing(q.Host, q.Channel, per(q)); ok {
			return []presence.Listing{l}
		}
		return nil
	}
	if q.Page != (presence.Page{}) {
		return pods.Page(q.Host, q.Page, per(q))
	}
	return pods.Listings(q.Host, per(q))
}

// per returns what the listing has that the query requests.
func per(q *message.Query) presence.Per {
	p := presence.PerUser
	if q.Raw {
		p = presence.PerConnection
	}
	if q.Info {
		p |= presence.WithInfo
	}
	return p
}

func countOf(s presence.Stats) message.Count {
	return message.Count{Anonymous: uint64(s.Anonymous), LoggedIn: uint64(s.LoggedIn), Users: uint64(s.Users)}
}
