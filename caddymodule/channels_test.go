package caddymodule

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// askChannels checks the answer of /message/channels.
func askChannels(t *testing.T, h *Handler, host, body, want string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "http://"+host+"/message/channels", strings.NewReader(body))
	r.Header.Set("X-Api-Key", "k")
	w := serve(t, h, r)
	if w.Code != http.StatusCreated || w.Body.String() != want {
		t.Errorf("%s %s: status %d: %s, want %s", host, body, w.Code, w.Body, want)
	}
	checkTruth(t, w, "true", "")
}

func TestChannelsAreListedByKind(t *testing.T) {
	h := mustLoad(t, "http://portal.example.com, http://other.example.com {\n\trollcall {\n\t\tapi_key k\n\t}\n}").handler(t)
	const host, other = "portal.example.com", "other.example.com"
	askChannels(t, h, host, "", `{"authenticated":[],"anonymous":[]}`)
	ada := arrive(t, h, host, "ada", "", "salesRoom", "anonymousLobby", "Backstage")
	arrive(t, h, host, "", "", "anonymousChat", "anonymousLobby")
	arrive(t, h, other, "eve", "", "elsewhere")
	const all = `{"authenticated":["Backstage","salesRoom"],"anonymous":["anonymousChat","anonymousLobby"]}`
	askChannels(t, h, host, "", all)
	for _, scope := range []string{"pod", "dc", "all"} { // this pod is alone
		askChannels(t, h, host, `{"apiKey":"k","requireComplete":true,"unknown":1,"scope":"`+scope+`"}`, all)
	}
	askChannels(t, h, other, "", `{"authenticated":["elsewhere"],"anonymous":[]}`)
	ada.Close()
	askChannels(t, h, host, "", `{"authenticated":[],"anonymous":["anonymousChat","anonymousLobby"]}`)

	checkProblem(t, post(t, h, "/message/channels", `{"apiKey":"wrong"}`), http.StatusUnauthorized, "bad_key")
	checkProblem(t, post(t, h, "/message/channels", `{"apiKey":"k","scope":"world"}`), http.StatusBadRequest, "bad_value")
	get := httptest.NewRequest(http.MethodGet, "http://"+host+"/message/channels", http.NoBody)
	checkProblem(t, serve(t, h, get), http.StatusMethodNotAllowed, "method_not_allowed")
}

func TestPluginsDecideWhichChannelsAreListed(t *testing.T) {
	for _, test := range []struct{ name, options, want string }{
		{
			"classify", plugin(assemble(t, "rules"), ""),
			`{"authenticated":["counted","salesRoom"],"anonymous":["anonymousChat","openHouse"]}`,
		},
		{
			"members has no part in it", plugin(assemble(t, "rules"), "") + plugin(assemble(t, "mask"), ""),
			`{"authenticated":["counted","salesRoom"],"anonymous":["anonymousChat","openHouse"]}`,
		},
		{
			"shape", plugin(assemble(t, "shape"), "instances 1"),
			`{"call":1,"request":{"scope":"pod"},"answer":` +
				`{"authenticated":["counted","hidden","openHouse","salesRoom"],"anonymous":["anonymousChat"]}}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := loadPlugins(t, test.options)
			arrive(t, h, "portal.example.com", "ada", "", "openHouse", "hidden", "counted", "anonymousChat", "salesRoom")
			w := post(t, h, "/message/channels", `{"apiKey":"secret","scope":"pod"}`)
			if w.Code != http.StatusCreated || w.Body.String() != test.want {
				t.Errorf("status %d: %s, want %s", w.Code, w.Body, test.want)
			}
			if got := w.Header().Get("Content-Length"); got != fmt.Sprint(len(test.want)) {
				t.Errorf("Content-Length %s", got)
			}
		})
	}
}

func TestPluginFailureWithholdsTheNames(t *testing.T) {
	h := loadPlugins(t, plugin(assemble(t, "trap"), ""))
	checkProblem(t, post(t, h, "/message/channels", "{}"), http.StatusBadGateway, "plugin_failed")
}
