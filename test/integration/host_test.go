package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// A backend whose HTTP client derives Host from the address names the host in the body.
func TestHostInTheBody(t *testing.T) {
	const block = "%s {\n rollcall {\n api_key %s\n }\n}\n"
	load(t, caddyfile("", fmt.Sprintf(block, "http://portal.example.com:9080, http://*.example.net:9080, http://127.0.0.1:9080", apiKey)+
		strings.Replace(fmt.Sprintf(block, "http://guarded.example.org:9080", apiKey), "api_key", "api_from 192.0.2.1\n api_key", 1)+fmt.Sprintf(block, "http://other.example.org:9080", "BFAPI_other")))
	local := ws.Site{URL: siteURL, Key: apiKey}
	portal := portalHost.Dial(t)
	portal.Join(t, "anonymousChat")
	wild := portalHost
	wild.Host = "a.example.net"
	wild.Dial(t).Join(t, "anonymousWild")
	ask := func(endpoint, key, more string) ws.Answer {
		return local.Request(t, "POST", "/message/"+endpoint, `{"apiKey":"`+key+`"`+more+`}`)
	}

	for _, host := range []string{"portal.example.com", "Portal.EXAMPLE.com.", "portal.example.com:9080", `portal\u002eexample.com`} {
		local.Expect(t, "users", `{"channel":"anonymousChat","host":"`+host+`"}`, `{"anonymousChat":1}`)
	}
	local.Expect(t, "users", `{"channel":"anonymousWild","host":"a.example.net"}`, `{"anonymousWild":1}`)
	local.Expect(t, "users", `{"channel":"anonymousWild","host":"b.example.net"}`, `{}`)
	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]:9080"} {
		local.Expect(t, "users", `{"host":"`+host+`"}`, `{}`)
	}
	const channels = `,"channels":["anonymousChat"],"message":{"a":1},"host":"portal.example.com"`
	if a := ask("sendmessage", apiKey, channels); a.Status != http.StatusCreated {
		t.Errorf("sendmessage: status %d: %s", a.Status, a.Body)
	}
	if frame := portal.Next(t); !strings.Contains(frame, `"message":{"a":1}`) {
		t.Errorf("the portal receives %s", frame)
	}
	for endpoint, want := range map[string]int{"channels": 201, "allusers": 200} {
		if a := ask(endpoint, apiKey, `,"host":"portal.example.com"`); a.Status != want {
			t.Errorf("%s: status %d: %s", endpoint, a.Status, a.Body)
		}
	}

	for _, host := range []string{"other.example.org", "nobody.example.com", "a.b.example.net", "127.0.0.2"} {
		for _, endpoint := range []string{"users", "adduser", "sendmessage"} {
			expectProblem(t, ask(endpoint, apiKey, `,"host":"`+host+`"`), http.StatusMisdirectedRequest, "misdirected")
			// A client without a key learns nothing about hosts.
			a := ask(endpoint, "", `,"host":"`+host+`"`)
			expectProblem(t, a, http.StatusUnauthorized, "bad_key")
		}
	}
	// The same key is not enough for a host that requires another address.
	expectProblem(t, ask("users", apiKey, `,"host":"guarded.example.org"`), http.StatusForbidden, "bad_address")
	for _, host := range []string{`7`, `null`, `""`, `"a..b"`, `"portal.example.com:x"`, `["portal.example.com"]`} {
		expectProblem(t, ask("users", apiKey, `,"host":`+host), http.StatusBadRequest, "bad_value")
		expectProblem(t, ask("users", "", `,"host":`+host), http.StatusUnauthorized, "bad_key")
	}
	for range 10 {
		expectProblem(t, ask("users", "wrong", `,"host":"other.example.org"`), http.StatusUnauthorized, "bad_key")
	}
	expectProblem(t, ask("users", apiKey, `,"host":"other.example.org"`), http.StatusTooManyRequests, "too_many_bad_keys")
}
