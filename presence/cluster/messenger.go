package cluster

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Limits of the messages that wait to be published, in bytes. They wait if the bus is slower than
// the senders.
const (
	maxUnsent     = 32 << 20
	maxUnsentHost = 4 << 20 // leaves room for other hosts
)

// messenger carries messages between pods, at most once. Together with the replicator, it
// implements the registry's [presence.Relay].
//
// Messages of this pod are queued, with the lock of a host held, and published in order by one
// goroutine, the worker. Messages of other pods arrive by subscriptions, each on a goroutine of its
// own. The registry delivers them only on this pod.
type messenger struct {
	link   *link
	reg    presence.Pods
	timing timing
	logger *zap.Logger

	worker *worker
	counts messageCounts

	// mu guards the fields below, up to moved.
	mu     sync.Mutex
	unsent []*message.Send
	bytes  int // approximate memory of unsent
	byHost map[presence.HostName]int
	hosts  [shards]int // number of hosts with a connection, by shard
	moved  []byte      // shards that got their first host, or lost their last one

	// Only the worker uses the fields below.
	heard [shards]*hearing
	idle  expiries[*hearing]
}

// hearing is the subscription of a shard.
type hearing struct {
	shard  byte
	cancel func()
	until  time.Time // end of the subscription if no host needs it; zero if one does
}

// messageCounts counts messages between pods.
type messageCounts struct{ out, in, dropped atomic.Uint64 }

// Messages counts the messages between this pod and others.
type Messages struct {
	Out     uint64 `json:"out"`     // published, whether or not another pod received them
	In      uint64 `json:"in"`      // received from other pods
	Dropped uint64 `json:"dropped"` // subset of In that came faster than this pod could deliver them
}

// newMessenger returns a messenger, whose goroutine runs until close.
func newMessenger(l *link, reg presence.Pods, t timing, logger *zap.Logger) *messenger {
	m := &messenger{
		link: l, reg: reg, timing: t, logger: logger, worker: newWorker(),
		byHost: make(map[presence.HostName]int),
	}
	go m.worker.work(m.step, m.finish)
	return m
}

// close publishes the queued messages and ends the goroutine. Closing twice is not an error.
func (m *messenger) close() { m.worker.close() }

// report returns the counts of messages.
func (m *messenger) report() Messages {
	return Messages{Out: m.counts.out.Load(), In: m.counts.in.Load(), Dropped: m.counts.dropped.Load()}
}

// Opened implements [presence.Relay].
func (m *messenger) Opened(host presence.HostName) { m.count(host, 1) }

// Closed implements [presence.Relay].
func (m *messenger) Closed(host presence.HostName) { m.count(host, -1) }

func (m *messenger) count(host presence.HostName, n int) {
	shard := shardOf(host)
	m.mu.Lock()
	before := m.hosts[shard]
	m.hosts[shard] += n
	moved := before == 0 || before+n == 0
	if moved {
		m.moved = append(m.moved, shard)
	}
	m.mu.Unlock()
	if moved {
		m.worker.wakeUp()
	}
}

// Send implements [presence.Relay].
func (m *messenger) Send(host presence.HostName, channels []string, from presence.Source, msg []byte) error {
	s := &message.Send{Host: host, Channels: slices.Clone(channels), From: from, Message: bytes.Clone(msg)}
	if from.User != nil {
		user := *from.User
		s.From.User = &user
	}
	size := sizeOfSend(s)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes+size > maxUnsent || m.byHost[host]+size > maxUnsentHost {
		return presence.ErrBusy
	}
	m.bytes += size
	m.byHost[host] += size
	m.unsent = append(m.unsent, s)
	m.worker.wakeUp()
	return nil
}

// finish is the worker's last step.
func (m *messenger) finish() {
	m.step()
	for _, h := range m.heard {
		if h != nil {
			h.cancel()
		}
	}
}

// step handles what was queued, and returns how long the worker may sleep.
func (m *messenger) step() time.Duration {
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
	if next, ok := m.idle.next(); ok {
		return max(0, time.Until(next))
	}
	return time.Hour
}

// publish sends messages, and makes room for others in the queue.
func (m *messenger) publish(unsent []*message.Send) {
	for _, s := range unsent {
		if m.link.send(m.link.shardSubject(shardOf(s.Host)), s) {
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
func (m *messenger) updateShard(now time.Time, shard byte, wanted bool) {
	h := m.heard[shard]
	switch {
	case wanted && h != nil:
		h.until = time.Time{}
	case wanted:
		m.heard[shard] = m.subscribe(shard)
	case h != nil:
		h.until = now.Add(m.timing.linger)
		m.idle.add(h.until, h)
	}
}

func (m *messenger) subscribe(shard byte) *hearing {
	h := &hearing{shard: shard}
	in, err := m.link.subscribe(m.link.shardSubject(shard), strictly, func(_ peer, msg message.Message) { m.deliver(h, msg) })
	if err != nil { // the bus is closed
		m.logger.Error("cannot subscribe to messages from other pods", zap.Error(err))
	}
	h.cancel = in.end
	return h
}

// expire ends the subscriptions that no host has needed for timing.linger.
func (m *messenger) expire(now time.Time) {
	for h, ok := m.idle.pop(now); ok; h, ok = m.idle.pop(now) {
		if m.heard[h.shard] == h && !h.until.IsZero() && !now.Before(h.until) {
			m.heard[h.shard] = nil
			h.cancel()
		}
	}
}

// deliver delivers a message of another pod on this one.
func (m *messenger) deliver(h *hearing, msg message.Message) {
	s, ok := msg.(*message.Send)
	if !ok || shardOf(s.Host) != h.shard {
		m.link.counts.unknown.Add(1)
		return
	}
	m.counts.in.Add(1)
	if m.reg.Deliver(s.Host, s.Channels, s.From, s.Message) != nil {
		m.counts.dropped.Add(1)
	}
}

// sizeOfSend estimates the memory of a message, in bytes.
func sizeOfSend(s *message.Send) int {
	size := 256 + len(s.Message)
	for _, channel := range s.Channels {
		size += 48 + len(channel)
	}
	return size
}
