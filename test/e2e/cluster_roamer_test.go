package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
)

// roamer is one client.
type roamer struct {
	user  string
	token string
	next  int           // where to connect, if it is ready
	step  int           // distance to the next pod, in pods
	view  *cluster.View // nil if it does not watch
}

// roam connects, joins the room, and comes back when the pod says so, until the test ends.
func (r *rolling) roam(m *roamer) {
	var left time.Time // when the pod was told to stop; zero at first
	for {
		at := r.balance(m.next)
		p := r.pods[at]
		stay := r.history.Arriving(p.Pod, m.user)
		c, err := cluster.Connect(p.door, m.token)
		if err != nil { // the pod is stopping
			stay.Left()
			if !r.wait(10 * time.Millisecond) {
				return
			}
			continue
		}
		stay.Arrived()
		if m.view != nil {
			err = c.Watch(room, m.view)
		} else {
			err = c.Join(room)
		}
		if err == nil {
			r.came(m.user, left)
			left = time.Time{}
		}
		select {
		case <-c.Ended:
		case <-r.stop:
			c.Cut()
			return
		}
		if err == nil {
			r.went()
		}
		stay.Left()
		after, err := comeBack(c.End)
		if err != nil {
			r.fail(fmt.Errorf("%s on %s: %w", m.user, p.Pod, err))
			return
		}
		if left.IsZero() {
			left = r.toldToEnd(at)
		}
		m.next = (at + m.step) % len(r.pods)
		if !r.wait(after) {
			return
		}
	}
}

// balance returns the pod, or the next one that is ready.
func (r *rolling) balance(want int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.ready[want] {
		want = (want + 1) % len(r.ready)
	}
	return want
}

// wait returns false when the test ends before the time is over.
func (r *rolling) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.stop:
		return false
	}
}

// comeBack returns when to come back after a connection has ended.
func comeBack(end error) (time.Duration, error) {
	var closed *websocket.CloseError
	if !errors.As(end, &closed) || closed.Code != websocket.CloseServiceRestart {
		return 0, fmt.Errorf("the connection ended with %w, want close code 1012", end)
	}
	var reason struct {
		AfterMS *int64 `json:"after_ms"`
	}
	if err := json.Unmarshal([]byte(closed.Text), &reason); err != nil || reason.AfterMS == nil {
		return 0, fmt.Errorf("the reason is %q, want after_ms", closed.Text)
	}
	return time.Duration(*reason.AfterMS) * time.Millisecond, nil
}

func (r *rolling) came(user string, left time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inside++
	if !left.IsZero() {
		r.aways[user] = append(r.aways[user], away{left, time.Now()})
	}
}

func (r *rolling) went() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inside--
}

func (r *rolling) toldToEnd(pod int) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopping[pod]
}
