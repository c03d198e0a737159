package events

import (
	"sync"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Limits of the messages that wait for the worker. Messages beyond them are dropped: they are
// repeated.
const (
	maxWaiting      = 4096
	maxWaitingParts = 64 // each is up to message.MaxPayload
)

// parcel is a message and its sender.
type parcel struct {
	from    link.Peer
	message message.Message
}

// wish is what the Speaker wants of a pod: a question, or the end of one.
type wish struct {
	pod string
	ask message.EventsQuestion
	end bool
}

// notes has what the worker has not handled yet.
type notes struct {
	messages []parcel
	parts    int // number of EventsParts in messages
	wishes   []wish
	peers    map[link.Peer]bool  // true: joined; false: left
	changed  map[*answer]bool    // taps that have changes
	hosts    []presence.HostName // hosts that have got connections
	recheck  bool                // messages may have been missed
	review   bool                // pods serve other hosts than before
	ended    map[link.Peer]bool  // pods that have left, also if they have joined again
}

type intake struct {
	mu    sync.Mutex
	notes notes
}

// note adds a note and wakes the worker. It does not block.
func (r *Room) note(add func(n *notes)) {
	r.intake.mu.Lock()
	add(&r.intake.notes)
	r.intake.mu.Unlock()
	r.worker.Wake()
}

// Handle handles a message about events. It does not block.
func (r *Room) Handle(from link.Peer, m message.Message) {
	r.note(func(n *notes) {
		if len(n.messages) >= maxWaiting {
			return
		}
		if _, part := m.(*message.EventsPart); part {
			if n.parts >= maxWaitingParts {
				return
			}
			n.parts++
		}
		n.messages = append(n.messages, parcel{from, m})
	})
}

// PodUp handles a pod that joined.
func (r *Room) PodUp(p link.Peer) { r.notePeer(p, true) }

// PodDown handles a pod that left.
func (r *Room) PodDown(p link.Peer) { r.notePeer(p, false) }

func (r *Room) notePeer(p link.Peer, alive bool) {
	r.note(func(n *notes) {
		if n.peers == nil {
			n.peers = make(map[link.Peer]bool)
		}
		n.peers[p] = alive
		if !alive {
			if n.ended == nil {
				n.ended = make(map[link.Peer]bool)
			}
			n.ended[p] = true
		}
	})
}

// SitesChanged handles a pod that may serve other hosts than before; this one too.
func (r *Room) SitesChanged() { r.note(func(n *notes) { n.review = true }) }

// RecheckAll handles that this pod may have missed messages.
func (r *Room) RecheckAll() { r.note(func(n *notes) { n.recheck = true }) }

// Opened handles a host that has its first connection on this pod.
func (r *Room) Opened(host presence.HostName) {
	r.note(func(n *notes) { n.hosts = append(n.hosts, host) })
}
