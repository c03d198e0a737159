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

// Joiner joins connections to the channels that their users are assigned to, and takes them out. Joining can ask
// plugins, so it is done by a goroutine of each host that has something to do: whoever reads a socket or answers a request
// does not wait, and a host with a slow plugin holds up nobody else.
type Joiner struct {
	registry *presence.Registry
	book     *assignment.Book
	greeted  func(*presence.Conn) bool
	logger   *zap.Logger

	mu    sync.Mutex
	hosts map[presence.HostName]*hostQueue // those that have something to do; guarded by mu
}

// hostQueue is what is to be done for the connections of a host. The assigner's lock guards it.
type hostQueue struct {
	order []*presence.Conn
	todo  map[*presence.Conn]*todo
}

// todo is what is to be looked at for a connection: all that its user is assigned to, or these channels.
type todo struct {
	all      bool
	channels map[string]bool
	tries    int // that were in vain because of a plugin
}

// manyChannels is how many channels are noted for a connection one by one.
const manyChannels = 256

// A join that a plugin could not decide is tried again after a second, then two, and so on up to about a minute.
const (
	joinRetry = time.Second
	maxTries  = 6 // doublings of the pause
)

func newJoiner(registry *presence.Registry, greeted func(*presence.Conn) bool, logger *zap.Logger) *Joiner {
	return &Joiner{registry: registry, greeted: greeted, logger: logger, hosts: make(map[presence.HostName]*hostQueue)}
}

// applyChange is told by the book what applyChange of a user.
func (a *Joiner) applyChange(host presence.HostName, user string, channels []string) {
	h := a.registry.Host(host)
	if h == nil {
		return
	}
	for _, c := range h.UserConns(user) {
		a.leave(c, channels) // at once: until then what was for the backend alone would go to all who listen
		a.schedule(c, channels, 0)
	}
}

// JoinAssigned joins a connection that has its user now to the channels of that user.
func (a *Joiner) JoinAssigned(c *presence.Conn) {
	user, ok := c.User()
	if ok && len(a.book.Of(c.Host(), user.ID)) > 0 {
		a.schedule(c, nil, 0)
	}
}

// Recheck looks at all connections of a host again, whose channels may have another kind now: an assignment without
// effect may have one.
func (a *Joiner) Recheck(h *presence.Host) {
	if a.book.Len() == 0 {
		return
	}
	for _, c := range h.LoggedInConns() {
		a.JoinAssigned(c)
	}
}

// LeaveUnassigned takes the connection out of the channels that its user before was assigned to, and this one is not. It is
// joined to others by arrived.
func (a *Joiner) LeaveUnassigned(c *presence.Conn) { a.leave(c, c.Assigned()) }

// leave takes the connection out of those of the channels that its user is not assigned to.
func (a *Joiner) leave(c *presence.Conn, channels []string) {
	user, _ := c.User()
	for _, channel := range channels {
		if a.book.Mode(c.Host(), user.ID, channel) == assignment.None {
			c.Unassign(channel)
		}
	}
}

// schedule has the channels looked at for the connection, all that its user is assigned to if there are none. It does not
// block. One that is not greeted yet is left alone: it arrives right after that.
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
		go a.run(c.Host(), h) // ends when there is nothing to do
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

// next returns what is to be done, nil when there is nothing, and then the host no longer has a goroutine.
func (a *Joiner) next(name presence.HostName, h *hostQueue) (*presence.Conn, *todo) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(h.order) == 0 {
		delete(a.hosts, name)
		return nil, nil
	}
	c := h.order[0]
	h.order[0] = nil // the connection may end long before the queue does
	h.order = h.order[1:]
	t := h.todo[c]
	delete(h.todo, c)
	return c, t
}

// update makes what the connection listens to fit what the book has now. A panic stays with the connection.
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
		// Who is refused for another reason stays out until something changes.
		if err := c.Assign(user.ID, channel); errors.Is(err, presence.ErrUnavailable) {
			failed = append(failed, channel)
		}
	}
	if len(failed) > 0 {
		time.AfterFunc(joinRetry<<t.tries, func() { a.schedule(c, failed, min(t.tries+1, maxTries)) })
	}
}
