package gateway

import (
	"errors"
	"net/netip"
	"slices"
)

// errTooManyFromAddress is returned when a client has as many connections to a site as
// connections_per_address allows.
var errTooManyFromAddress = errors.New("too many connections from this address")

// addressConns counts connections by client address, for sites with connections_per_address. The
// zero value is ready to use. Hub.mu guards it.
type addressConns struct {
	clients  map[netip.Prefix][]hostConns // see Door.Client
	sessions map[*Session]netip.Prefix
}

// hostConns is the number of connections of one client to a host.
type hostConns struct {
	tenant *tenant
	n      int
}

// admit returns errTooManyFromAddress if the client is at the limit of the tenant's site. The hosts
// of a site count together, because on a site for many hosts a client chooses the name.
func (a *addressConns) admit(client netip.Prefix, to *tenant) error {
	site := to.site()
	if site.Limits.PerAddress == 0 || !client.IsValid() {
		return nil
	}
	n := 0
	for _, c := range a.clients[client] {
		if c.tenant.site() == site {
			n += c.n
		}
	}
	if n >= site.Limits.PerAddress {
		return errTooManyFromAddress
	}
	return nil
}

// add counts a session of a client, unless its site has no limit.
func (a *addressConns) add(client netip.Prefix, s *Session) {
	if s.tenant.site().Limits.PerAddress == 0 || !client.IsValid() {
		return
	}
	if a.clients == nil {
		a.clients, a.sessions = make(map[netip.Prefix][]hostConns), make(map[*Session]netip.Prefix)
	}
	a.sessions[s] = client
	hosts := a.clients[client]
	if i := slices.IndexFunc(hosts, func(c hostConns) bool { return c.tenant == s.tenant }); i >= 0 {
		hosts[i].n++
		return
	}
	a.clients[client] = append(hosts, hostConns{s.tenant, 1})
}

// remove uncounts a session, if it was counted.
func (a *addressConns) remove(s *Session) {
	client, ok := a.sessions[s]
	if !ok {
		return
	}
	delete(a.sessions, s)
	hosts := a.clients[client]
	i := slices.IndexFunc(hosts, func(c hostConns) bool { return c.tenant == s.tenant })
	if hosts[i].n--; hosts[i].n > 0 {
		return
	}
	if hosts = slices.Delete(hosts, i, i+1); len(hosts) > 0 {
		a.clients[client] = hosts
		return
	}
	delete(a.clients, client)
}
