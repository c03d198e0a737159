package presence

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// User is who a connection is logged in as. Email is the latest one seen for that ID on the host, "" when none was.
type User struct {
	ID    string
	Email string
}

// Outbox is where the frames for one connection go.
type Outbox interface {
	// Push takes a frame that may be shared with other connections and must not be changed. It never blocks:
	// a connection that is too slow is the Outbox's business. It is called with the host's lock held, so it must not
	// call back into this package.
	Push(frame []byte)
	// Queue takes whole frames, n of them in one piece, like Push, but leaves it to Flush to have them written. It
	// tells whether the caller owes that: if not, somebody else does already.
	Queue(frames []byte, n int) (flush bool)
	// Flush has what is queued written, as far as that goes without waiting. It is called without any lock.
	Flush()
}

// Encoder turns what connections are told into frames, of which each is built once and pushed to many, and what is listed
// into text. It is called with the lock of a host held.
type Encoder interface {
	// Members encodes the members of a snapshot, to be put into Joined frames.
	Members(users []User) []byte
	// Joined answers a join.
	Joined(j Joined) []byte
	// Left answers a leave, or tells that the connection was taken out of a channel for a reason.
	Left(ref, channel, reason string) []byte
	// Presence tells what changed in a channel.
	Presence(d Diff) []byte
	// Message is a message to a channel. The message is JSON, and not kept.
	Message(channel string, from Source, message []byte) []byte
	// AppendUser appends a user to a list for [Encoded]. The first one of a piece is not separated from what is before.
	AppendUser(b []byte, u *User, first bool) []byte
	// AppendPrivate appends the private channel of a connection likewise. The user is nil for an anonymous one.
	AppendPrivate(b []byte, id ID, u *User, first bool) []byte
}

// Rules is what a site's configuration says about presence. A Rules is never changed, only replaced.
type Rules struct {
	Classifier  Classifier // default Patterns{}
	Authorizer  Authorizer // default nil: whoever the class lets in
	MaxConns    int        // connections on the host; default 0, no bound
	MaxChannels int        // channels a connection, its private one left out; default 0, no bound
	// MaxHostChannels is the most channels of the host that are active at once on this pod, private ones left out. Those
	// that are active when it is lowered stay. Default 0, no bound.
	MaxHostChannels int
	MaxName         int // bytes of a channel name; default 0, no bound
	// Grace is how long watchers go on seeing a user whose last connection was lost, or an anonymous connection; who is back
	// by then has never been away. Listings are without it. Default 0, none.
	Grace time.Duration
}

// Registry holds the hosts that have connections. It is safe for concurrent use.
type Registry struct {
	encoder Encoder
	epoch   time.Time     // see now
	clock   atomic.Uint64 // of the last Delta
	kept    atomic.Int64  // bytes of the listings that hosts keep, see maxKept

	// relaying is held while hosts are told of another relay. It is taken before mu.
	relaying sync.Mutex
	endings  endings

	// mu guards the rest. It is taken before a Host's own lock, never after.
	mu    sync.Mutex
	relay Relay
	hosts map[HostName]*Host
}

// NewRegistry returns an empty registry whose connections are told things in the encoder's words.
func NewRegistry(encoder Encoder) *Registry {
	r := &Registry{encoder: encoder, epoch: time.Now(), hosts: make(map[HostName]*Host)}
	r.clock.Store(1) // 0 means that nothing is known
	return r
}

// Connect adds a connection to the named host, which comes into being with its first one and then has the given
// rules; a host that is there keeps the rules it has. A nil user connects anonymously.
//
// It returns [ErrTooManyConns] when the host is full. The caller closes the Conn.
func (r *Registry) Connect(name HostName, rules *Rules, user *User, out Outbox) (*Conn, error) {
	for {
		r.mu.Lock()
		h := r.hosts[name]
		if h == nil {
			h = newHost(r, name, rules)
			r.hosts[name] = h
			if r.relay != nil {
				r.relay.Opened(name)
			}
		}
		r.mu.Unlock()
		// A busy host's lock is waited for without the registry's, so that others do not wait too.
		c, err := h.connect(user, out)
		if !errors.Is(err, errDropped) {
			return c, err
		}
	}
}

// Host returns the named host, or nil when it has no connection.
func (r *Registry) Host(name HostName) *Host {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hosts[name]
}

// Len returns how many hosts have a connection now.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.hosts)
}

// Hosts returns the hosts that have a connection now, ordered by name.
func (r *Registry) Hosts() []*Host {
	r.mu.Lock()
	hosts := make([]*Host, 0, len(r.hosts))
	for _, h := range r.hosts {
		hosts = append(hosts, h)
	}
	r.mu.Unlock()
	slices.SortFunc(hosts, func(a, b *Host) int { return strings.Compare(a.name.name, b.name.name) })
	return hosts
}

// drop forgets a host that has lost its last connection, unless another came meanwhile.
func (r *Registry) drop(h *Host) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.conns) == 0 && r.hosts[h.name] == h {
		delete(r.hosts, h.name)
		h.unkeep()
		h.dropped = true
		if r.relay != nil {
			r.relay.Closed(h.name)
		}
	}
}
