package events

import (
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/hooks"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/events"
)

// ClientEvent is an event that a client has sent to a channel.
type ClientEvent struct {
	Channel, Event, Data, SocketID string
	UserID                         string // sender in a presence channel; "" elsewhere
}

// note is an event that no shard tells.
type note struct {
	host presence.HostName
	of   Types
	hook hooks.Event
}

// notes are events that wait to be queued. A caller must not wait for the disk, so a goroutine
// queues them.
type notes struct {
	// mu guards the fields below.
	mu      sync.Mutex
	waiting []note
	bytes   int
	running bool
	closed  bool
	ended   sync.WaitGroup
	missed  map[missed]time.Time // time of the last cache miss of a channel
}

type missed struct {
	host    presence.HostName
	channel string
}

const (
	// maxNoted is the maximum size of the data of events that wait to be queued, in bytes.
	maxNoted = 4 << 20

	// noteSize is what an event counts for besides its data.
	noteSize = 256

	// missPause is the time in which a channel has one cache miss.
	missPause = 10 * time.Second

	// maxMissed is the maximum number of channels of which cache misses are remembered.
	maxMissed = 10_000
)

// ClientEvent queues an event of a client for the webhooks that want it. It does not wait.
func (e *Events) ClientEvent(host presence.HostName, c ClientEvent) {
	if !e.isWanted(host, clientEvent) || !e.cfg.Shown(host, c.Channel) {
		return
	}
	e.note(note{host, clientEvent, hooks.Event{
		Name: hooks.ClientEvent, Channel: c.Channel, UserID: c.UserID,
		Client: &hooks.Client{Event: c.Event, Data: c.Data, SocketID: c.SocketID},
	}})
}

// CacheMiss queues that a channel has no value for a subscriber, unless it was queued a short time
// ago. It does not wait, and may be called with the lock of a host held.
func (e *Events) CacheMiss(host presence.HostName, channel string) {
	if e.isWanted(host, cacheMiss) && e.notes.miss(missed{host, channel}, time.Now()) {
		e.note(note{host, cacheMiss, hooks.Event{Name: hooks.CacheMiss, Channel: channel}})
	}
}

func (e *Events) isWanted(host presence.HostName, of Types) bool {
	return slices.ContainsFunc(e.cfg.Receivers(host), func(r *Receiver) bool { return r.Types.HasAny(of) })
}

// miss reports whether a cache miss is told.
func (n *notes) miss(m missed, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if last, ok := n.missed[m]; ok && now.Sub(last) < missPause {
		return false
	}
	if len(n.missed) >= maxMissed {
		for other, last := range n.missed {
			if now.Sub(last) >= missPause {
				delete(n.missed, other)
			}
		}
		if len(n.missed) >= maxMissed {
			clear(n.missed)
		}
	}
	if n.missed == nil {
		n.missed = make(map[missed]time.Time)
	}
	n.missed[m] = now
	return true
}

func (n *note) size() int {
	size := noteSize + len(n.hook.Channel)
	if c := n.hook.Client; c != nil {
		size += len(c.Event) + len(c.Data)
	}
	return size
}

// note hands an event to the goroutine that queues it. If the disk is too slow, it is dropped.
func (e *Events) note(one note) {
	n := &e.notes
	n.mu.Lock()
	defer n.mu.Unlock()
	size := one.size()
	if n.closed || n.bytes+size > maxNoted {
		e.dropNote(one)
		return
	}
	n.waiting = append(n.waiting, one)
	n.bytes += size
	if !n.running {
		n.running = true
		n.ended.Go(e.queueNotes)
	}
}

func (e *Events) dropNote(one note) {
	for _, r := range e.cfg.Receivers(one.host) {
		if r.Types.HasAny(one.of) {
			e.metrics.Dropped(backend.Stream{Host: one.host, Receiver: r.ID}, backend.ReasonFull, 1)
		}
	}
}

// queueNotes is the goroutine. It ends when nothing waits.
func (e *Events) queueNotes() {
	n := &e.notes
	for {
		n.mu.Lock()
		list := n.waiting
		n.waiting, n.bytes = nil, 0
		n.running = len(list) > 0
		n.mu.Unlock()
		if len(list) == 0 {
			return
		}
		e.putNotes(list)
	}
}

// putNotes queues events, in order for each receiver.
func (e *Events) putNotes(list []note) {
	items := make(map[backend.Stream][]backend.Item)
	for i := range list {
		one := &list[i]
		if one.of == cacheMiss && !e.cfg.Shown(one.host, one.hook.Channel) {
			continue // hidden, or nobody is left who misses it
		}
		for _, r := range e.cfg.Receivers(one.host) {
			if !r.Types.HasAny(one.of) || !r.hasChannel(one.hook.Channel) {
				continue
			}
			of, id := backend.Stream{Host: one.host, Receiver: r.ID}, backend.NewEventID()
			items[of] = append(items[of], backend.Item{
				Lane: uint64(events.ShardOf(one.hook.Channel)), ID: id, Body: one.hook.Encode(id, one.host),
			})
		}
	}
	for of, all := range items {
		for len(all) > 0 {
			chunk := all[:min(len(all), maxChunk)]
			all = all[len(chunk):]
			if err := e.putItems(of, chunk); err != nil {
				why := backend.ReasonDisk
				if errors.Is(err, backend.ErrFull) {
					why = backend.ReasonFull
				}
				e.metrics.Dropped(of, why, len(chunk))
			}
		}
	}
}

// putItems queues items if there is room: no other events give way to them.
func (e *Events) putItems(of backend.Stream, items []backend.Item) error {
	courier, err := e.Open()
	if err != nil {
		return err
	}
	return courier.Put(of, items...)
}

// Close queues the events that wait to be queued, waits until the deadline for deliveries in
// progress, and closes the file.
func (e *Events) Close(logger *zap.Logger, deadline time.Time) {
	e.notes.setClosed(true)
	e.notes.ended.Wait()
	e.Keeper.Close(logger, deadline)
}

// Reopen allows the file to be opened again after Close.
func (e *Events) Reopen() {
	e.notes.setClosed(false)
	e.Keeper.Reopen()
}

func (n *notes) setClosed(closed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = closed
}
