package link

import (
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// JoinFor is how long posts to a pod are collected for one payload, after one that was sent to it.
const JoinFor = 5 * time.Millisecond

const (
	joinAbove = 20       // posts of a pod in JoinFor; so many or fewer are sent at once
	maxJoined = 64 << 10 // bytes that wait for a pod; they are sent before more are collected
	maxPost   = 4 << 10  // bytes of a message that waits; larger ones are sent at once
)

// posts has a lane for each pod to which something was posted in the last JoinFor, if that were many.
type posts struct {
	mu     sync.Mutex
	lanes  map[Peer]*lane // guarded by mu
	ended  bool           // nothing waits any more; guarded by mu
	above  int            // joinAbove, or less in tests
	began  time.Time      // of the JoinFor in which posts are counted; guarded by mu
	n      int            // posts since began; guarded by mu
	before int            // posts in the JoinFor before; guarded by mu
}

// countLocked counts a post, and reports whether there are so many that they are joined.
func (p *posts) countLocked() bool {
	now := time.Now()
	if passed := now.Sub(p.began); passed >= JoinFor {
		p.began, p.before = now, p.n
		if p.n = 0; passed >= 2*JoinFor {
			p.before = 0
		}
	}
	p.n++
	return !p.ended && max(p.n, p.before) > p.above
}

// lane is what waits for a pod: n messages. Its timer sends them.
type lane struct {
	bodies []byte
	n      int
	timer  *time.Timer
}

// Post sends a query or a reply to pods, which all subscribe to the subject. While this pod posts much,
// what it posts to a pod in JoinFor is joined: the first is sent at once, and the others wait and go to
// its inbox in one payload. While it posts little, nothing waits: an answer takes less than JoinFor, so
// whoever asks one question after the other would get far fewer answers.
func (l *Link) Post(subject string, to []Peer, m message.Message) {
	var body []byte
	var idle []Peer
	full := make(map[Peer]lane)
	l.posts.mu.Lock()
	if !l.posts.countLocked() {
		l.posts.mu.Unlock()
		l.Send(subject, m)
		return
	}
	for _, p := range to {
		w := l.posts.lanes[p]
		if w == nil {
			l.openLocked(p)
			idle = append(idle, p)
			continue
		}
		if body == nil {
			var err error
			if body, err = l.codec.AppendBody(nil, m); err != nil || len(body) > maxPost {
				idle = to
				break
			}
		}
		if len(w.bodies)+len(body) > maxJoined {
			full[p] = w.take()
		}
		w.bodies = append(w.bodies, body...)
		w.n++
	}
	l.posts.mu.Unlock()
	for p, w := range full {
		l.sendJoined(p, w)
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
	l.posts.lanes[p] = &lane{timer: time.AfterFunc(JoinFor, func() { l.pass(p) })}
}

// pass sends what waits for the pod, and ends its lane if nothing does.
func (l *Link) pass(p Peer) {
	l.posts.mu.Lock()
	w := l.posts.lanes[p]
	if w == nil || w.n == 0 {
		delete(l.posts.lanes, p)
		l.posts.mu.Unlock()
		return
	}
	sent := w.take()
	w.timer.Reset(JoinFor)
	l.posts.mu.Unlock()
	l.sendJoined(p, sent)
}

// take returns what waits, and empties the lane.
func (w *lane) take() lane {
	taken := *w
	w.bodies, w.n = make([]byte, 0, len(taken.bodies)), 0
	return taken
}

func (l *Link) sendJoined(p Peer, w lane) {
	subject := l.Inbox(p)
	l.publish(subject, func(from message.Sender) ([]byte, error) {
		return l.codec.AppendJoined(nil, subject, from, w.bodies, w.n)
	})
}

// EndPosts sends what waits. From now on, nothing waits.
func (l *Link) EndPosts() {
	l.posts.mu.Lock()
	lanes := l.posts.lanes
	l.posts.lanes, l.posts.ended = nil, true
	l.posts.mu.Unlock()
	for p, w := range lanes {
		if w.n > 0 {
			l.sendJoined(p, *w)
		}
	}
}
