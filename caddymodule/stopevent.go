package caddymodule

import (
	"context"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

// subscribeStop subscribes to the event that Caddy emits before it stops any app. Caddy stops its apps in no order, and
// HTTP waits there for open connections: Stop alone can come too late. The event is experimental, and a handler of
// another module can block or abort it, so Stop starts the drain too.
func (a *App) subscribeStop() error {
	events, err := a.ctx.App("events")
	if err != nil {
		return fmt.Errorf("finding Caddy's events: %w", err)
	}
	if err := events.(*caddyevents.App).On("stopping", stopHandler{a}); err != nil {
		return fmt.Errorf("subscribing to the stop of Caddy: %w", err)
	}
	return nil
}

// stopHandler starts the drain. It is not a method of App, because Caddy's debug log prints a handler as JSON, and an App
// has secrets.
type stopHandler struct{ app *App }

// Handle implements caddyevents.Handler.
func (s stopHandler) Handle(context.Context, caddy.Event) error {
	if s.app.snapshot != nil {
		s.app.hub.StartDrain(s.app.snapshot, caddy.Exiting())
	}
	return nil
}

var _ caddyevents.Handler = stopHandler{}
