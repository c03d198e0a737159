package link

import (
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// JoinFor is how long posts to a pod are collected for one payload, after one that was sent to it.
const JoinFor = 5 * time.Millisecond

const (
	maxJoined = 64 << 10 // bytes that wait for a pod; they are sent before more are collected
	maxPost   = 4 << 10  // bytes of a message that waits; larger ones are sent at once
)

// posts has a lane for each pod to which something was posted in the last JoinFor.
type posts struct {
	mu    sync.Mutex
	lanes map[Peer]*lane // guarded by mu
	ended bool           // nothing waits any more; guarded by mu
}

// lane is what waits for a pod: n messages. Its timer sends them.
type lane struct {
	bodies []byte
	n      int
	timer  *time.Timer
}

// Post sends a query or a reply to pods, which all subscribe to the subject. A pod to which nothing
// was posted in the last JoinFor gets it at once, another one together with what else is posted to it
// in that time: so a message alone does not wait, and many short ones are few payloads. What waits,
// and what must not be sent to the others, goes to inboxes.
func (l *Link) Post(subject string, to []Peer, m message.Message) {
	var body []byte
	var idle []Peer
	full := make(map[Peer]lane)
	l.posts.mu.Lock()
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
	if l.posts.ended {
		return
	}
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
