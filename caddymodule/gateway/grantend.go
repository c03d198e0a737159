package gateway

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// grantEnd is the end of a grant that the backend has given for a time.
type grantEnd struct {
	until  time.Time
	timer  *time.Timer        // calls renew, then expire
	cancel context.CancelFunc // ends a question; nil while there is none
}

func (e *grantEnd) stop() {
	e.timer.Stop()
	if e.cancel != nil {
		e.cancel()
	}
}

// watchGrant schedules the renewal of the grant by which s has joined a channel, if the grant is
// from the backend and has an end. A login that came since may cover the grant, but not for ever.
func (s *Session) watchGrant(channel string) {
	to := s.tenant.site().Authorize
	if to == nil || !s.conn.HasAsked(channel) {
		return
	}
	user, _ := s.conn.User()
	a, ok := s.hub.Asker.Kept(to, s.question(user, channel))
	if !ok { // it has just ended, or was forgotten
		a.Until = time.Now().Add(3 * to.Timeout)
	}
	s.setEnd(channel, a.Until, to.Timeout)
}

// setEnd replaces the end of the grant for a channel. A zero time is none.
func (s *Session) setEnd(channel string, until time.Time, timeout time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || until.IsZero() && s.asking == nil {
		return
	}
	a := s.askingLocked()
	if old := a.ends[channel]; old != nil {
		old.stop()
		delete(a.ends, channel)
	}
	if until.IsZero() {
		return
	}
	e := &grantEnd{until: until}
	e.timer = time.AfterFunc(renewAfter(time.Until(until), timeout), func() { s.renew(channel, e) }) // stopped by stop
	a.ends[channel] = e
}

// renewAfter returns when to ask again about a grant that ends after the duration: at a random time
// in its last third, so that connections that joined together do not ask together, and early enough
// for an answer.
func renewAfter(d, timeout time.Duration) time.Duration {
	third := d / 3
	return max(d-third, 0) + rand.N(max(third-timeout, 0)+1)
}

// dropEnd forgets the end of the grant for a channel that was left.
func (s *Session) dropEnd(channel string) { s.setEnd(channel, time.Time{}, 0) }

// renew asks once more about a grant, and applies the answer. Without an answer, the grant ends at
// its end.
func (s *Session) renew(channel string, e *grantEnd) {
	defer s.recoverPanic()
	to := s.tenant.site().Authorize
	ctx, ok := s.startRenewal(channel, e)
	if !ok {
		return
	}
	defer e.cancel()
	user, loggedIn := s.conn.User()
	if to == nil || !loggedIn || !s.isAsked(channel) {
		s.expireLater(channel, e, user.ID) // another grant is left, which may end first
		return
	}
	q := s.question(user, channel)
	a, known := s.hub.Asker.Kept(to, q)
	if known && a.Allow && !a.Until.IsZero() && !a.Until.After(e.until) {
		known = false // the answer that the grant is from
	}
	if !known {
		if _, err := s.hub.Asker.AskAgain(ctx, to, q); err != nil {
			s.expireLater(channel, e, user.ID)
			return
		}
	}
	if !s.endIs(channel, e, func() {
		if a, known = s.hub.Asker.Kept(to, q); known {
			delete(s.asking.ends, channel)
		}
	}) {
		return
	}
	if !known { // forgotten since
		s.expireLater(channel, e, user.ID)
		return
	}
	if s.conn.SetAsked(user.ID, channel, a.Permissions()) && a.Allow {
		s.setEnd(channel, a.Until, to.Timeout)
	}
}

// startRenewal returns the context of the question about a grant that is still there.
func (s *Session) startRenewal(channel string, e *grantEnd) (ctx context.Context, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.asking.ends[channel] != e {
		return nil, false
	}
	ctx, e.cancel = context.WithDeadline(context.Background(), e.until)
	return ctx, true
}

// endIs calls f with the lock held if e is still the end of the grant. It reports whether it is.
func (s *Session) endIs(channel string, e *grantEnd, f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.asking.ends[channel] != e {
		return false
	}
	f()
	return true
}

// expireLater ends a grant at its end.
func (s *Session) expireLater(channel string, e *grantEnd, user string) {
	s.endIs(channel, e, func() {
		e.timer = time.AfterFunc(time.Until(e.until), func() { s.expire(channel, e, user) }) // stopped by stop
	})
}

// expire ends a grant that was not renewed.
func (s *Session) expire(channel string, e *grantEnd, user string) {
	defer s.recoverPanic()
	if s.endIs(channel, e, func() { delete(s.asking.ends, channel) }) {
		s.conn.SetAsked(user, channel, presence.Permissions(0))
	}
}

// watchGrants replaces the ends of all grants, after another user has logged in.
func (s *Session) watchGrants() {
	if s.tenant.site().Authorize == nil {
		return
	}
	s.mu.Lock()
	if s.asking != nil {
		for channel, e := range s.asking.ends {
			e.stop()
			delete(s.asking.ends, channel)
		}
	}
	s.mu.Unlock()
	for _, channel := range s.conn.Asked() {
		s.watchGrant(channel)
	}
}

// watchNewGrants schedules the end of grants after the same user has logged in again. Kept answers
// have taken over in channels that a token granted before. The ends of the others stay.
func (s *Session) watchNewGrants(before []string) {
	to := s.tenant.site().Authorize
	if to == nil {
		return
	}
	user, _ := s.conn.User()
	for _, channel := range s.conn.Asked() {
		if slices.Contains(before, channel) {
			continue
		}
		if a, ok := s.hub.Asker.Kept(to, s.question(user, channel)); ok {
			s.setEnd(channel, a.Until, to.Timeout)
		}
	}
}
