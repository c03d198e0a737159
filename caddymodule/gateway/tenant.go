package gateway

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// tenant is a host with connections, as this package sees it.
type tenant struct {
	name    presence.HostName
	configs *atomic.Pointer[configurations] // Hub.configs
	found   atomic.Pointer[finding]
	conns   int          // connections; under hub.mu
	asked   atomic.Int64 // number of calls of Hub.askAgain; the last one counts

	unfinished socket.Budget // bytes of messages whose end has not arrived
}

// finding is the site of a host by a configuration that was in effect.
type finding struct {
	by   *Configuration // nil before the first lookup
	site *site.Site
	ok   bool // by has this site; otherwise the site is an older one
}

// newTenant returns a tenant without connections. The site applies until a configuration in effect
// has a site for the host.
func newTenant(configs *atomic.Pointer[configurations], name presence.HostName, served *site.Site) *tenant {
	t := &tenant{name: name, configs: configs}
	t.found.Store(&finding{site: served})
	return t
}

// find returns the site that the configuration in effect has for the host. If it has none, find
// returns false and the previous site, which applies until the connections are closed.
func (t *tenant) find() (of *site.Site, ok bool) {
	was := t.found.Load() // loaded before configs, so that an older finding never replaces a newer one
	now := t.configs.Load().inEffect()
	if now == nil || now == was.by {
		return was.site, was.ok
	}
	is := &finding{by: now, site: was.site}
	if s := now.Find(t.name); s != nil {
		is.site, is.ok = s, true
	}
	t.found.CompareAndSwap(was, is)
	return is.site, is.ok
}

func (t *tenant) site() *site.Site {
	of, _ := t.find()
	return of
}

// Rules implements presence.RulesSource.
func (t *tenant) Rules() *presence.Rules { return t.site().Rules() }

var _ presence.RulesSource = (*tenant)(nil)

// Errors of connect.
var (
	errDraining = errors.New("the server is stopping")
	errReloaded = errors.New("the configuration was replaced")
	errFull     = errors.New("the host has as many connections as it may have")
)

// connect creates a session for an upgraded socket. It returns errReloaded if the host is no longer
// served by the given site.
func (h *Hub) connect(
	sock *socket.Conn, name presence.HostName, served *site.Site, who site.Login, client netip.Prefix, speaks Protocol,
) (*Session, error) {
	s, err := h.newSession(sock, name, served, client, speaks)
	if err != nil {
		return nil, err
	}
	id := speaks.NewID()
	if who, err = h.admit(name, served, id, who); err == nil {
		err = s.connect(id, who)
	}
	if err != nil {
		h.release(s)
		return nil, err
	}
	// A drain or reload since newSession may have closed all connections of the host except this
	// one.
	err = h.admits(s.tenant)
	if err == nil && who.Issued != 0 {
		// So may a revocation.
		err = served.CheckRevoked(name, who.User.ID, who.Issued)
	}
	if err != nil {
		h.disconnect(s)
		return nil, err
	}
	return s, nil
}

// admit asks the plugins of a site about a connection that it is not to have yet. They are not
// asked about one that the host has no room for.
func (h *Hub) admit(name presence.HostName, served *site.Site, id presence.ID, who site.Login) (site.Login, error) {
	if !served.Chain.Has(plugins.HookConnect) {
		return who, nil
	}
	if host := h.Registry.Host(name); host != nil && host.IsFull() {
		return who, errFull
	}
	return served.Admit(name, id, who)
}

// admits returns an error if the tenant accepts no new connections.
func (h *Hub) admits(t *tenant) error {
	switch {
	case h.draining.Load():
		return errDraining
	case t.site().Retired.Load():
		return errReloaded // the host has left the configuration since the request arrived
	}
	return nil
}

// newSession creates a session and counts it.
func (h *Hub) newSession(
	sock *socket.Conn, name presence.HostName, served *site.Site, client netip.Prefix, speaks Protocol,
) (*Session, error) {
	counters := h.countersOf(name)
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.tenants[name]
	if t == nil {
		t = newTenant(&h.configs, name, served)
	}
	if err := h.admits(t); err != nil {
		return nil, err
	}
	if t.site() != served {
		return nil, errReloaded
	}
	if err := h.clients.admit(client, t); err != nil {
		return nil, err
	}
	h.tenants[name] = t
	t.conns++
	s := &Session{hub: h, protocol: speaks, tenant: t, sock: sock, counters: counters, since: time.Now().UnixMilli()}
	h.clients.add(client, s)
	// The socket must have its session before the registry does, because it can be closed from then
	// on.
	sock.Handle(s, &counters.sockets, h.loop)
	return s, nil
}

// disconnect removes a session, at any stage of connect. It returns false if the session is already
// removed, or never was connected.
func (h *Hub) disconnect(s *Session) bool {
	s.mu.Lock()
	in := s.conn != nil && !s.ended
	s.ended = true
	s.mu.Unlock()
	if !in {
		return false
	}
	if h.closer.hasLeft(s) {
		s.conn.Quit()
	} else {
		s.conn.Close()
	}
	h.closer.forget(s)
	h.release(s)
	return true
}

// release uncounts a session.
func (h *Hub) release(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients.remove(s)
	t := s.tenant
	t.conns--
	if t.conns == 0 {
		delete(h.tenants, t.name)
	}
}

func (h *Hub) allTenants() []*tenant {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*tenant, 0, len(h.tenants))
	for _, t := range h.tenants {
		all = append(all, t)
	}
	return all
}
