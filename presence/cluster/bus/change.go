package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// waits are how long a change waits, where nothing tells it that it can go on.
type waits struct {
	reach   time.Duration // for a new connection to reach what the old one reaches
	restart time.Duration // the same if payloads cannot be published meanwhile
	settle  time.Duration // for subscriptions and payloads on their way to other pods and back
	hold    time.Duration // for payloads on their way over an old connection, before any go over a new one
}

var defaultWaits = waits{
	reach:   5 * time.Second,
	restart: 1500 * time.Millisecond,
	settle:  300 * time.Millisecond,
	hold:    100 * time.Millisecond,
}

// Change makes the bus use other settings. Subscriptions stay. Name, Logger and OnState are those
// of [Open].
//
// Other certificates, authorities and credentials are for new connections: the connections that
// exist live on. So they do if only routes are added. With any other change, a new connection is
// made, which replaces the old one when it reaches the pods that the old one reaches, or after 5 s.
// Payloads arrive in order, but they can arrive twice. If the new server needs the port of the old
// one, that is closed first: until the new one reaches the others, for 1.5 s at most, payloads of
// other pods are lost, and those of this one wait.
//
// After an error, the bus is as it was. If the context ends, Change returns its error.
func (b *Bus) Change(ctx context.Context, cfg Config) error {
	cfg.Name, cfg.Logger, cfg.OnState = b.cfg.Name, b.cfg.Logger, b.cfg.OnState
	s, err := cfg.check()
	if err == nil {
		err = b.change(ctx, s)
	}
	if err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	return nil
}

func (b *Bus) change(ctx context.Context, s settings) error {
	b.changing.Lock()
	defer b.changing.Unlock()
	select {
	case <-b.closing:
		return ErrClosed
	default:
	}
	old := b.conn.Load()
	switch {
	case old == nil:
		return b.restart(ctx, nil, s)
	case old.settings.sameServer(s):
		return old.renew(s)
	}
	err := b.replace(ctx, old, s)
	if old.settings.port == s.port && errors.Is(err, syscall.EADDRINUSE) {
		return b.restart(ctx, old, s)
	}
	return err
}

// sameServer reports whether a connection with the settings can go on with the other ones.
func (s settings) sameServer(other settings) bool {
	for _, r := range s.routes {
		if !slices.Contains(other.routes, r) {
			return false // the server would close the route
		}
	}
	return s.host == other.host && s.port == other.port && s.password == other.password &&
		(s.routeTLS == nil) == (other.routeTLS == nil) && slices.Equal(s.urls, other.urls) &&
		(s.clientTLS == nil) == (other.clientTLS == nil) && (s.credentials == "") == (other.credentials == "")
}

// renew makes new connections use the settings.
func (c *conn) renew(s settings) error {
	if c.server == nil {
		c.login.Store(&login{s.credentials, s.clientTLS.Clone()})
	} else {
		opts := serverOptions(s)
		opts.ServerName = c.server.Name()
		if err := c.server.ReloadOptions(opts); err != nil {
			return fmt.Errorf("NATS server: %s", s.hide.Replace(err.Error()))
		}
	}
	c.settings = s
	return nil
}

// replace makes a new connection before it closes the old one.
func (b *Bus) replace(ctx context.Context, old *conn, s settings) error {
	next, err := b.dial(s)
	if err != nil {
		return err
	}
	err = b.subscribeAll(next, 1)
	if err == nil {
		err = b.await(ctx, b.waits.reach, func() bool { return next.reaches(old.reached()) })
	}
	if err != nil {
		b.unsubscribeAll(1)
		next.close()
		return err
	}
	// The first payloads that come over the new connection wait for those before them on the old
	// one. After that, all come over both, in order.
	time.Sleep(b.waits.settle)
	next.deliver()

	b.publishing.Lock()
	b.drain(old)
	b.conn.Store(next)
	b.publishing.Unlock()
	b.announce(next)

	time.Sleep(b.waits.settle) // for what other pods have sent to the old one
	b.unsubscribeAll(0)
	old.close()
	return nil
}

// drain waits until other pods have what was published on a connection. What goes over another one
// is then behind it.
func (b *Bus) drain(c *conn) {
	_ = c.flush(b.waits.hold) // fails without a connection: then nothing is on its way
	time.Sleep(b.waits.hold)
}

// restart closes the old connection, if there is one, before it makes a new one. If it cannot make
// that, it makes the old one again.
func (b *Bus) restart(ctx context.Context, old *conn, s settings) error {
	b.announce(nil)
	b.publishing.Lock()
	var reached map[interest]bool
	if old != nil {
		reached = old.reached()
		b.drain(old)
		b.conn.Store(nil)
		b.unsubscribeAll(0)
		old.close()
	}
	next, err := b.dial(s)
	if err != nil && old != nil {
		var again error
		if next, again = b.dial(old.settings); again != nil {
			err = errors.Join(err, again)
		}
	}
	if next == nil {
		b.publishing.Unlock()
		return err
	}
	err = errors.Join(err, b.subscribeAll(next, 0))
	next.deliver()
	b.conn.Store(next)
	_ = b.await(ctx, b.waits.restart, func() bool { return next.reaches(reached) }) // there is no way back
	b.publishing.Unlock()
	b.announce(next)
	return err
}

// await waits until the condition is true, and no longer than the timeout.
func (b *Bus) await(ctx context.Context, timeout time.Duration, condition func() bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(timeout)
	for !condition() {
		select {
		case <-tick.C:
		case <-late:
			return nil
		case <-b.closing:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// interest is a subscription of another pod. Without a subject, it is the route to the pod.
type interest struct{ server, subject string }

// reached returns the routes to other pods, and the subscriptions that are known over them. A new
// route has none for a moment; what is published meanwhile is lost.
func (c *conn) reached() map[interest]bool {
	known := make(map[interest]bool)
	if c.server == nil {
		return known
	}
	if z, err := c.server.Routez(&server.RoutezOptions{Subscriptions: true}); err == nil {
		for _, r := range z.Routes {
			known[interest{server: r.RemoteName}] = true
			for _, subject := range r.Subs {
				known[interest{r.RemoteName, subject}] = true
			}
		}
	}
	return known
}

// reaches reports whether the connection is open, and payloads for the wanted subscriptions go over
// it.
func (c *conn) reaches(wanted map[interest]bool) bool {
	if c.server == nil {
		return c.nc.IsConnected()
	}
	known := c.reached()
	for i := range wanted {
		if !known[i] && i.server != c.server.Name() {
			return false
		}
	}
	return true
}
