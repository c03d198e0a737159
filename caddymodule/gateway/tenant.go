package gateway

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/presence"
)

// tenant is a host with connections, as this package sees it.
type tenant struct {
	name    presence.HostName
	configs *atomic.Pointer[configurations] // of the hub
	found   atomic.Pointer[finding]
	conns   int // under hub.mu

	unfinished socket.Budget // bytes of messages that have not come whole
}

// finding is the site of a host, as a configuration in effect has it.
type finding struct {
	by   *Configuration // nil before the first look
	site *site.Site
	ok   bool // by has the site, and not one before it
}

// newTenant returns a tenant without connections. The site counts while no configuration in effect has one for the host.
func newTenant(configs *atomic.Pointer[configurations], name presence.HostName, served *site.Site) *tenant {
	t := &tenant{name: name, configs: configs}
	t.found.Store(&finding{site: served})
	return t
}

// find returns the site whose rules hold for the host: that of the configuration in effect. If this one has none, find
// returns false with the site of before, which connections keep until they are closed.
func (t *tenant) find() (of *site.Site, ok bool) {
	was := t.found.Load() // before configs, so that an older finding never replaces a newer one
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

// site returns the site of find.
func (t *tenant) site() *site.Site {
	of, _ := t.find()
	return of
}

// Rules implements presence.RulesSource.
func (t *tenant) Rules() *presence.Rules { return t.site().Rules() }

var _ presence.RulesSource = (*tenant)(nil)

// Why a session is not begun.
var (
	errDraining = errors.New("the server is stopping")
	errReloaded = errors.New("the configuration was replaced")
)

// connect makes a session of an upgraded socket. It returns errReloaded if the host's site is no longer the one that has
// judged the request.
func (h *Hub) connect(
	sock *socket.Conn, name presence.HostName, served *site.Site, user *presence.User, client netip.Prefix,
) (*session, error) {
	s, err := h.newSession(sock, name, served, client)
	if err != nil {
		return nil, err
	}
	if err := s.connect(user); err != nil {
		h.release(s)
		return nil, err
	}
	// Whoever closes all connections of the host since newSession looked has not met this one.
	if err := h.admits(s.tenant); err != nil {
		h.disconnect(s)
		return nil, err
	}
	return s, nil
}

// admits returns an error if the tenant may not have new connections.
func (h *Hub) admits(t *tenant) error {
	switch {
	case h.draining.Load():
		return errDraining
	case t.site().Retired.Load():
		return errReloaded // the request came before, and the host has left the configuration
	}
	return nil
}

// newSession makes a session and counts it in.
func (h *Hub) newSession(sock *socket.Conn, name presence.HostName, served *site.Site, client netip.Prefix) (*session, error) {
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
	s := &session{hub: h, tenant: t, sock: sock, counters: counters, since: time.Now().UnixMilli()}
	h.clients.add(client, s)
	// The socket can be closed as soon as the registry knows it, so it must know its session by then.
	sock.Handle(s, &counters.sockets, h.loop)
	return s, nil
}

// disconnect takes a session out, wherever connect has got to. It returns false when it is out, or never was in.
func (h *Hub) disconnect(s *session) bool {
	s.mu.Lock()
	in := s.conn != nil && !s.ended
	s.ended = true
	s.mu.Unlock()
	if !in {
		return false
	}
	s.conn.Close()
	h.release(s)
	return true
}

// release counts a session out.
func (h *Hub) release(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients.remove(s)
	t := s.tenant
	t.conns--
	if t.conns == 0 {
		delete(h.tenants, t.name)
	}
}

// allTenants returns the hosts that have connections now.
func (h *Hub) allTenants() []*tenant {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*tenant, 0, len(h.tenants))
	for _, t := range h.tenants {
		all = append(all, t)
	}
	return all
}
