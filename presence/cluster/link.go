package cluster

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/oftenlog"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// transport carries payloads: a *bus.Bus, or a simulated network in tests.
type transport interface {
	Publish(subject string, payload []byte) error
	Subscribe(subject string, take func(payload []byte)) (cancel func(), err error)
}

// peer is one incarnation of a pod.
type peer struct {
	dc, pod string
	inc     message.Incarnation
}

func peerOf(s message.Sender) peer { return peer{s.DataCenter, s.Pod, s.Incarnation} }

func (p peer) sender() message.Sender {
	return message.Sender{DataCenter: p.dc, Pod: p.pod, Incarnation: p.inc}
}

// name returns the pod's name in answers and logs.
func (p peer) name() string { return p.dc + "/" + p.pod }

// key returns the key of the incarnation in the registry. The name of a data center has no '/', see
// [Config].
func (p peer) key() string { return p.name() + "/" + incarnationText(p.inc) }

func incarnationText(i message.Incarnation) string {
	return fmt.Sprintf("%x-%016x", i.Started, i.Random)
}

// link sends messages over the transport as one pod, and counts received payloads that are not
// used.
type link struct {
	bus    transport
	codec  *message.Codec
	prefix string // prefix of all subjects
	self   peer
	logger *zap.Logger
	// standing reports whether the pod is alive, and whether its payload with that number was
	// published before since. It is set before the first subscription.
	standing func(p peer, seq uint64, since time.Time) (alive, old bool)

	seq atomic.Uint64 // number of the last payload

	mu       sync.Mutex
	received map[*received]struct{} // subscriptions, for forget; guarded by mu

	malformed, oversized, forged, version, unknown, repeated atomic.Uint64

	unsent     atomic.Uint64
	complained oftenlog.Limit // limits the log lines about sending
}

// compareIncarnations orders the incarnations of a pod by their start.
func compareIncarnations(a, b message.Incarnation) int {
	return cmp.Or(cmp.Compare(a.Started, b.Started), cmp.Compare(a.Random, b.Random))
}

// complainEvery is the minimum time between log lines about one kind of trouble.
const complainEvery = 10 * time.Second

func newLink(tr transport, name, secret string, self peer, logger *zap.Logger) *link {
	return &link{
		bus:      tr,
		codec:    message.NewCodec(secret),
		prefix:   name,
		self:     self,
		logger:   logger,
		standing: func(peer, uint64, time.Time) (alive, old bool) { return true, false },

		received: make(map[*received]struct{}),
	}
}

// all returns the subject that all pods subscribe to.
func (l *link) all() string { return l.prefix + ".all" }

// queries returns the subject of queries to all pods.
func (l *link) queries() string { return l.prefix + ".query" }

// queriesOf returns the subject of queries to the pods of one data center.
func (l *link) queriesOf(dc string) string { return l.prefix + ".query." + subjectHash(dc) }

// inbox returns the subject that only one pod subscribes to.
func (l *link) inbox(p peer) string {
	return l.prefix + ".pod." + subjectHash(p.dc, p.pod, incarnationText(p.inc))
}

// channelSubject returns the subject of the changes in a channel.
func (l *link) channelSubject(host presence.HostName, channel string) string {
	return l.prefix + ".channel." + subjectHash(host.String(), channel)
}

// assigned returns the subject of changes of assignments, which all pods subscribe to.
func (l *link) assigned() string { return l.prefix + ".assign" }

// assignedOf returns the subject of messages about assignments to one pod. It is not the pod's
// inbox, because handling them writes a file, which can be slow, and the inbox must not wait.
func (l *link) assignedOf(p peer) string {
	return l.prefix + ".assign." + subjectHash(p.dc, p.pod, incarnationText(p.inc))
}

// shardSubject returns the subject of the messages to the hosts of a shard.
func (l *link) shardSubject(shard byte) string {
	return l.prefix + ".message." + hex.EncodeToString([]byte{shard})
}

// subjectHash replaces names in subjects, which cannot contain dots, spaces and wildcards.
// Receivers compare the names in the message.
func subjectHash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p)))) // never fails
		_, _ = h.Write([]byte(p))
	}
	sum := h.Sum(nil)[:16]
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum))
}

// send publishes a message, and reports whether the bus accepted it. Receivers detect messages that
// are lost.
func (l *link) send(subject string, m message.Message) bool {
	from := l.self.sender()
	from.Seq = l.seq.Add(1)
	payload, err := l.codec.Append(nil, subject, from, m)
	if err == nil {
		err = l.bus.Publish(subject, payload)
	}
	if err == nil {
		return true
	}
	l.unsent.Add(1)
	if _, ok := l.complained.Allow(complainEvery); ok {
		l.logger.Error("cannot send to other pods", zap.Error(err), zap.Uint64("failed", l.unsent.Load()))
	}
	return false
}

// subscribe calls take with the messages of other pods that are alive, one at a time and in order
// of arrival. It drops payloads that are repeated, later than the order allows, or published before
// the subscription. Heartbeats and goodbyes of all pods are passed on, including this pod's, and
// probes of all other pods.
//
// It returns an error if the bus is closed. The subscription then receives nothing.
func (l *link) subscribe(subject string, o order, take func(from peer, m message.Message)) (*received, error) {
	in := &received{link: l, order: o, since: time.Now()}
	cancel, err := l.bus.Subscribe(subject, func(payload []byte) {
		from, m, ok := l.decode(subject, payload, in)
		if ok {
			take(from, m)
		}
	})
	if in.cancel = cancel; err != nil {
		in.cancel = func() {}
		return in, err
	}
	if o != unordered {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.received[in] = struct{}{}
	}
	return in, nil
}

func (l *link) decode(subject string, payload []byte, in *received) (from peer, m message.Message, ok bool) {
	sender, m, err := l.codec.Decode(subject, payload)
	if err != nil {
		l.reject(err)
		return peer{}, nil, false
	}
	from = peerOf(sender)
	switch m.(type) {
	case *message.Heartbeat, *message.Goodbye:
		return from, m, true
	}
	if from == l.self {
		// A pod receives what it sends to all, but it never sends to itself.
		if subject == l.inbox(l.self) || subject == l.assignedOf(l.self) {
			l.forged.Add(1)
		}
		return peer{}, nil, false
	}
	alive, fresh := in.accept(from, sender.Seq)
	_, probe := m.(*message.Probe)
	switch {
	case !alive && probe:
		return from, m, true
	case !alive:
		l.unknown.Add(1)
	case !fresh:
		l.repeated.Add(1)
	}
	return from, m, alive && fresh
}

// forget drops the windows of a pod that has left.
func (l *link) forget(p peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for in := range l.received {
		in.mu.Lock()
		delete(in.windows, p)
		in.mu.Unlock()
	}
}

// Ignored counts received payloads that were not used, by reason.
type Ignored struct {
	Malformed uint64 `json:"malformed"`
	Oversized uint64 `json:"oversized"`
	Forged    uint64 `json:"forged"` // without authentication, with a wrong one, or with this pod as their sender
	Version   uint64 `json:"version"`
	Unknown   uint64 `json:"unknown"`  // from a pod that is not alive, or a reply that no query waits for
	Repeated  uint64 `json:"repeated"` // received before, or too old
}

func (l *link) reject(err error) {
	switch {
	case errors.Is(err, message.ErrOversized):
		l.oversized.Add(1)
	case errors.Is(err, message.ErrForged):
		l.forged.Add(1)
	case errors.Is(err, message.ErrVersion):
		l.version.Add(1)
	default:
		l.malformed.Add(1)
	}
}

func (l *link) ignored() Ignored {
	return Ignored{
		Malformed: l.malformed.Load(),
		Oversized: l.oversized.Load(),
		Forged:    l.forged.Load(),
		Version:   l.version.Load(),
		Unknown:   l.unknown.Load(),
		Repeated:  l.repeated.Load(),
	}
}

// random returns an unpredictable random number.
func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: since Go 1.24, crypto/rand ends the process instead
	return binary.BigEndian.Uint64(b[:])
}
