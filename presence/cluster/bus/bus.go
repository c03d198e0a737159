// Package bus carries payloads between pods over NATS: a server inside of this process, which is
// joined to those of other pods by routes, or an external one. Both are used through one client
// connection, so that nothing above knows which it is.
//
// [Open] begins with a [Config] and returns a [Bus]: [Bus.Publish] hands a payload to the server,
// which hands it to all who subscribed to the subject, in this process and in others. Delivery is
// at most once. Payloads of one pod on one subject arrive in the order in which they were
// published; some of them, or all of a while, can be missing: when a link breaks, and when a taker
// is too slow. Whoever needs more than that numbers what it sends.
//
// Nothing but the port for routes is ever open. The server inside of this process takes no clients
// but this process, no leaf nodes, gateways, websockets, MQTT or monitoring, and keeps nothing on
// disk. What comes over the bus is not to be trusted for having come over it; the package message
// authenticates payloads.
package bus

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// Config says which NATS to use.
type Config struct {
	// Name is how this process shows in NATS: letters, digits, '.', '-' and '_'. It should be
	// unique in the deployment, but two processes with the same name are joined none the less, so
	// that those above can see each other and complain. Default: "rollcall".
	Name string

	// Listen is the address for routes of other pods, host and port; port 0 takes a free one, see
	// [State.Listen]. With it the server is inside of this process. Default: none; without URLs the
	// bus is then for this process alone and listens to nothing.
	Listen string
	// Routes are the addresses of other pods, host and port. Names are resolved anew at each try.
	// It is enough that each pod can reach one other this way, the rest they tell each other; after
	// a long partition only the listed ones are still tried, so that each data center should list
	// pods of the others. A name should be that of one pod: of a name with many addresses one is
	// taken, and none if it has no other address than that of this pod yet.
	Routes []string
	// Secret is what pods prove to each other before they form routes. A key that is derived from
	// it goes over the wire, as readable as the payloads when RouteTLS is not set. Default: none,
	// which needs RouteTLS.
	Secret string
	// RouteTLS encrypts routes and has both sides show a certificate. It needs a certificate that
	// is good for servers and clients, RootCAs and ClientCAs. Pods that were not listed in Routes
	// are reached by IP address; their certificates are checked for that address, or for the first
	// host name in Routes, in the order of texts. Default: no TLS.
	RouteTLS *tls.Config

	// URLs are those of an external NATS, nats://HOST:PORT or tls://HOST:PORT.
	URLs []string
	// Credentials is the file with the JWT and key of a NATS user. It is read at each connect.
	// Default: none.
	Credentials string
	// ClientTLS is for the connection to URLs. Default: none but what the URLs ask for.
	ClientTLS *tls.Config

	// Logger takes what the server and the connection have to say. Default: nobody.
	Logger *zap.Logger
	// OnState is called when the connection comes or goes, never by two goroutines at a time: once
	// before Open returns, with how it is then, and from then on each time that it is different, so
	// that true and false alternate. A loss that is healed at once is told too, since payloads may
	// be missing. It is not called by [Bus.Close], nor after it, and must not call it. Default:
	// nobody.
	//
	// The connection meant is the one to the server. With the server inside of this process it is
	// there from Open to Close, whether or not there are routes to other pods.
	OnState func(connected bool)
}

// The limits of what waits to be taken, of each subscription. With both at their limit the taker is
// seconds behind, and what it would get is of no use.
const (
	maxPendingMessages = 64 << 10
	maxPendingBytes    = 64 << 20
)

// flushTimeout is how long the server may take to answer.
const flushTimeout = 2 * time.Second

// ErrClosed is returned when the bus was closed.
var ErrClosed = errors.New("the bus is closed")

// ErrDisconnected is returned when there is no connection to the server now.
var ErrDisconnected = errors.New("not connected to NATS")

// Bus is an open connection, which [Bus.Change] can replace by another. It is safe for concurrent
// use.
type Bus struct {
	cfg    Config // of Open
	logger *zap.Logger
	limit  *limiter // of what connections log
	waits  waits    // of Change

	// conn is the connection that payloads are published on, and whose state is told. It is nil
	// while Change has to close a server before it can start another one.
	conn atomic.Pointer[conn]
	// publishing is held by Publish for reading, and by Change while it goes from one connection to
	// another.
	publishing sync.RWMutex
	changing   sync.Mutex    // held by Change and Close; locked before all others
	closing    chan struct{} // closed by Close

	// stateMu guards the fields up to the next one, and is held while OnState runs.
	stateMu    sync.Mutex
	told       bool // whether OnState was called at all
	connected  bool // what it was told last
	ever       bool // connected once
	ended      bool // by Close
	reconnects atomic.Uint64

	mu      sync.Mutex
	on      [2]*conn                   // connections that have the subscriptions, two while one replaces the other; guarded by mu
	subs    map[*subscription]struct{} // guarded by mu
	dropped uint64                     // of subscriptions that are gone; guarded by mu

	lastError atomic.Pointer[string]
}

// Open starts the server or connects to the external one.
//
// What is wrong with the configuration and a port that cannot be had are errors, after which
// nothing is left running. An external server that is not there is none: it is tried again until
// Close. Open can then take 2 s for each of URLs.
func Open(cfg Config) (*Bus, error) {
	s, err := cfg.check()
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	b := &Bus{
		cfg:     cfg,
		logger:  s.logger,
		limit:   newLimiter(),
		waits:   defaultWaits,
		closing: make(chan struct{}),
		subs:    make(map[*subscription]struct{}),
	}
	c, err := b.dial(s)
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	c.deliver()
	b.on[0] = c
	b.conn.Store(c)
	b.announce(c)
	return b, nil
}

// Publish sends a payload to all who subscribe to the subject, this process too if it does. It is
// lost for those who are not connected now. Without a connection it returns [ErrDisconnected] and
// keeps nothing for later: a heartbeat that comes late is a lie.
func (b *Bus) Publish(subject string, payload []byte) error {
	b.publishing.RLock()
	defer b.publishing.RUnlock()
	c := b.conn.Load()
	if c == nil {
		return fmt.Errorf("publish: %w", ErrDisconnected)
	}
	if err := c.nc.Publish(subject, payload); err != nil {
		return fmt.Errorf("publish: %w", plain(err))
	}
	return nil
}

// Flush returns when the server has taken all that was published and subscribed. Other servers hear
// of a subscription a moment later, over routes and gateways: what is published there right after
// it can still miss it.
func (b *Bus) Flush() error {
	c := b.conn.Load()
	if c == nil {
		return ErrDisconnected
	}
	return c.flush(flushTimeout)
}

// Close ends the connection and the server, and frees its port. What was published before it is
// sent to all who can take it. It returns at once unless a link is dead and not found to be yet,
// then within 5 s. A taker that runs may still do so when Close returns.
func (b *Bus) Close() {
	b.stateMu.Lock()
	ended := b.ended
	b.ended = true
	b.stateMu.Unlock()
	if ended {
		return
	}
	close(b.closing) // ends a Change
	b.changing.Lock()
	defer b.changing.Unlock()
	if c := b.conn.Load(); c != nil {
		_ = c.flush(flushTimeout) // whoever is not there gets nothing
		c.close()
	}
}

// plain gives the errors of the connection that callers branch on the names of this package.
func plain(err error) error {
	switch {
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return ErrClosed
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrDisconnected):
		return ErrDisconnected
	}
	return err
}
