package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// Caddy ends requests after a minute without bytes. A websocket is no longer a request, even if its
// pings are further apart.
func TestIdleSocketOutlivesIdleTimeouts(t *testing.T) {
	t.Parallel()
	p := start(t, setup{options: "ping 5m"})
	crowd := ws.Gather(t, 10, func(int) ws.Plan {
		return ws.Plan{Request: p.site.Socket(), Joins: []string{`{"type":"join","channel":"anonymousChat","presence":"count"}`}}
	})
	crowd.Settle(t)
	<-time.After(70 * time.Second) // the time itself is under test
	if open := crowd.Open(); open != len(crowd.Members) {
		t.Errorf("%d of %d sockets are open", open, len(crowd.Members))
	}
	crowd.Settle(t)
	p.site.Expect(t, "users", `{"channel":"anonymousChat"}`, fmt.Sprintf(`{"anonymousChat":%d}`, len(crowd.Members)))
}
