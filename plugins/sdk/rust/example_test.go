package rust_test

import (
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/plugins/sdk/internal/guest"
)

const exampleFile = "../../../examples/naming-rules/naming-rules.wasm"

// The rules have unit tests in Rust; this tests the committed module.
func TestNamingRules(t *testing.T) {
	g := guest.New(t, guest.Read(t, exampleFile))
	config := []byte(`{"host":"h","plugin":"naming-rules","config":{"denied":"*-closed",` +
		`"authenticated":["vip-*","staff-*"],"anonymous":"lobby-*","hidden":"*-secret","count_only":"*-webinar","email_domain":{"acme-*":"acme.example"}}}`)
	if refused, err := g.Call("rollcall_configure", config); err != nil || refused != 0 {
		t.Fatalf("configure: %d, %v, log %q", refused, err, g.Logs)
	}
	for channel, want := range map[string]uint64{
		"team": 0, "vip-1": 1, "staff-1": 1, "lobby-1": 2, "lobby-closed": 3, "lobby-secret": 0x102, "team-webinar": 0x200,
	} {
		got, err := g.Call("rollcall_classify", guest.Request{Version: 1, Kind: 1, Host: "h", Channel: channel}.Encode())
		if err != nil || got != want {
			t.Errorf("classify %s: got %#x, %v; want %#x", channel, got, err, want)
		}
	}
	for email, want := range map[string]uint64{"ann@acme.example": 0, "eve@evil.example": 1, "": 1} {
		request := guest.Request{Version: 1, Kind: 1, Host: "h", Channel: "acme-1", User: "u", Email: email}
		if got, err := g.Call("rollcall_authorize", request.Encode()); err != nil || got != want {
			t.Errorf("authorize %s: got %d, %v; want %d", email, got, err, want)
		}
	}
}

func TestNamingRulesRefusesMistakes(t *testing.T) {
	g := guest.New(t, guest.Read(t, exampleFile))
	refused, err := g.Call("rollcall_configure", []byte(`{"host":"h","plugin":"p","config":{"hiden":"x"}}`))
	const want = "3 config.hiden: unknown; known are"
	if err != nil || refused == 0 || len(g.Logs) != 1 || !strings.HasPrefix(g.Logs[0], want) {
		t.Errorf("got %d, %v, log %q", refused, err, g.Logs)
	}
}
