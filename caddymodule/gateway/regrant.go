package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// ForgetGrants drops the kept answers of backends about users of a host. Questions under way are
// asked again. Memberships stay.
func (h *Hub) ForgetGrants(host presence.HostName, users []string) { h.Asker.Forget(host, users) }

const (
	// maxRegrants is how many sessions of a host ask again at a time after a reload. It leaves room
	// for joins.
	maxRegrants = 16

	// Pauses after a round of questions that were not all answered.
	regrantPause    = time.Second
	maxRegrantPause = 30 * time.Second
)

// askAgain asks the backend again about all memberships of a host that rest on its answers, after
// the rules of the host or classes have changed. It does not block. The memberships stay until they
// are answered.
func (h *Hub) askAgain(host *presence.Host) {
	h.mu.Lock()
	t := h.tenants[host.Name()]
	h.mu.Unlock()
	if t == nil {
		return
	}
	call := t.asked.Add(1) // before looking, so that the last call sees what those that it ends have seen
	var waiting []*Session
	for _, c := range host.LoggedInConns() {
		s, ok := c.Outbox().(*Session)
		if !ok || !s.greeted.Load() { // without a welcome, it has joined nothing
			continue
		}
		if s.tenant.site().Authorize == nil {
			return
		}
		if len(s.conn.Asked()) > 0 {
			waiting = append(waiting, s)
		}
	}
	if len(waiting) > 0 {
		go regrant(waiting, t, call) // ends when all are answered or closed, or with the next call
	}
}

// regrant asks for sessions of a tenant until each is answered.
func regrant(waiting []*Session, t *tenant, call int64) {
	for pause := regrantPause; ; pause = min(2*pause, maxRegrantPause) {
		waiting = regrantRound(waiting, func() bool { return t.asked.Load() == call })
		if len(waiting) == 0 {
			return
		}
		time.Sleep(pause)
	}
}

// regrantRound asks once for each session while it goes on, and returns those that have no answer.
func regrantRound(waiting []*Session, goesOn func() bool) (left []*Session) {
	var (
		mu    sync.Mutex
		all   sync.WaitGroup
		slots = make(chan struct{}, maxRegrants)
	)
	for _, s := range waiting {
		slots <- struct{}{}
		all.Go(func() { // ends with the timeouts of the questions
			defer func() { <-slots }()
			defer s.recoverPanic()
			if goesOn() && !s.regrant() {
				mu.Lock()
				defer mu.Unlock()
				left = append(left, s)
			}
		})
	}
	all.Wait()
	return left
}

// regrant asks about all channels whose grants are from the backend, and applies the answers. It
// returns false if there is one without an answer.
func (s *Session) regrant() bool {
	answered := true
	for _, channel := range s.conn.Asked() {
		of := s.tenant.site()
		user, ok := s.conn.User()
		if of.Authorize == nil || !ok {
			return true
		}
		if s.ask(context.Background(), user.ID, channel) != nil {
			answered = false
			continue
		}
		now, _ := s.conn.User()
		a, ok := s.hub.Asker.Kept(of.Authorize, s.question(now, channel))
		if !ok { // forgotten since
			answered = false
			continue
		}
		if s.conn.SetAsked(user.ID, channel, a.Permissions()) {
			s.setEnd(channel, a.Until, of.Authorize.Timeout)
		}
	}
	return answered
}
