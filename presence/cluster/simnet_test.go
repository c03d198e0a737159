package cluster

import (
	"container/heap"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/bus"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// simNet is a network between the pods of a simulation. What it does to a payload depends on the
// seed, the two pods, the kind of subject and the number of payloads before, but not on the order
// of goroutines.
type simNet struct {
	seed uint64
	wake chan struct{}
	done chan struct{}
	// hear is called before a pod handles a heartbeat or a goodbye.
	hear func(at *simPort, p *simPayload)
	// drop reports whether a payload is lost, for scenarios. If nil, none is lost by it. It is set
	// before the first pod is started.
	drop func(from, to *simPort, m message.Message) bool

	codec  *message.Codec
	mu     sync.Mutex
	faults simFaults
	cut    map[[2]int]bool // no payload gets from one pod to the other
	sent   map[simStream]uint64
	last   map[[2]*simPort]time.Time // latest delivery, for subjects that keep their order
	ports  []*simPort
	due    simQueue
	count  uint64
	replay float64 // probability, for each payload, that a recorded one is repeated
	record []simRecord
}

// simFaults has the probabilities of faults, for each payload.
type simFaults struct {
	lost    float64
	doubled float64
	slow    float64       // delayed by up to delay, so that others overtake it
	delay   time.Duration // maximum delay
}

// simRecord is a published payload.
type simRecord struct {
	subject string
	payload simPayload
}

type simStream struct {
	from, to *simPort
	kind     string
}

// simPort is the transport of one incarnation of a pod.
type simPort struct {
	net   *simNet
	pod   int // the same for all incarnations of a pod
	order int // index among all ports

	// net.mu guards the fields below.
	subs       []*simSub
	dead       bool
	unplugged  bool
	subscribed int           // number of all subscriptions so far
	paused     chan struct{} // closed when the process continues; nil if it runs
	queue      []simDelivery
	wake       chan struct{}
}

type simSub struct {
	subject string
	take    func(payload []byte)
	ended   bool
}

// simPayload is a published payload.
type simPayload struct {
	from    *simPort
	sent    time.Time
	message message.Message // nil if it is neither of those that hear is called with, nor asked for by drop
	bytes   []byte

	repeated bool // by an outsider
}

type simDelivery struct {
	at      time.Time
	number  uint64
	port    *simPort
	sub     *simSub
	payload *simPayload
}

var errSimDead = errors.New("the pod is dead")

func newSimNet(seed uint64) *simNet {
	n := &simNet{
		seed:  seed,
		wake:  make(chan struct{}, 1),
		done:  make(chan struct{}),
		codec: message.NewCodec(""),
		cut:   make(map[[2]int]bool),
		sent:  make(map[simStream]uint64),
		last:  make(map[[2]*simPort]time.Time),
	}
	go n.run()
	return n
}

func (n *simNet) close() { close(n.done) }

// port returns the transport of a new incarnation of the pod.
func (n *simNet) port(pod int) *simPort {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := &simPort{net: n, pod: pod, order: len(n.ports), wake: make(chan struct{}, 1)}
	n.ports = append(n.ports, p)
	go p.run()
	return p
}

// Publish implements transport. It blocks while the process is paused.
func (p *simPort) Publish(subject string, payload []byte) error {
	n := p.net
	p.running()
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case p.dead:
		return errSimDead
	case p.unplugged:
		return bus.ErrDisconnected
	}
	now := time.Now()
	sent := &simPayload{from: p, sent: now, message: n.decode(subject, payload), bytes: payload}
	for _, to := range n.ports {
		for _, sub := range to.subs {
			if !to.dead && !to.unplugged && sub.subject == subject {
				n.route(now, p, to, sub, sent)
			}
		}
	}
	if n.replay > 0 {
		repeated := *sent
		repeated.repeated, repeated.bytes = true, slices.Clone(payload)
		n.republish(now, subject, repeated)
	}
	return nil
}

// decode decodes heartbeats and goodbyes, and with drop all payloads.
func (n *simNet) decode(subject string, payload []byte) message.Message {
	if kind := subjectKind(subject); n.drop == nil && kind != "all" && kind != "pod" {
		return nil
	}
	_, m, err := n.codec.Decode(subject, payload)
	if err != nil {
		return nil
	}
	return m
}

// subjectKind returns the part of a subject that says what it is for.
func subjectKind(subject string) string { return strings.SplitN(subject, ".", 3)[1] }

// republish records a payload, and sends a recorded one of any pod to all, regardless of cuts and
// faults.
func (n *simNet) republish(now time.Time, subject string, payload simPayload) {
	n.record = append(n.record, simRecord{subject, payload})
	draw := simDraw{n.seed ^ uint64(len(n.record))<<20}
	if draw.float() >= n.replay {
		return
	}
	r := n.record[int(draw.float()*float64(len(n.record)))]
	for _, to := range n.ports {
		for _, sub := range to.subs {
			if !to.dead && !to.unplugged && sub.subject == r.subject {
				n.deliver(now.Add(time.Duration(draw.float()*float64(time.Second))), to, sub, &r.payload)
			}
		}
	}
}

// route decides what happens to a payload.
func (n *simNet) route(now time.Time, from, to *simPort, sub *simSub, payload *simPayload) {
	if from == to {
		n.deliver(now.Add(50*time.Microsecond), to, sub, payload)
		return
	}
	stream := simStream{from, to, subjectKind(sub.subject)}
	n.sent[stream]++
	draw := simDraw{n.seed ^ uint64(from.order)<<48 ^ uint64(to.order)<<32 ^ uint64(stream.kind[0])<<24 ^ n.sent[stream]}
	lost, doubled, slow := draw.float(), draw.float(), draw.float()
	if n.cut[[2]int{from.pod, to.pod}] || lost < n.faults.lost || n.drop != nil && n.drop(from, to, payload.message) {
		return
	}
	at := now.Add(200*time.Microsecond + time.Duration(draw.float()*float64(800*time.Microsecond)))
	switch pair := [2]*simPort{from, to}; {
	case slow < n.faults.slow:
		at = at.Add(time.Duration(draw.float() * float64(n.faults.delay)))
	case at.Before(n.last[pair]):
		at = n.last[pair].Add(1)
		fallthrough
	default:
		n.last[pair] = at
	}
	n.deliver(at, to, sub, payload)
	if doubled < n.faults.doubled {
		n.deliver(at.Add(time.Duration(draw.float()*float64(n.faults.delay))), to, sub, payload)
	}
}

func (n *simNet) deliver(at time.Time, to *simPort, sub *simSub, payload *simPayload) {
	n.count++
	heap.Push(&n.due, simDelivery{at, n.count, to, sub, payload})
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// Subscribe implements transport.
func (p *simPort) Subscribe(subject string, take func(payload []byte)) (cancel func(), err error) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if p.dead {
		return nil, errSimDead
	}
	sub := &simSub{subject: subject, take: take}
	p.subs = append(p.subs, sub)
	p.subscribed++
	return func() {
		p.net.mu.Lock()
		defer p.net.mu.Unlock()
		sub.ended = true
		for i, s := range p.subs {
			if s == sub {
				p.subs = append(p.subs[:i:i], p.subs[i+1:]...)
				break
			}
		}
	}, nil
}

// run delivers payloads to the ports when they are due.
func (n *simNet) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		n.mu.Lock()
		now, wait := time.Now(), time.Hour
		for len(n.due) > 0 && wait > 0 {
			if wait = n.due[0].at.Sub(now); wait <= 0 {
				d := heap.Pop(&n.due).(simDelivery)
				d.port.queue = append(d.port.queue, d)
				d.port.wakeUp()
				wait = time.Hour
			} else {
				break
			}
		}
		n.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-n.done:
			return
		case <-n.wake:
		case <-timer.C:
		}
	}
}

func (p *simPort) wakeUp() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run passes payloads to the pod, one after the other.
func (p *simPort) run() {
	for {
		p.running()
		p.net.mu.Lock()
		queue := p.queue
		p.queue = nil
		p.net.mu.Unlock()
		for _, d := range queue {
			p.running()
			p.net.mu.Lock()
			gone := p.dead || d.sub.ended
			p.net.mu.Unlock()
			if gone {
				continue
			}
			switch d.payload.message.(type) {
			case *message.Heartbeat, *message.Goodbye:
				p.net.hear(p, d.payload)
			}
			d.sub.take(d.payload.bytes)
		}
		if len(queue) > 0 {
			continue
		}
		select {
		case <-p.net.done:
			return
		case <-p.wake:
		}
	}
}

// running waits while the process is paused.
func (p *simPort) running() {
	p.net.mu.Lock()
	paused := p.paused
	p.net.mu.Unlock()
	if paused != nil {
		<-paused
	}
}

func (p *simPort) pause() {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	p.paused = make(chan struct{})
}

func (p *simPort) resume() {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	close(p.paused)
	p.paused = nil
}

// kill cuts the pod off for good, without a goodbye.
func (p *simPort) kill() {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	p.dead, p.subs = true, nil
}

func (p *simPort) isDead() bool {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	return p.dead
}

// setUnplugged takes the network away from the pod, or gives it back.
func (p *simPort) setUnplugged(unplugged bool) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	p.unplugged = unplugged
}

func (n *simNet) setFaults(f simFaults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
}

// setReplay sets how likely recorded payloads are repeated.
func (n *simNet) setReplay(likely float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.replay = likely
}

// setCut cuts the way from one pod to another, or restores it.
func (n *simNet) setCut(from, to int, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[[2]int{from, to}] = cut
}

func (n *simNet) isCut(from, to int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[[2]int{from, to}]
}

// simQueue is a heap of deliveries by time.
type simQueue []simDelivery

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, j int) bool {
	if q[i].at.Equal(q[j].at) {
		return q[i].number < q[j].number
	}
	return q[i].at.Before(q[j].at)
}
func (q simQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(x any)   { *q = append(*q, x.(simDelivery)) }
func (q *simQueue) Pop() any {
	old := *q
	d := old[len(old)-1]
	*q = old[:len(old)-1]
	return d
}

// simDraw is a sequence of random numbers that is cheap to start (splitmix64).
type simDraw struct{ state uint64 }

func (d *simDraw) float() float64 {
	d.state += 0x9e3779b97f4a7c15
	z := d.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return float64(z>>11) / (1 << 53)
}
