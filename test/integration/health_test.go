package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	dispenser "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

func init() {
	caddy.RegisterModule(lateApp{})
	httpcaddyfile.RegisterGlobalOption("late", func(_ *dispenser.Dispenser, _ any) (any, error) {
		return httpcaddyfile.App{Name: "late", Value: []byte("{}")}, nil
	})
}

// lateApp is an app that Caddy starts before or after the others, and that asks for the health
// meanwhile.
type lateApp struct{}

// healthOfLate is what the latest lateApp was answered.
var healthOfLate ws.Answer

// CaddyModule returns the Caddy module information.
func (lateApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "late", New: func() caddy.Module { return new(lateApp) }}
}

// Start implements caddy.App.
func (lateApp) Start() (err error) {
	healthOfLate, err = ws.Site{URL: adminURL}.Do(http.MethodGet, "/rollcall/health", "")
	return err
}

// Stop implements caddy.App.
func (lateApp) Stop() error { return nil }

// Caddy starts its apps in no order. HTTP may not listen yet while one of them starts.
func TestHealthIsStartingUntilCaddyHasStarted(t *testing.T) {
	file := caddyfile("late\n rollcall {\n data_center us-east-1\n pod web-1\n }", portalSite(""))
	for range 100 {
		load(t, file)
		if healthOfLate.Status != http.StatusServiceUnavailable || !strings.Contains(healthOfLate.Body, `"status":"starting"`) {
			t.Fatalf("health while an app starts: %d %s", healthOfLate.Status, healthOfLate.Body)
		}
		if got := admin(t, http.MethodGet, "/rollcall/health"); got.Status != http.StatusOK {
			t.Fatalf("health: %d %s", got.Status, got.Body)
		}
		if strings.Contains(healthOfLate.Body, `"pod"`) {
			return
		}
	}
	t.Error("Caddy has never started rollcall before late")
}

var _ caddy.App = lateApp{}
