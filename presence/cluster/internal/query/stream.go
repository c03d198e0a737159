package query

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// maxStream is how long a pod may take to send the parts of its hashes. Each has the deadline of a
// reply besides.
const maxStream = 30 * time.Second

// hashStream receives the hashes of one pod's users in order. At most two parts are in memory: one
// is merged while the next is asked for.
type hashStream struct {
	pod   link.Peer
	parts chan []uint64 // none is empty; closed at the end
	whole bool          // all parts came; set before parts is closed, and read after it
}

// stream starts to ask a pod for its hashes. The goroutine ends when all parts are received from
// the channel, or, also if nobody receives them, soon after the queries are stopped.
func (k *Queries) stream(q queryKey, seed uint64, p link.Peer) *hashStream {
	s := &hashStream{pod: p, parts: make(chan []uint64)}
	k.all.Go(func() {
		defer close(s.parts)
		s.whole = k.askParts(q, seed, s)
	})
	return s
}

// next returns the next part; nil at the end.
func (s *hashStream) next() []uint64 { return <-s.parts }

// isWhole reports whether all parts came. It reads what the answer did not, because only the end of
// the parts says that whole is set.
func (s *hashStream) isWhole() bool {
	for range s.parts {
		continue
	}
	return s.whole
}

// askParts asks for one part after the other, and reports whether all came.
func (k *Queries) askParts(q queryKey, seed uint64, s *hashStream) bool {
	query := q.message(seed)
	query.Whole = true
	began := time.Now()
	for range maxReplyParts {
		r := k.askPart(query, s.pod)
		if r == nil || time.Since(began) > maxStream {
			return false
		}
		hashes := r.Count.Hashes
		n := len(hashes)
		switch {
		case n > 0 && hashes[0] < query.From, r.More && n < message.MaxHashes:
			return false // it is no part of a list in order: without these rules, a pod could go on forever
		case n > 0:
			select {
			case s.parts <- hashes:
			case <-k.stop: // the pod must not wait for a reader to leave
				return false
			}
		}
		if !r.More {
			return true
		}
		if query.From = hashes[n-1] + 1; query.From == 0 {
			return false
		}
	}
	return false
}

// askPart asks for the hashes from query.From on. It returns nil if no reply comes.
func (k *Queries) askPart(query *message.Query, p link.Peer) *message.Reply {
	if p == k.link.Self() {
		return k.responder.reply(p, query, true)
	}
	pods := []link.Peer{p}
	replies, _ := k.request(*query, pods, func(query *message.Query) { k.sendTo(pods, query) })
	if len(replies) == 0 {
		return nil
	}
	return replies[0].parts[0]
}
