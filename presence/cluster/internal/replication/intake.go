package replication

import (
	"sync"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Limits of the messages that wait for the replicator. Messages beyond them are dropped, and the
// pod is checked again.
const (
	maxWaiting      = 8192
	maxWaitingBytes = 64 << 20
)

// place is a channel of a host.
type place struct {
	host    presence.HostName
	channel string
}

// parcel is a message and its sender.
type parcel struct {
	from    link.Peer
	message message.Message
	live    bool // published on a subject of shards, so it can be a repetition; false for this pod's inbox
}

// notes has the events that the replicator has not handled yet, except for changes of this pod's
// channels.
type notes struct {
	watches  map[place]bool     // true: has its first watcher; false: has lost its last one
	peers    map[link.Peer]bool // true: joined; false: left
	lagging  map[link.Peer]bool // pods to check again
	recheck  bool               // check all pods again
	messages []parcel           // in order of arrival
}

// intake collects events for the replicator's goroutine. A caller may hold the lock of a host, or
// block the whole bus, so no method blocks. Its memory is limited by the number of channels, pods
// and messages.
type intake struct {
	mu      sync.Mutex
	notes   notes
	bytes   int // approximate memory of notes.messages
	changed []place
	noted   map[place]bool // set of the places in changed
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

func (in *intake) notePeer(p link.Peer, alive bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.notes.peers == nil {
		in.notes.peers = make(map[link.Peer]bool)
	}
	in.notes.peers[p] = alive
}

func (in *intake) noteLag(p link.Peer) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.lag(p)
}

func (in *intake) lag(p link.Peer) {
	if in.notes.lagging == nil {
		in.notes.lagging = make(map[link.Peer]bool)
	}
	in.notes.lagging[p] = true
}

func (in *intake) noteRecheck() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.notes.recheck = true
}

func (in *intake) noteMessage(from link.Peer, m message.Message, live bool) {
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

// swap removes and returns all notes, except for changes.
func (in *intake) swap() notes {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := in.notes
	in.notes, in.bytes = notes{}, 0
	return n
}

// changes returns the number of changed channels.
func (in *intake) changes() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.changed)
}

// swapChanges removes and returns the changed channels, in order.
func (in *intake) swapChanges() []place {
	in.mu.Lock()
	defer in.mu.Unlock()
	changed := in.changed
	in.changed, in.noted = nil, nil
	return changed
}

// memorySize estimates the memory of a message, in bytes.
func memorySize(m message.Message) int {
	const (
		fixed = 256 // a message without its lists
		entry = 48  // an entry of a list, without its texts
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
	case *message.CheckDone:
		size += (len(m.Answers) + len(m.Shards)) * 16
	case *message.HostSums:
		size += len(m.Hosts) * entry
	case *message.HostShards:
		for i := range m.Hosts {
			size += entry + len(m.Hosts[i].Clocks)*16
		}
	case *message.Check:
		size += len(m.Channels) * entry
		for i := range m.Channels {
			size += len(m.Channels[i].Channel)
		}
	}
	return size
}
