package clustertest

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/sites"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Voice sends messages as a pod, with numbers that the test can choose.
type Voice struct {
	t    *testing.T
	port *Port
	self link.Peer
	seq  atomic.Uint64 // number of the last message
}

// NewVoice returns a voice that publishes on the port.
func NewVoice(t *testing.T, port *Port, self link.Peer) *Voice {
	return &Voice{t: t, port: port, self: self}
}

// SetSeq makes the next message have the number after seq.
func (v *Voice) SetSeq(seq uint64) { v.seq.Store(seq) }

// Send publishes a message.
func (v *Voice) Send(subject string, m message.Message) {
	from := message.Sender{DataCenter: v.self.DC, Pod: v.self.Pod, Incarnation: v.self.Incarnation, Seq: v.seq.Add(1)}
	payload, err := message.NewCodec("").Append(nil, subject, from, m)
	if err == nil {
		err = v.port.Publish(subject, payload)
	}
	if err != nil {
		v.t.Errorf("sending a %T: %v", m, err)
	}
}

// Script is a pod that does only what the test says.
type Script struct {
	*Voice
	Link *link.Link // for its subjects
	Port *Port

	mu        sync.Mutex
	sum       uint64
	parts     []*message.Sites // its sites, for requests; if there are none, it does not answer
	reply     func(q *message.Query) []*message.Reply
	queries   []*message.Query // to all
	repeated  []*message.Query // in its inbox
	requested int              // number of requests for its sites
	last      message.Heartbeat
	dead      bool     // it does not answer probes
	unlisted  bool     // it does not answer requests for its lists
	deaf      bool     // its lists lack the pod that asks
	hears     []uint64 // IDs of the runs in its list, besides its own and that of the pod that asks
}

// Script adds a pod. Its incarnation is later with a higher started.
func (n *Lab) Script(t *testing.T, dc, pod string, started int64) *Script {
	t.Helper()
	p := n.Port(t)
	self := link.Peer{DC: dc, Pod: pod, Incarnation: message.Incarnation{Started: started, Random: link.Random()}}
	s := &Script{Voice: NewVoice(t, p, self), Port: p, Link: link.New(p, "rollcall", "", self, zap.NewNop())}
	for subject, handle := range map[string]func(from link.Peer, m message.Message){
		s.Link.Queries():     s.handleQuery,
		s.Link.QueriesOf(dc): s.handleQuery,
		s.Link.Inbox(self):   s.handleInbox,
	} {
		if _, err := s.Link.Subscribe(subject, link.Loose, handle); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Peer returns the pod's incarnation.
func (s *Script) Peer() link.Peer { return s.Link.Self() }

// Answer makes the pod answer queries from now on.
func (s *Script) Answer(reply func(q *message.Query) []*message.Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply = reply
}

// Replies makes the pod answer every query with the replies that f returns for its ID.
func (s *Script) Replies(f func(id uint64) []*message.Reply) {
	s.Answer(func(q *message.Query) []*message.Reply {
		parts := f(q.ID)
		for _, part := range parts {
			part.Try = q.Try
		}
		return parts
	})
}

// Queried waits for all goroutines, and returns the queries that the pod has received.
func (s *Script) Queried() []*message.Query {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queries)
}

// Repeated waits for all goroutines, and returns the queries that were repeated for the pod.
func (s *Script) Repeated() []*message.Query {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.repeated)
}

// Serve makes the pod announce sites from the next heartbeat on.
func (s *Script) Serve(list ...message.Site) {
	a := sites.Announce(list)
	s.Announce(a.Sum, a.Parts...)
}

// Announce makes the pod have a sum of sites, and answer requests with the parts.
func (s *Script) Announce(sum uint64, parts ...*message.Sites) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum, s.parts = sum, parts
}

// SitesRequested returns how often the pod was asked for its sites.
func (s *Script) SitesRequested() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requested
}

// Beat sends a heartbeat.
func (s *Script) Beat() { s.BeatWith(message.Heartbeat{}) }

// BeatWith sends a heartbeat with the sum of the pod's sites.
func (s *Script) BeatWith(hb message.Heartbeat) {
	s.mu.Lock()
	hb.Sites = s.sum
	s.last = hb
	s.mu.Unlock()
	s.Send(s.Link.All(), &hb)
	synctest.Wait()
}

// Live sends a heartbeat each second for d, as do the others.
func (s *Script) Live(d time.Duration, others ...*Script) {
	for end := time.Now().Add(d); ; {
		s.Beat()
		for _, o := range others {
			o.Beat()
		}
		left := time.Until(end)
		if left <= 0 {
			return
		}
		time.Sleep(min(left, time.Second))
	}
}

// Goodbye sends a goodbye.
func (s *Script) Goodbye() {
	s.Send(s.Link.All(), &message.Goodbye{})
	synctest.Wait()
}

// Die makes the pod answer no probes from now on.
func (s *Script) Die() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
}

// Unlist makes the pod answer no requests for its lists from now on.
func (s *Script) Unlist() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unlisted = true
}

// Deafen makes the lists of the pod lack the pod that asks, as if it did not hear it.
func (s *Script) Deafen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf = true
}

// Hear makes the pod have runs in its list from now on, besides its own and that of the pod that
// asks.
func (s *Script) Hear(runs ...link.Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hears = nil
	for _, p := range runs {
		s.hears = append(s.hears, p.ID())
	}
}

func (s *Script) handleQuery(from link.Peer, m message.Message) {
	q := m.(*message.Query)
	s.mu.Lock()
	s.queries = append(s.queries, q)
	s.mu.Unlock()
	s.answerQuery(from, q)
}

func (s *Script) answerQuery(from link.Peer, q *message.Query) {
	s.mu.Lock()
	reply := s.reply
	s.mu.Unlock()
	if reply == nil {
		return
	}
	for _, r := range reply(q) {
		s.Send(s.Link.Inbox(from), r)
	}
}

func (s *Script) handleInbox(from link.Peer, m message.Message) {
	if q, ok := m.(*message.Query); ok {
		s.mu.Lock()
		s.repeated = append(s.repeated, q)
		s.mu.Unlock()
		s.answerQuery(from, q)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m := m.(type) {
	case *message.Probe:
		if !s.dead {
			hb := s.last
			hb.Nonce = m.Nonce
			s.Send(s.Link.Inbox(from), &hb)
		}
	case *message.RunsWanted:
		if !s.dead && !s.unlisted && len(m.IDs) == 0 {
			ids := append([]uint64{s.Peer().ID()}, s.hears...)
			if !s.deaf {
				ids = append(ids, from.ID())
			}
			s.Send(s.Link.Inbox(from), &message.Runs{List: true, Heard: s.last.Heard, Missed: s.last.Missed, IDs: ids})
		}
	case *message.SitesWanted:
		s.requested++
		for _, part := range s.parts {
			s.Send(s.Link.Inbox(from), part)
		}
	}
}
