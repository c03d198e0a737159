package bus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// A connection to an external server that drops packets without an end is closed by pings after 2 to 3 s, before other
// pods are taken to be gone.
const (
	clientPing     = time.Second
	clientPings    = 2 // that may be unanswered
	connectTimeout = 2 * time.Second
	reconnectWait  = 500 * time.Millisecond
	// reconnectJitter is added at random, so that pods do not all come back at once.
	reconnectJitter = 250 * time.Millisecond
)

// connect makes the client connection. It goes on trying until ctx ends.
func (b *Bus) connect(ctx context.Context, s settings) (*nats.Conn, error) {
	opts := nats.GetDefaultOptions()
	opts.Name = s.name
	opts.AllowReconnect = true
	opts.MaxReconnect = -1
	// A password that is being changed is refused for a while.
	opts.IgnoreAuthErrorAbort = true
	opts.ReconnectWait = reconnectWait
	opts.ReconnectJitter = reconnectJitter
	opts.ReconnectJitterTLS = reconnectJitter
	// Nothing is kept while there is no connection: old heartbeats and answers would come as if they were new.
	opts.ReconnectBufSize = -1
	opts.Timeout = connectTimeout
	opts.FlusherTimeout = routeDeadline
	opts.NoCallbacksAfterClientClose = true
	opts.ConnectedCB = func(*nats.Conn) { b.notify(true) }
	opts.ReconnectedCB = b.reconnected
	opts.DisconnectedErrCB = b.disconnected
	opts.ReconnectErrCB = b.unreachable
	opts.AsyncErrorCB = b.asyncError
	if b.server != nil {
		opts.InProcessServer = b.server
		return opts.Connect()
	}

	opts.Servers = s.urls
	opts.RetryOnFailedConnect = true
	opts.PingInterval = clientPing
	opts.MaxPingsOut = clientPings
	// The library looks names up without an end to its patience; the dialer does it within the timeout.
	opts.SkipHostLookup = true
	opts.CustomDialer = dialer{ctx}
	if s.clientTLS != nil {
		opts.Secure = true
		opts.TLSConfig = s.clientTLS.Clone()
	}
	if s.credentials != "" {
		if err := nats.UserCredentials(s.credentials)(&opts); err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
	}
	return opts.Connect()
}

// dialer dials until its context ends, so that closing the bus does not have to wait for a server that does not answer.
type dialer struct{ ctx context.Context }

// Dial is nats.CustomDialer.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	nd := net.Dialer{Timeout: connectTimeout}
	return nd.DialContext(d.ctx, network, address)
}

// begin tells how the connection is right after it was made.
func (b *Bus) begin() {
	b.stateMu.Lock()
	defer b.stateMu.Unlock()
	connected := b.nc.IsConnected() // under the lock: what changes after this is told after this
	b.tell(connected)
	if b.server != nil {
		return
	}
	if connected {
		b.logger.Info("connected to NATS", zap.String("url", urlOf(b.nc)), zap.String("cluster", b.nc.ConnectedClusterName()))
		return
	}
	b.logger.Warn("NATS is not reachable yet, trying on") // why comes with the next try
}

// notify tells that the connection came or went.
func (b *Bus) notify(connected bool) {
	b.stateMu.Lock()
	defer b.stateMu.Unlock()
	b.tell(connected)
}

// tell is notify with stateMu held.
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
	if b.onState != nil {
		b.onState(connected)
	}
}

func (b *Bus) reconnected(nc *nats.Conn) {
	b.logger.Info("connected to NATS again", zap.String("url", urlOf(nc)), zap.String("cluster", nc.ConnectedClusterName()))
	b.notify(true)
}

func (b *Bus) disconnected(_ *nats.Conn, err error) {
	b.logger.Warn("the connection to NATS is lost", b.errorField(err))
	b.notify(false)
}

func (b *Bus) unreachable(_ *nats.Conn, err error) {
	logLimited(b.logger, b.limit, zapcore.WarnLevel, "NATS is not reachable", b.errorField(err))
}

// asyncError takes what has no caller: payloads that were dropped, and subjects that the server does not allow.
func (b *Bus) asyncError(_ *nats.Conn, _ *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrSlowConsumer) {
		logLimited(b.logger, b.limit, zapcore.WarnLevel, "payloads come faster than they are taken, dropped some",
			b.errorField(err), zap.Uint64("dropped", b.droppedPayloads()))
		return
	}
	logLimited(b.logger, b.limit, zapcore.ErrorLevel, "NATS refuses something", b.errorField(err))
}

// errorField remembers the error for [State] and returns it for the log, less what must not be seen.
func (b *Bus) errorField(err error) zap.Field {
	if err == nil {
		return zap.Skip()
	}
	text := b.hide.Replace(err.Error())
	if len(text) > maxLogBytes {
		text = text[:maxLogBytes]
	}
	b.lastError.Store(&text)
	return zap.String("error", text)
}
