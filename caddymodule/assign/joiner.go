package assign

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// Joiner joins connections to the channels that their users are assigned to, and removes them from
// others. Because a join can call plugins, each host with work has its own goroutine. Neither
// readers of sockets nor API requests wait for it, and a slow plugin delays no other host.
type Joiner struct {
	registry *presence.Registry
	book     *assignment.Book
	greeted  func(*presence.Conn) bool
	logger   *zap.Logger

	mu    sync.Mutex
	hosts map[presence.HostName]*hostQueue // hosts with work; guarded by mu
}

// hostQueue is the work for the connections of a host. Joiner.mu guards it.
type hostQueue struct {
	order []*presence.Conn
	todo  map[*presence.Conn]*todo
}

// todo is the channels to check for a connection: all that its user is assigned to, or the given
// ones.
type todo struct {
	all      bool
	channels map[string]bool
	tries    int // failed tries because of a plugin
}

// manyChannels is how many channels of a connection are kept one by one.
const manyChannels = 256

// After a failure of a plugin, a join is retried after 1, 2, 4 s and so on, up to 64 s.
const (
	joinRetry = time.Second
	maxTries  = 6 // doublings of the pause
)

func newJoiner(registry *presence.Registry, greeted func(*presence.Conn) bool, logger *zap.Logger) *Joiner {
	return &Joiner{registry: registry, greeted: greeted, logger: logger, hosts: make(map[presence.HostName]*hostQueue)}
}

// applyChange is called by the book after assignments of a user have changed.
func (a *Joiner) applyChange(host presence.HostName, user string, channels []string) {
	h := a.registry.Host(host)
	if h == nil {
		return
	}
	for _, c := range h.UserConns(user) {
		a.leave(c, channels) // at once: messages that were for the backend alone would reach all listeners
		a.schedule(c, channels, 0)
	}
}

// JoinAssigned joins a connection to the channels that its user is assigned to. It does not block.
func (a *Joiner) JoinAssigned(c *presence.Conn) {
	user, ok := c.User()
	if ok && len(a.book.Of(c.Host(), user.ID)) > 0 {
		a.schedule(c, nil, 0)
	}
}

// Recheck checks all connections of a host again after its channels were classified: an assignment
// to a channel that was not authenticated may have an effect now.
func (a *Joiner) Recheck(h *presence.Host) {
	if a.book.Len() == 0 {
		return
	}
	for _, c := range h.LoggedInConns() {
		a.JoinAssigned(c)
	}
}

// LeaveUnassigned removes a connection that has changed its user from the channels that only the
// previous user was assigned to. JoinAssigned joins it to the others.
func (a *Joiner) LeaveUnassigned(c *presence.Conn) { a.leave(c, c.Assigned()) }

// leave removes the connection from the given channels, except those that its user is assigned to.
func (a *Joiner) leave(c *presence.Conn, channels []string) {
	user, _ := c.User()
	for _, channel := range channels {
		if a.book.Mode(c.Host(), user.ID, channel) == assignment.None {
			c.Unassign(channel)
		}
	}
}

// schedule queues a check of the channels for the connection, or of all assigned channels if
// channels is empty. It does not block. Without a welcome, the connection is skipped: JoinAssigned
// is called right after the welcome.
func (a *Joiner) schedule(c *presence.Conn, channels []string, tries int) {
	if !a.greeted(c) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.hosts[c.Host()]
	if h == nil {
		h = &hostQueue{todo: make(map[*presence.Conn]*todo)}
		a.hosts[c.Host()] = h
		go a.run(c.Host(), h) // ends when the queue is empty
	}
	t := h.todo[c]
	if t == nil {
		t = &todo{tries: tries, channels: make(map[string]bool)}
		h.todo[c] = t
		h.order = append(h.order, c)
	}
	t.tries = min(t.tries, tries)
	for _, channel := range channels {
		t.channels[channel] = true
	}
	if len(channels) == 0 || len(t.channels) > manyChannels {
		t.all = true
	}
}

func (a *Joiner) run(name presence.HostName, h *hostQueue) {
	for {
		c, t := a.next(name, h)
		if c == nil {
			return
		}
		a.update(c, t)
	}
}

// next returns the next connection and its work. If there is none, it returns nil and ends the
// host's goroutine.
func (a *Joiner) next(name presence.HostName, h *hostQueue) (*presence.Conn, *todo) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(h.order) == 0 {
		delete(a.hosts, name)
		return nil, nil
	}
	c := h.order[0]
	h.order[0] = nil // so that a closed connection can be freed
	h.order = h.order[1:]
	t := h.todo[c]
	delete(h.todo, c)
	return c, t
}

// update makes the channels of a connection match the book. A panic affects only this connection.
func (a *Joiner) update(c *presence.Conn, t *todo) {
	defer func() {
		if v := recover(); v != nil {
			a.logger.Error("panic in an assignment", zap.Stringer("host", c.Host()),
				zap.Stringer("connection", c.ID()), zap.Any("panic", v), zap.Stack("stack"))
		}
	}()
	user, ok := c.User()
	if !ok {
		return
	}
	channels := slices.Sorted(maps.Keys(t.channels))
	if t.all {
		a.leave(c, c.Assigned())
		channels = channels[:0]
		for _, assigned := range a.book.Of(c.Host(), user.ID) {
			channels = append(channels, assigned.Channel)
		}
	}
	var failed []string
	for _, channel := range channels {
		if a.book.Mode(c.Host(), user.ID, channel) == assignment.None {
			c.Unassign(channel)
			continue
		}
		// After any other refusal, the user stays out until something changes.
		if err := c.Assign(user.ID, channel); errors.Is(err, presence.ErrUnavailable) {
			failed = append(failed, channel)
		}
	}
	if len(failed) > 0 {
		time.AfterFunc(joinRetry<<t.tries, func() { a.schedule(c, failed, min(t.tries+1, maxTries)) })
	}
}
