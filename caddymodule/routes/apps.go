package routes

import (
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
)

// appReach says which requests of the Pusher protocol reach a handler. A site can have a handler
// for each path, as with three handle blocks, so one that gets none of a kind is no error by
// itself.
type appReach struct{ sockets, api arrivals }

// arrivals are those of one kind.
type arrivals struct {
	arrive   bool      // a request reaches the handler
	obstacle *obstacle // what all requests that its routes are for have met; nil if they are for none
	reach    *reach    // the way with the obstacle
}

// ReachApps looks for what stands before a handler on a way to it, for requests of the Pusher
// protocol. [Owners.CheckApps] says what it has found at all handlers of a site.
func (h *Rollcall) ReachApps(w *Way) {
	switch {
	case !h.hasApps() || w.Named: // the ways to a named route come later
	case !w.isKnown():
		h.apps.sockets.arrive, h.apps.api.arrive = true, true
	default:
		r := newReach(w, h.Endpoints)
		h.apps.sockets.add(r, r.sendKind(socketKind, true))
		h.apps.api.add(r, r.sendKind(apiKind, true))
	}
}

func (a *arrivals) add(r *reach, s sent) {
	if s.served > len(s.lost) {
		a.arrive = true
		return
	}
	if s.served == 0 || a.obstacle != nil && a.obstacle.err(a.reach.Endpoints) != nil {
		return
	}
	a.reach, a.obstacle = r, r.fatal(s.lost)
	if a.obstacle == nil {
		a.obstacle = s.lost[0]
	}
}

// CheckApps returns an error if no client of the Pusher protocol gets to a site that has apps, by
// any of its handlers. It warns if no backend does.
func (o *Owners) CheckApps(of *site.Site, logger *zap.Logger) error {
	if doors := o.doors[of]; len(doors) == 0 || !doors[0].hasApps() {
		return nil
	}
	d := o.doors[of][0]
	log := logger.With(zap.Stringer("site", d))
	sockets := o.arrivalsOf(of, func(a *appReach) *arrivals { return &a.sockets })
	api := o.arrivalsOf(of, func(a *appReach) *arrivals { return &a.api })
	switch {
	case sockets.arrive:
	case sockets.obstacle == nil:
		return fmt.Errorf("%s: pusher: its matchers let no client through to /app/%s: write %s", d, d.AppKey, d.handle())
	case sockets.obstacle.err(d.Endpoints) != nil:
		return fmt.Errorf("%s: pusher: clients do not get to /app/%s: %w", d, d.AppKey, sockets.obstacle.err(d.Endpoints))
	default:
		log.Warn("rollcall gets no clients of the Pusher protocol: another route answers them before",
			zap.String("by", sockets.obstacle.by), zap.String("path", "/app/"+d.AppKey))
	}
	switch {
	case api.arrive:
	case api.obstacle == nil:
		log.Warn("rollcall gets no requests for the HTTP API of its apps, because its matchers let none through: write a matcher with all paths",
			zap.String("path", strings.Join(d.patterns(), " ")))
	default:
		log.Warn("rollcall gets no requests for the HTTP API of its apps: another route answers them before",
			zap.String("by", api.obstacle.by), zap.String("path", "/apps/"+d.AppID))
	}
	return nil
}

// arrivalsOf returns the best of the arrivals at the handlers of a site.
func (o *Owners) arrivalsOf(of *site.Site, kind func(*appReach) *arrivals) arrivals {
	var best arrivals
	for _, d := range o.doors[of] {
		a := kind(&d.apps)
		if a.arrive {
			return *a
		}
		if best.obstacle == nil {
			best = *a
		}
	}
	return best
}
