package gateway

import (
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Offer offers a configuration. If there is no other, it takes effect at once.
func (h *Hub) Offer(s *Configuration) {
	if old := h.InEffect(); old != nil {
		s.inherit(old)
	}
	if h.configs.Load().ended {
		h.Assignments.Start(s.Cluster != nil) // before the first login looks into the book
	}
	h.mu.Lock()
	before := h.configs.Load()
	if before.ended {
		h.ending = nil
		h.draining.Store(false)
		h.joinedOnce.Store(false)
	}
	h.swap(before.with(s))
	h.mu.Unlock()
	if before.ended {
		h.copies.Reopen()
		h.events.Reopen()
		h.apply()
		return
	}
	<-h.clusterSteps.do(h.announceSites)
}

// TakeBack removes a configuration, if it was offered. The first of the remaining ones takes
// effect. If none remains, TakeBack returns when the drain has ended.
func (h *Hub) TakeBack(s *Configuration) {
	h.StartDrain(s, h.cfg.Exiting())
	last := h.IsLast(s)
	if last {
		h.finishDrain()
	}
	h.mu.Lock()
	rest, offered := h.configs.Load().without(s)
	h.swap(rest)
	s.Retired.Store(true)
	h.mu.Unlock()
	if offered && !last {
		h.apply()
	}
}

// Abandon closes the connections to sites of a configuration that Caddy gives up. The configuration
// need not have been offered: HTTP can start before the app rollcall, and accept connections to
// hosts of that configuration alone.
func (h *Hub) Abandon(retired *atomic.Bool) {
	h.mu.Lock()
	retired.Store(true)
	h.mu.Unlock()
	for _, t := range h.allTenants() {
		if t.site().Retired == retired {
			h.closeHost(t.name)
		}
	}
}

// swap replaces the configurations. From then on, the first one decides for every host. The lock is
// held.
func (h *Hub) swap(next *configurations) {
	h.configs.Store(next)
	if now := next.inEffect(); now != nil {
		h.log.setTarget(now.Logger, true)
	}
}

// apply updates everything that outlives a configuration after another one took effect. The new
// rules already hold, so only the reload waits for apply.
func (h *Hub) apply() {
	now := h.InEffect()
	if now == nil {
		return
	}
	h.Assignments.Start(now.Cluster != nil)
	joined := h.clusterSteps.do(h.applyCluster)
	h.copies.Refresh()
	h.events.Refresh()
	h.speaker.Refresh()

	var served []*tenant
	for _, t := range h.allTenants() {
		if of, ok := t.find(); ok {
			served = append(served, t)
			h.closeUnserved(t.name, of)
			continue
		}
		closed := h.closeHost(t.name)
		now.Logger.Info("host left the configuration",
			zap.Stringer("host", t.name), zap.Int("connections", closed))
	}
	h.reclassify(served)
	<-joined
	h.logInUse(now)
}

// closeHost closes the connections of a host that is no longer served, and returns their number.
func (h *Hub) closeHost(name presence.HostName) int {
	host := h.Registry.Host(name)
	if host == nil {
		return 0
	}
	host.Retire() // the connections are not lost, so there is no grace period
	sessions := sessionsOf(host)
	for _, s := range sessions {
		s.Close(socket.CloseGoingAway, "host removed", socket.ReasonHost)
	}
	return len(sessions)
}

// closeUnserved closes the connections of a host whose protocol the site no longer serves.
func (h *Hub) closeUnserved(name presence.HostName, of *site.Site) {
	host := h.Registry.Host(name)
	if host == nil {
		return
	}
	for _, s := range sessionsOf(host) {
		if !s.protocol.Serves(of) {
			s.Close(socket.CloseGoingAway, "removed from the configuration", socket.ReasonHost)
		}
	}
}

// updateSite makes new rules for a site after one of its plugins was replaced.
func (h *Hub) updateSite(of *site.Site) {
	of.MakeRules()
	h.speaker.Refresh() // plugins name users
	var served []*tenant
	for _, t := range h.allTenants() {
		if t.site() == of {
			served = append(served, t)
		}
	}
	h.reclassify(served)
}

// maxAsked is how many hosts with plugins reclassify handles at a time: each may need a plugin
// instance.
const maxAsked = 64

// reclassify applies changed rules to the channels and assignments of hosts. A host with a slow
// plugin does not delay the others.
func (h *Hub) reclassify(tenants []*tenant) {
	var asking []*tenant
	for _, t := range tenants {
		if t.site().Chain.Has(plugins.HookClassify) {
			asking = append(asking, t)
			continue
		}
		h.reclassifyHost(t.name)
	}
	slots := make(chan struct{}, maxAsked)
	var all sync.WaitGroup
	for _, t := range asking {
		slots <- struct{}{}
		all.Go(func() { // ends by the timeouts of the plugins
			defer func() { <-slots }()
			h.reclassifyHost(t.name)
		})
	}
	all.Wait()
}

func (h *Hub) reclassifyHost(name presence.HostName) {
	if host := h.Registry.Host(name); host != nil {
		host.Reclassify() // calls afterReclassify
	}
}

// afterReclassify updates the listeners of a host after its channels were classified again.
func (h *Hub) afterReclassify(host *presence.Host) {
	h.Assignments.Joiner.Recheck(host)
	h.askAgain(host)
}
