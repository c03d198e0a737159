package presence

import (
	"slices"
	"time"
)

const (
	// showBatch is the maximum number of users that one call of a Shower is about.
	showBatch = 256
	// showStep is the number of decisions that are applied before the host's lock is released.
	showStep = 32
	// showAgain is the time after which a Shower is asked again about a user for which it failed.
	showAgain = 10 * time.Second
	// maxShowing is the number of hosts whose Shower is called at a time.
	maxShowing = 64
)

// showing has the users of a host about whom the Shower is to be asked. The host's lock guards it.
type showing struct {
	users   []*user // in order; see user.queued
	alone   []*user // users for whom a call has failed: each has a call of its own
	running bool    // a goroutine runs Host.runShower
	retries []showRetry
	timer   *time.Timer // for the first of retries; nil if there are none
}

// showRetry is a user about whom the Shower is asked again.
type showRetry struct {
	user  *user
	until time.Duration // see Registry.now
}

// queueUser asks the Shower about a user, soon.
func (h *Host) queueUser(u *user, alone bool) {
	if u.queued {
		return
	}
	u.queued = true
	if h.showing == nil {
		h.showing = new(showing)
	}
	s := h.showing
	if alone {
		s.alone = append(s.alone, u)
	} else {
		s.users = append(s.users, u)
	}
	if !s.running {
		s.running = true
		go h.runShower() // ends when no user is left
	}
}

// runShower asks the Shower about users, in batches, and applies its decisions.
func (h *Host) runShower() {
	for {
		shower, users, known := h.nextBatch()
		if len(users) == 0 {
			return
		}
		h.registry.showing <- struct{}{}
		shown := shower.Show(h.name, known)
		<-h.registry.showing
		alone := len(users) == 1
		for len(users) > 0 {
			n := min(showStep, len(users), len(shown))
			h.applyShown(shower.Version(), users[:n], known[:n], shown[:n], alone)
			users, known, shown = users[n:], known[n:], shown[n:]
		}
	}
}

// nextBatch returns the users of the next call. If there are none, runShower ends.
func (h *Host) nextBatch() (shower Shower, users []*user, known []User) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.showing
	shower = h.rules().Shower
	take := func(list *[]*user, most int) {
		for len(*list) > 0 && len(users) < most {
			u := (*list)[0]
			(*list)[0] = nil
			*list = (*list)[1:]
			u.queued = false
			if u.conns > 0 && shower != nil {
				users, known = append(users, u), append(known, u.known())
			}
		}
	}
	take(&s.users, showBatch)
	if len(users) == 0 {
		take(&s.alone, 1)
	}
	if len(users) == 0 {
		s.running, s.users, s.alone = false, nil, nil
	}
	return shower, users, known
}

// applyShown applies decisions of the Shower of a version. A user who has changed meanwhile, or for
// whom another version decides now, is in the queue again, and keeps what was shown before.
func (h *Host) applyShown(version string, users []*user, known []User, shown []Shown, alone bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rules := h.rules()
	if rules.Shower == nil {
		return
	}
	outdated := showerVersion(rules) != version
	for i, u := range users {
		if u.conns == 0 || u.queued {
			continue
		}
		if outdated || u.known() != known[i] {
			h.queueUser(u, alone)
			continue
		}
		s := shown[i]
		u.decided = !s.Failed
		if s.Failed {
			h.retryUser(u)
		}
		h.setShown(u, &s)
	}
	for _, u := range users {
		h.flushMembers(u)
	}
}

// retryUser asks the Shower again about a user, after showAgain.
func (h *Host) retryUser(u *user) {
	s := h.showing
	s.retries = append(s.retries, showRetry{u, h.registry.now() + showAgain})
	if s.timer == nil {
		s.timer = time.AfterFunc(showAgain, h.retryUsers)
	}
}

// retryUsers queues the users whose time has come.
func (h *Host) retryUsers() {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, now := h.showing, h.registry.now()
	for len(s.retries) > 0 && s.retries[0].until <= now {
		u := s.retries[0].user
		s.retries[0] = showRetry{}
		s.retries = s.retries[1:]
		if u.conns > 0 && !u.decided && h.rules().Shower != nil {
			h.queueUser(u, true)
		}
	}
	s.timer = nil
	if len(s.retries) > 0 {
		s.timer = time.AfterFunc(s.retries[0].until-now, h.retryUsers)
	} else {
		s.retries = nil
	}
}

// updateShower asks about all users again if the Shower has another version. Until its decisions
// are there, the users are shown as before.
func (h *Host) updateShower(rules *Rules) {
	version := showerVersion(rules)
	if version == h.shower {
		return
	}
	h.shower = version
	for _, u := range h.users {
		if u.decided { // otherwise the login can be shared
			u.decided = false
		}
	}
	again := h.online
	h.eachDescription(func(u *user) {
		u.decided = false
		again = append(slices.Clip(again), u)
	})
	if rules.Shower != nil {
		for _, u := range again {
			h.queueUser(u, false)
		}
		return
	}
	for _, u := range again {
		h.setShown(u, nil)
	}
	for _, ch := range h.channels {
		if len(ch.dirty) > 0 {
			h.scheduleFlush(ch)
		}
	}
}

func showerVersion(rules *Rules) string {
	if rules.Shower == nil {
		return ""
	}
	return rules.Shower.Version()
}
