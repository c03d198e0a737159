package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestClientNet(t *testing.T) {
	for _, test := range []struct{ ip, want string }{
		{"192.0.2.1", "192.0.2.1/32"},
		{"::ffff:192.0.2.1", "192.0.2.1/32"},
		{"64:ff9b::192.0.2.1", "192.0.2.1/32"},
		{"64:ff9b:1::192.0.2.1", "64:ff9b:1::/64"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"2001:db8:1:2::", "2001:db8:1:2::/64"},
		{"fe80::1%eth0", "fe80::/64"},
		{"", "invalid Prefix"},
		{"@", "invalid Prefix"},
	} {
		w := httptest.NewRecorder()
		r := prepare(w, httptest.NewRequest(http.MethodPost, "/", nil))
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, test.ip)
		if got := clientNet(clientAddr(r)); got.String() != test.want {
			t.Errorf("%q: got %s, want %s", test.ip, got, test.want)
		}
	}
}
