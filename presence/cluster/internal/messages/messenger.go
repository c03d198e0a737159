// Package messages carries messages to the pods that have connections of their host, at most once.
// In the same way, pods tell each other the info and the status of users (details.go).
//
// Messages of this pod are queued in a [Messenger] under its lock, within limits for each host, and
// published by its worker. The worker also subscribes to the subjects of the hosts that have
// connections here. Messages of other pods go to the registry.
//
// Messenger.mu guards the queue and the numbers of hosts. It may be locked while the lock of a host
// is held, so nothing else is locked under it.
package messages

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Limits of the messages that wait to be published, in bytes. They wait if the bus is slower than
// the senders.
const (
	maxUnsent     = 32 << 20
	maxUnsentHost = 4 << 20 // leaves room for other hosts
)

// Messenger carries messages between pods, at most once. Together with the replicator, it
// implements the registry's [presence.Relay].
//
// Messages of this pod are queued, with the lock of a host held, and published in order by one
// goroutine, the worker. Messages of other pods arrive by subscriptions, each on a goroutine of its
// own. The registry delivers them only on this pod.
type Messenger struct {
	link   *link.Link
	reg    presence.Pods
	timing timing.Timing
	logger *zap.Logger
	shared func(presence.HostName) bool // reports whether another pod may have the host

	worker *work.Worker
	counts messageCounts

	// mu guards the fields below, up to moved.
	mu     sync.Mutex
	unsent []*message.Send
	bytes  int // approximate memory of unsent
	byHost map[presence.HostName]int
	hosts  [link.Shards]int // number of hosts with a connection, by shard
	moved  []byte           // shards that got their first host, or lost their last one

	details details

	// Only the worker uses the fields below.
	heard [link.Shards]*hearing
	idle  work.Expiries[*hearing]
}

// hearing is the subscription of a shard.
type hearing struct {
	shard  byte
	cancel func()
	until  time.Time // end of the subscription if no host needs it; zero if one does
}

// messageCounts counts messages between pods.
type messageCounts struct{ out, in, dropped atomic.Uint64 }

// Counts counts the messages between this pod and others.
type Counts struct {
	Out     uint64 `json:"out"`     // published, whether or not another pod received them
	In      uint64 `json:"in"`      // received from other pods
	Dropped uint64 `json:"dropped"` // subset of In that came faster than this pod could deliver them
}

// New returns a messenger, whose goroutine runs until Close. shared reports whether another pod may
// have connections of a host.
func New(l *link.Link, reg presence.Pods, t timing.Timing, shared func(presence.HostName) bool, logger *zap.Logger) *Messenger {
	m := &Messenger{
		link: l, reg: reg, timing: t, logger: logger, shared: shared, worker: work.NewWorker(),
		byHost: make(map[presence.HostName]int),
	}
	go m.worker.Run(m.step, m.finish)
	return m
}

// Close publishes the queued messages and ends the goroutine. Closing twice is not an error.
func (m *Messenger) Close() { m.worker.Close() }

// Counts returns the counts of messages.
func (m *Messenger) Counts() Counts {
	return Counts{Out: m.counts.out.Load(), In: m.counts.in.Load(), Dropped: m.counts.dropped.Load()}
}

// Opened implements [presence.Relay].
func (m *Messenger) Opened(host presence.HostName) { m.count(host, 1) }

// Closed implements [presence.Relay].
func (m *Messenger) Closed(host presence.HostName) { m.count(host, -1) }

func (m *Messenger) count(host presence.HostName, n int) {
	shard := link.ShardOf(host)
	m.mu.Lock()
	before := m.hosts[shard]
	m.hosts[shard] += n
	moved := before == 0 || before+n == 0
	if moved {
		m.moved = append(m.moved, shard)
	}
	m.mu.Unlock()
	if moved {
		m.worker.Wake()
	}
}

// Send implements [presence.Relay].
func (m *Messenger) Send(host presence.HostName, msg presence.Message) error {
	if msg.Bodies == nil {
		return m.queue(host, newSend(host, msg))
	}
	var sends []*message.Send
	for _, part := range msg.Parts() {
		sends = append(sends, newSend(host, part))
	}
	return m.queue(host, sends...)
}

// newSend returns a copy of a message.
func newSend(host presence.HostName, msg presence.Message) *message.Send {
	s := &message.Send{
		Host: host, Channels: slices.Clone(msg.Channels), From: msg.From, Message: bytes.Clone(msg.Body),
		Users: slices.Clone(msg.Users), Except: msg.Except, Key: msg.Key,
	}
	if msg.From.User != nil {
		user := *msg.From.User
		s.From.User = &user
	}
	return s
}

// queue queues all messages or none.
func (m *Messenger) queue(host presence.HostName, sends ...*message.Send) error {
	size := 0
	for _, s := range sends {
		size += sizeOfSend(s)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes+size > maxUnsent || m.byHost[host]+size > maxUnsentHost {
		return presence.ErrBusy
	}
	m.bytes += size
	m.byHost[host] += size
	m.unsent = append(m.unsent, sends...)
	m.worker.Wake()
	return nil
}

// finish is the worker's last step.
func (m *Messenger) finish() {
	m.mu.Lock()
	m.details.toldAt = time.Now()
	m.mu.Unlock()
	m.step()
	for _, h := range m.heard {
		if h != nil {
			h.cancel()
		}
	}
}

// step handles what was queued, and returns how long the worker may sleep.
func (m *Messenger) step() time.Duration {
	m.mu.Lock()
	unsent, moved := m.unsent, m.moved
	m.unsent, m.moved = nil, nil
	hosts := m.hosts
	m.mu.Unlock()

	now := time.Now()
	for _, shard := range moved {
		m.updateShard(now, shard, hosts[shard] > 0)
	}
	m.expire(now)
	m.publish(unsent)
	idle, _ := m.idle.Next()
	if next := work.Earliest(idle, m.tell(now)); !next.IsZero() {
		return max(0, time.Until(next))
	}
	return time.Hour
}

// publish sends messages, and makes room for others in the queue.
func (m *Messenger) publish(unsent []*message.Send) {
	for _, s := range unsent {
		if m.link.Send(m.link.Shard(link.ShardOf(s.Host)), s) {
			m.counts.out.Add(1)
		}

		size := sizeOfSend(s)
		m.mu.Lock()
		m.bytes -= size
		if m.byHost[s.Host] -= size; m.byHost[s.Host] == 0 {
			delete(m.byHost, s.Host)
		}
		m.mu.Unlock()
	}
}

// updateShard subscribes to a shard that has hosts. It ends the subscription of a shard without
// hosts after a while: many hosts have only one connection, which is replaced when a page reloads.
func (m *Messenger) updateShard(now time.Time, shard byte, wanted bool) {
	h := m.heard[shard]
	switch {
	case wanted && h != nil:
		h.until = time.Time{}
	case wanted:
		m.heard[shard] = m.subscribe(shard)
	case h != nil:
		h.until = now.Add(m.timing.Linger)
		m.idle.Add(h.until, h)
	}
}

func (m *Messenger) subscribe(shard byte) *hearing {
	h := &hearing{shard: shard}
	in, err := m.link.Subscribe(m.link.Shard(shard), link.Strict, func(from link.Peer, msg message.Message) { m.deliver(h, from, msg) })
	if err != nil { // the bus is closed
		m.logger.Error("cannot subscribe to messages from other pods", zap.Error(err))
	}
	h.cancel = in.End
	return h
}

// expire ends the subscriptions that no host has needed for Timing.Linger.
func (m *Messenger) expire(now time.Time) {
	for h, ok := m.idle.Pop(now); ok; h, ok = m.idle.Pop(now) {
		if m.heard[h.shard] == h && !h.until.IsZero() && !now.Before(h.until) {
			m.heard[h.shard] = nil
			h.cancel()
		}
	}
}

// deliver delivers a message of another pod on this one.
func (m *Messenger) deliver(h *hearing, from link.Peer, msg message.Message) {
	if d, ok := msg.(*message.Details); ok && link.ShardOf(d.Host) == h.shard {
		m.HandleDetails(from, d)
		return
	}
	s, ok := msg.(*message.Send)
	if !ok || link.ShardOf(s.Host) != h.shard {
		m.link.Counts.Unknown.Add(1)
		return
	}
	m.counts.in.Add(1)
	delivered := presence.Message{
		Channels: s.Channels, Users: s.Users, Except: s.Except, Key: s.Key, From: s.From, Body: s.Message,
	}
	if m.reg.Deliver(s.Host, delivered) != nil {
		m.counts.dropped.Add(1)
	}
}

// sizeOfSend estimates the memory of a message, in bytes.
func sizeOfSend(s *message.Send) int {
	size := 256 + len(s.Message)
	for _, names := range [][]string{s.Channels, s.Users} {
		for _, name := range names {
			size += 48 + len(name)
		}
	}
	return size
}
