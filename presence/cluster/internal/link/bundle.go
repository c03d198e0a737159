package link

import (
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// BundleWindow is how long messages for a pod are collected into a bundle.
const BundleWindow = 5 * time.Millisecond

const (
	bundleAbove = 20       // messages in a BundleWindow up to which each is sent at once
	maxBundle   = 64 << 10 // bytes that wait for a pod; a fuller bundle is sent early
	maxBundled  = 4 << 10  // bytes of a message that may wait; a larger one is sent at once
)

// bundles holds the messages that wait to be sent. It has an entry for each pod to which a message
// was sent in the last BundleWindow at a rate above the limit.
type bundles struct {
	mu       sync.Mutex
	waiting  map[Peer]*bundle // guarded by mu
	ended    bool             // messages no longer wait; guarded by mu
	above    int              // bundleAbove, or less in tests
	began    time.Time        // start of the BundleWindow in which messages are counted; guarded by mu
	count    int              // messages since began; guarded by mu
	previous int              // messages in the BundleWindow before; guarded by mu
}

// countLocked counts a message, and reports whether the rate is above the limit.
func (b *bundles) countLocked() bool {
	now := time.Now()
	if passed := now.Sub(b.began); passed >= BundleWindow {
		b.began, b.previous = now, b.count
		if b.count = 0; passed >= 2*BundleWindow {
			b.previous = 0
		}
	}
	b.count++
	return !b.ended && max(b.count, b.previous) > b.above
}

// bundle is n encoded messages that wait for a pod until the timer sends them.
type bundle struct {
	bodies []byte
	n      int
	timer  *time.Timer
}

// SendBundled sends a query or a reply to pods, all of which subscribe to the subject.
//
// While this pod sends few of them, each goes to the subject at once: a caller that asks one
// question after another would wait for BundleWindow each time. Above that rate, the first message
// for a pod goes to its inbox at once, and those of the following BundleWindow go there in one
// payload. Messages can overtake each other.
func (l *Link) SendBundled(subject string, to []Peer, m message.Message) {
	l.bundles.mu.Lock()
	if !l.bundles.countLocked() {
		l.bundles.mu.Unlock()
		l.Send(subject, m)
		return
	}
	var (
		body []byte
		idle []Peer // pods without an entry
		full = make(map[Peer]bundle)
	)
	for _, p := range to {
		b := l.bundles.waiting[p]
		if b == nil {
			l.openLocked(p)
			idle = append(idle, p)
			continue
		}
		if body == nil {
			var err error
			if body, err = l.codec.AppendBundled(nil, m); err != nil || len(body) > maxBundled {
				idle = to // Send logs the error
				break
			}
		}
		if len(b.bodies)+len(body) > maxBundle {
			full[p] = b.take()
		}
		b.bodies = append(b.bodies, body...)
		b.n++
	}
	l.bundles.mu.Unlock()
	for p, b := range full {
		l.sendBundle(p, b)
	}
	if len(idle) == len(to) {
		l.Send(subject, m)
		return
	}
	for _, p := range idle {
		l.Send(l.Inbox(p), m)
	}
}

func (l *Link) openLocked(p Peer) {
	l.bundles.waiting[p] = &bundle{timer: time.AfterFunc(BundleWindow, func() { l.flush(p) })}
}

// flush sends the messages that wait for the pod. If there are none, it removes the pod's entry.
func (l *Link) flush(p Peer) {
	l.bundles.mu.Lock()
	b := l.bundles.waiting[p]
	if b == nil || b.n == 0 {
		delete(l.bundles.waiting, p)
		l.bundles.mu.Unlock()
		return
	}
	taken := b.take()
	b.timer.Reset(BundleWindow)
	l.bundles.mu.Unlock()
	l.sendBundle(p, taken)
}

// take returns the messages that wait, and leaves the bundle empty.
func (b *bundle) take() bundle {
	taken := *b
	b.bodies, b.n = make([]byte, 0, len(taken.bodies)), 0
	return taken
}

func (l *Link) sendBundle(p Peer, b bundle) {
	subject := l.Inbox(p)
	l.publish(subject, func(from message.Sender) ([]byte, error) {
		return l.codec.AppendBundle(nil, subject, from, b.bodies, b.n)
	})
}

// EndBundles sends the messages that wait. Later messages are sent at once.
func (l *Link) EndBundles() {
	l.bundles.mu.Lock()
	waiting := l.bundles.waiting
	l.bundles.waiting, l.bundles.ended = nil, true
	l.bundles.mu.Unlock()
	for p, b := range waiting {
		if b.n > 0 {
			l.sendBundle(p, *b)
		}
	}
}
