package e2e

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// tenant is a user, "" for an anonymous one, who stays connected to a pod.
type tenant struct {
	user, token string
	view        *cluster.View // nil if it does not watch
	pause       time.Duration // before it connects again

	// mu guards the fields below.
	mu     sync.Mutex
	at     *pod
	client *cluster.Client // nil while it is not in the room
	stay   *cluster.Stay   // of the client
	aways  []away
	lost   time.Time // when the connection ended
	left   bool      // it does not come back
}

func (s *stage) tenant(p *pod, user string, view *cluster.View) *tenant {
	m := &tenant{user: user, view: view, at: p, pause: 20 * time.Millisecond, lost: time.Now()}
	if user != "" {
		m.token = token(s.t, *userOf(user))
	}
	s.tenants = append(s.tenants, m)
	s.living.Go(func() { s.live(m) })
	return m
}

// live connects the tenant again and again, until the test ends.
func (s *stage) live(m *tenant) {
	for {
		c, stay := s.enter(m)
		if c != nil {
			select {
			case <-c.Ended:
			case <-s.stop:
				c.Cut()
				return
			}
			stay.Left()
			m.mu.Lock()
			m.client, m.lost = nil, time.Now()
			left := m.left
			m.mu.Unlock()
			if left {
				return
			}
		}
		select {
		case <-time.After(m.pause):
		case <-s.stop:
			return
		}
	}
}

// enter connects the tenant and has it join the room. It returns nil if that fails.
func (s *stage) enter(m *tenant) (*cluster.Client, *cluster.Stay) {
	m.mu.Lock()
	p := m.at
	m.mu.Unlock()
	stay := s.history.Arriving(p.Pod, m.user)
	c, err := cluster.Connect(p.door, m.token)
	if err == nil {
		stay.Arrived()
		switch {
		case m.view != nil:
			err = c.Watch(room, m.view)
		case m.user != "":
			err = c.Join(room)
		}
	}
	if err != nil {
		if c != nil {
			c.Cut()
		}
		stay.Left()
		return nil, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.client, m.stay = c, stay
	m.aways = append(m.aways, away{m.lost, time.Now()})
	return c, stay
}

// await waits until the tenant is in the room.
func (m *tenant) await(t *testing.T) {
	t.Helper()
	ws.Poll(t, ws.Patience, func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.client == nil {
			return fmt.Errorf("%q is not on %s", m.user, m.at.Pod)
		}
		return nil
	})
}

// move takes the tenant to another pod.
func (m *tenant) move(p *pod) {
	m.mu.Lock()
	m.at = p
	c, stay := m.client, m.stay
	m.mu.Unlock()
	if c != nil {
		stay.Leaving()
		c.Close()
	}
}

// leave takes the tenant away for good.
func (m *tenant) leave() {
	m.mu.Lock()
	m.left = true
	at := m.at
	m.mu.Unlock()
	m.move(at)
}

// on returns the tenants of a pod.
func (s *stage) on(p *pod) (list []*tenant) {
	for _, m := range s.tenants {
		m.mu.Lock()
		if m.at == p {
			list = append(list, m)
		}
		m.mu.Unlock()
	}
	return list
}

// leaving records that the connections of tenants are about to be closed.
func leaving(list []*tenant) {
	for _, m := range list {
		m.mu.Lock()
		if m.stay != nil {
			m.stay.Leaving()
		}
		m.mu.Unlock()
	}
}
