package cluster

import (
	"sync"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Bounds of the messages that wait for the replicator. Beyond them messages are dropped, and the pod is checked anew.
const (
	maxWaiting      = 8192
	maxWaitingBytes = 64 << 20
)

// place is a channel of a host.
type place struct {
	host    presence.HostName
	channel string
}

// parcel is a message and the pod that it is from.
type parcel struct {
	from    peer
	message message.Message
	live    bool // by the subject of a channel, where it can be a repetition; not in this pod's inbox
}

// notes is what the replicator has yet to look at, but for changes of its own pod's channels.
type notes struct {
	watches  map[place]bool // true: has its first watcher; false: has none
	peers    map[peer]bool  // true: alive; false: gone
	lagging  map[peer]bool  // to be checked anew
	recheck  bool           // all are
	messages []parcel       // in the order of arrival
}

// intake is where others leave notes for the replicator's goroutine. Whoever does may hold the lock of a host, or be what
// the whole bus waits for, so no method blocks. An entry for each channel, pod and message is all that there is room for.
type intake struct {
	mu      sync.Mutex
	notes   notes
	bytes   int // of notes.messages, about
	changed []place
	noted   map[place]bool // those in changed
}

func (in *intake) noteChange(p place) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.noted[p] {
		return
	}
	if in.noted == nil {
		in.noted = make(map[place]bool)
	}
	in.noted[p] = true
	in.changed = append(in.changed, p)
}

func (in *intake) noteWatch(p place, watched bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.notes.watches == nil {
		in.notes.watches = make(map[place]bool)
	}
	in.notes.watches[p] = watched
}

func (in *intake) notePeer(p peer, alive bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.notes.peers == nil {
		in.notes.peers = make(map[peer]bool)
	}
	in.notes.peers[p] = alive
}

func (in *intake) noteLag(p peer) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.lag(p)
}

func (in *intake) lag(p peer) {
	if in.notes.lagging == nil {
		in.notes.lagging = make(map[peer]bool)
	}
	in.notes.lagging[p] = true
}

func (in *intake) noteRecheck() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.notes.recheck = true
}

func (in *intake) noteMessage(from peer, m message.Message, live bool) {
	size := memorySize(m)
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.notes.messages) >= maxWaiting || in.bytes+size > maxWaitingBytes {
		in.lag(from)
		return
	}
	in.bytes += size
	in.notes.messages = append(in.notes.messages, parcel{from, m, live})
}

// swap takes all notes out but for changes.
func (in *intake) swap() notes {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := in.notes
	in.notes, in.bytes = notes{}, 0
	return n
}

// changes returns how many channels have changed.
func (in *intake) changes() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.changed)
}

// swapChanges takes out the channels that have changed, in order.
func (in *intake) swapChanges() []place {
	in.mu.Lock()
	defer in.mu.Unlock()
	changed := in.changed
	in.changed, in.noted = nil, nil
	return changed
}

// memorySize returns about how many bytes a message holds.
func memorySize(m message.Message) int {
	const (
		fixed = 256 // a message without its lists
		entry = 48  // of a list, without its texts
	)
	size := fixed
	switch m := m.(type) {
	case *message.Delta:
		size += len(m.Channel) + (len(m.Joined)+len(m.Left))*entry
		for i := range m.Joined {
			size += len(m.Joined[i].ID) + len(m.Joined[i].Email)
		}
		for i := range m.Left {
			size += len(m.Left[i].ID)
		}
	case *message.Check:
		size += len(m.Channels) * entry
		for i := range m.Channels {
			size += len(m.Channels[i].Channel)
		}
	}
	return size
}
