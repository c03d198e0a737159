// Package bus carries payloads between pods over NATS: a server inside of this process, which is joined to those of other
// pods by routes, or an external one. Both are used through one client connection, so that nothing above knows which it is.
//
// [Open] begins with a [Config] and returns a [Bus]: [Bus.Publish] hands a payload to the server, which hands it to all
// who subscribed to the subject, in this process and in others. Delivery is at most once. Payloads of one pod on one
// subject arrive in the order in which they were published; some of them, or all of a while, can be missing: when a link
// breaks, and when a taker is too slow. Whoever needs more than that numbers what it sends.
//
// Nothing but the port for routes is ever open. The server inside of this process takes no clients but this process, no
// leaf nodes, gateways, websockets, MQTT or monitoring, and keeps nothing on disk. What comes over the bus is not to be
// trusted for having come over it; the package message authenticates payloads.
package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// Config says which NATS to use.
type Config struct {
	// Name is how this process shows in NATS: letters, digits, '.', '-' and '_'. It should be unique in the deployment, but
	// two processes with the same name are joined none the less, so that those above can see each other and complain.
	// Default: "rollcall".
	Name string

	// Listen is the address for routes of other pods, host and port; port 0 takes a free one, see [State.Listen]. With it
	// the server is inside of this process. Default: none; without URLs the bus is then for this process alone and listens
	// to nothing.
	Listen string
	// Routes are the addresses of other pods, host and port. Names are resolved anew at each try. It is enough that each
	// pod can reach one other this way, the rest they tell each other; after a long partition only the listed ones are
	// still tried, so that each data center should list pods of the others. A name should be that of one pod: of a name
	// with many addresses one is taken, and none if it has no other address than that of this pod yet.
	Routes []string
	// Secret is what pods prove to each other before they form routes. A key that is derived from it goes over the wire, as
	// readable as the payloads when RouteTLS is not set. Default: none, which needs RouteTLS.
	Secret string
	// RouteTLS encrypts routes and has both sides show a certificate. It needs a certificate that is good for servers and
	// clients, RootCAs and ClientCAs. Pods that were not listed in Routes are reached by IP address; their certificates are
	// checked for that address, or for the first host name in Routes. Default: no TLS.
	RouteTLS *tls.Config

	// URLs are those of an external NATS, nats://HOST:PORT or tls://HOST:PORT.
	URLs []string
	// Credentials is the file with the JWT and key of a NATS user. It is read at each connect. Default: none.
	Credentials string
	// ClientTLS is for the connection to URLs. Default: none but what the URLs ask for.
	ClientTLS *tls.Config

	// Logger takes what the server and the connection have to say. Default: nobody.
	Logger *zap.Logger
	// OnState is called when the connection comes or goes, never by two goroutines at a time: once before Open returns, with
	// how it is then, and from then on each time that it is different, so that true and false alternate. A loss that is
	// healed at once is told too, since payloads may be missing. It is not called by [Bus.Close], nor after it, and must not
	// call it. Default: nobody.
	//
	// The connection meant is the one to the server. With the server inside of this process it is there from Open to Close,
	// whether or not there are routes to other pods.
	OnState func(connected bool)
}

// The limits of what waits to be taken, of each subscription. With both at their limit the taker is seconds behind, and
// what it would get is of no use.
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

// Bus is an open connection. It is safe for concurrent use.
type Bus struct {
	nc     *nats.Conn
	server *embedded // nil when the server is external
	cancel context.CancelFunc
	logger *zap.Logger
	limit  *limiter          // of what the connection logs
	hide   *strings.Replacer // of credentials in texts

	onState func(connected bool)
	// stateMu guards the fields up to the next one, and is held while onState runs.
	stateMu    sync.Mutex
	told       bool // whether onState was called at all
	connected  bool // what it was told last
	ever       bool // connected once
	ended      bool // by Close
	reconnects atomic.Uint64

	mu      sync.Mutex
	subs    map[*nats.Subscription]struct{} // guarded by mu
	dropped uint64                          // of subscriptions that are gone; guarded by mu

	lastError atomic.Pointer[string]
}

// Open starts the server or connects to the external one.
//
// What is wrong with the configuration and a port that cannot be had are errors, after which nothing is left running. An
// external server that is not there is none: it is tried again until Close. Open can then take 2 s for each of URLs.
func Open(cfg Config) (*Bus, error) {
	s, err := cfg.check()
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	b := &Bus{
		logger:  s.logger,
		limit:   newLimiter(),
		hide:    s.hide,
		onState: cfg.OnState,
		subs:    make(map[*nats.Subscription]struct{}),
	}
	if len(s.urls) == 0 {
		if b.server, err = startServer(s); err != nil {
			return nil, fmt.Errorf("bus: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	if b.nc, err = b.connect(ctx, s); err != nil {
		cancel()
		b.server.shutdown()
		return nil, fmt.Errorf("bus: connect to NATS: %s", s.hide.Replace(err.Error()))
	}
	b.begin()
	return b, nil
}

// Publish sends a payload to all who subscribe to the subject, this process too if it does. It is lost for those who are
// not connected now. Without a connection it returns [ErrDisconnected] and keeps nothing for later: a heartbeat that
// comes late is a lie.
func (b *Bus) Publish(subject string, payload []byte) error {
	if err := b.nc.Publish(subject, payload); err != nil {
		return fmt.Errorf("publish: %w", plain(err))
	}
	return nil
}

// Subscribe has take called with each payload of the subject, one at a time and in the order of arrival. The payload is
// the taker's. What comes faster than it is taken is dropped and counted.
//
// The subscription outlives the loss of the connection. cancel ends it and drops what waits; a take that began before may
// still be running when cancel returns. Both cancel and [Bus.Close] may be called by take.
func (b *Bus) Subscribe(subject string, take func(payload []byte)) (cancel func(), err error) {
	var ended atomic.Bool
	sub, err := b.nc.Subscribe(subject, func(m *nats.Msg) {
		if !ended.Load() {
			take(m.Data)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", plain(err))
	}
	if err := sub.SetPendingLimits(maxPendingMessages, maxPendingBytes); err != nil {
		return nil, fmt.Errorf("subscribe: %w", plain(err))
	}
	b.mu.Lock()
	b.subs[sub] = struct{}{}
	b.mu.Unlock()
	return func() {
		if ended.CompareAndSwap(false, true) {
			b.unsubscribe(sub)
		}
	}, nil
}

func (b *Bus) unsubscribe(sub *nats.Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subs, sub)
	b.dropped += droppedBy(sub)
	_ = sub.Unsubscribe() // fails when the connection is closed, which ended the subscription
}

// Flush returns when the server has taken all that was published and subscribed. Other servers hear of a subscription a
// moment later, over routes and gateways: what is published there right after it can still miss it.
func (b *Bus) Flush() error {
	if !b.nc.IsConnected() {
		if b.nc.IsClosed() {
			return ErrClosed
		}
		return ErrDisconnected
	}
	if err := b.nc.FlushTimeout(flushTimeout); err != nil {
		return fmt.Errorf("flush: %w", plain(err))
	}
	return nil
}

// Close ends the connection and the server, and frees its port. What was published before it is sent to all who can take
// it. It returns at once unless a link is dead and not found to be yet, then within 5 s. A taker that runs may still do
// so when Close returns.
func (b *Bus) Close() {
	b.stateMu.Lock()
	ended := b.ended
	b.ended = true
	b.stateMu.Unlock()
	if ended {
		return
	}
	_ = b.Flush() // whoever is not there gets nothing
	b.cancel()
	b.nc.Close()
	b.server.shutdown()
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
