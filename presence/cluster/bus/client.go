package bus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// A connection to an external server that drops packets without an end is closed by pings after 2
// to 3 s, before other pods are taken to be gone.
const (
	clientPing     = time.Second
	clientPings    = 2 // that may be unanswered
	connectTimeout = 2 * time.Second
	reconnectWait  = 500 * time.Millisecond
	// reconnectJitter is added at random, so that pods do not all come back at once.
	reconnectJitter = 250 * time.Millisecond
)

// conn is a connection to a server.
type conn struct {
	bus      *Bus
	settings settings // Bus.changing guards it
	nc       *nats.Conn
	server   *embedded // nil if the server is external
	cancel   context.CancelFunc
	hide     *strings.Replacer     // of credentials in texts
	held     chan struct{}         // closed when takers may get payloads
	released sync.Once             // closes held
	login    atomic.Pointer[login] // for the next connection to an external server
}

// login is what is shown to an external server, and what it must show.
type login struct {
	credentials string // file; "" for none
	tls         *tls.Config
}

// dial starts the server, or connects to the external one, which is tried again until the
// connection is closed. Payloads that come are held until deliver.
func (b *Bus) dial(s settings) (*conn, error) {
	c := &conn{bus: b, settings: s, hide: s.hide, held: make(chan struct{})}
	if len(s.urls) == 0 {
		var err error
		if c.server, err = startServer(s); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	var err error
	if c.nc, err = c.connect(ctx, s); err != nil {
		cancel()
		c.server.shutdown()
		return nil, fmt.Errorf("connect to NATS: %s", s.hide.Replace(err.Error()))
	}
	return c, nil
}

// flush returns when the server has taken all that was published and subscribed.
func (c *conn) flush(timeout time.Duration) error {
	if !c.nc.IsConnected() {
		if c.nc.IsClosed() {
			return ErrClosed
		}
		return ErrDisconnected
	}
	if err := c.nc.FlushTimeout(timeout); err != nil {
		return fmt.Errorf("flush: %w", plain(err))
	}
	return nil
}

// deliver lets takers have the payloads of the connection.
func (c *conn) deliver() { c.released.Do(func() { close(c.held) }) }

// close ends the connection and its server.
func (c *conn) close() {
	c.deliver() // goroutines wait
	c.cancel()
	c.nc.Close()
	c.server.shutdown()
}

// connect makes the client connection. It goes on trying until ctx ends.
func (c *conn) connect(ctx context.Context, s settings) (*nats.Conn, error) {
	opts := nats.GetDefaultOptions()
	opts.Name = s.name
	opts.AllowReconnect = true
	opts.MaxReconnect = -1
	// A password that is being changed is refused for a while.
	opts.IgnoreAuthErrorAbort = true
	opts.ReconnectWait = reconnectWait
	opts.ReconnectJitter = reconnectJitter
	opts.ReconnectJitterTLS = reconnectJitter
	// Nothing is kept while there is no connection: old heartbeats and answers would come as if
	// they were new.
	opts.ReconnectBufSize = -1
	opts.Timeout = connectTimeout
	opts.FlusherTimeout = routeDeadline
	opts.NoCallbacksAfterClientClose = true
	opts.ConnectedCB = func(*nats.Conn) { c.notify(true) }
	opts.ReconnectedCB = c.reconnected
	opts.DisconnectedErrCB = c.disconnected
	opts.ReconnectErrCB = c.unreachable
	opts.AsyncErrorCB = c.asyncError
	if c.server != nil {
		opts.InProcessServer = c.server
		return opts.Connect()
	}

	opts.Servers = s.urls
	opts.RetryOnFailedConnect = true
	opts.PingInterval = clientPing
	opts.MaxPingsOut = clientPings
	// The library looks names up without an end to its patience; the dialer does it within the
	// timeout.
	opts.SkipHostLookup = true
	opts.CustomDialer = dialer{ctx}
	c.login.Store(&login{s.credentials, s.clientTLS.Clone()})
	if s.clientTLS != nil {
		opts.Secure = true
		opts.TLSConfig = s.clientTLS.Clone()
		opts.TLSConfig.GetClientCertificate = c.clientCertificate
		opts.RootCAsCB = func() (*x509.CertPool, error) { return c.login.Load().tls.RootCAs, nil }
	}
	if s.credentials != "" {
		opts.UserJWT = func() (string, error) { return c.user().UserJWT() }
		opts.SignatureCB = func(nonce []byte) ([]byte, error) { return c.user().SignatureCB(nonce) }
	}
	return opts.Connect()
}

// clientCertificate is tls.Config.GetClientCertificate.
func (c *conn) clientCertificate(wanted *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	conf := c.login.Load().tls
	if conf.GetClientCertificate != nil {
		return conf.GetClientCertificate(wanted)
	}
	for i := range conf.Certificates {
		if wanted.SupportsCertificate(&conf.Certificates[i]) == nil {
			return &conf.Certificates[i], nil
		}
	}
	return new(tls.Certificate), nil // shows none
}

// user returns options with the functions that read the file with credentials.
func (c *conn) user() (opts nats.Options) {
	_ = nats.UserCredentials(c.login.Load().credentials)(&opts) // reads the file later
	return opts
}

// dialer dials until its context ends, so that closing the bus does not have to wait for a server
// that does not answer.
type dialer struct{ ctx context.Context }

// Dial is nats.CustomDialer.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	nd := net.Dialer{Timeout: connectTimeout}
	return nd.DialContext(d.ctx, network, address)
}

// announce tells how the connection is on which payloads are published from now on, nil for none.
func (b *Bus) announce(c *conn) {
	b.stateMu.Lock()
	defer b.stateMu.Unlock()
	if c == nil {
		b.tell(false)
		return
	}
	connected := c.nc.IsConnected() // under the lock: what changes after this is told after this
	b.tell(connected)
	if c.server != nil {
		return
	}
	if connected {
		b.logger.Info("connected to NATS", zap.String("url", urlOf(c.nc)), zap.String("cluster", c.nc.ConnectedClusterName()))
		return
	}
	b.logger.Warn("NATS is not reachable yet, trying on") // why comes with the next try
}

// notify tells that the connection came or went, if payloads are published on it.
func (c *conn) notify(connected bool) {
	c.bus.stateMu.Lock()
	defer c.bus.stateMu.Unlock()
	if c.bus.conn.Load() == c {
		c.bus.tell(connected)
	}
}

// tell calls OnState if there is something new. stateMu is held.
func (b *Bus) tell(connected bool) {
	if b.ended || b.told && b.connected == connected {
		return
	}
	b.told, b.connected = true, connected
	if connected {
		if b.ever {
			b.reconnects.Add(1)
		}
		b.ever = true
		b.lastError.Store(nil)
	}
	if b.cfg.OnState != nil {
		b.cfg.OnState(connected)
	}
}

func (c *conn) reconnected(nc *nats.Conn) {
	c.bus.logger.Info("connected to NATS again", zap.String("url", urlOf(nc)), zap.String("cluster", nc.ConnectedClusterName()))
	c.notify(true)
}

func (c *conn) disconnected(_ *nats.Conn, err error) {
	c.bus.logger.Warn("the connection to NATS is lost", c.errorField(err))
	c.notify(false)
}

func (c *conn) unreachable(_ *nats.Conn, err error) {
	c.log(zapcore.WarnLevel, "NATS is not reachable", c.errorField(err))
}

// asyncError takes what has no caller: payloads that were dropped, and subjects that the server
// does not allow.
func (c *conn) asyncError(_ *nats.Conn, _ *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrSlowConsumer) {
		c.log(zapcore.WarnLevel, "payloads come faster than they are taken, dropped some",
			c.errorField(err), zap.Uint64("dropped", c.bus.droppedPayloads()))
		return
	}
	c.log(zapcore.ErrorLevel, "NATS refuses something", c.errorField(err))
}

func (c *conn) log(level zapcore.Level, line string, fields ...zap.Field) {
	logLimited(c.bus.logger, c.bus.limit, level, line, fields...)
}

// errorField remembers the error for [State] and returns it for the log, less what must not be
// seen.
func (c *conn) errorField(err error) zap.Field {
	if err == nil {
		return zap.Skip()
	}
	text := c.hide.Replace(err.Error())
	if len(text) > maxLogBytes {
		text = text[:maxLogBytes]
	}
	c.bus.lastError.Store(&text)
	return zap.String("error", text)
}
