package integration

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// Tenants with keys and token secrets of their own.
const (
	keyOfA, keyOfB       = "key-of-a", "key-of-b"
	secretOfA, secretOfB = "secret-of-a-0123456789abcdef0123456789", "secret-of-b-0123456789abcdef0123456789"
)

func tenant(address, matcher, key, secret, options string) string {
	return fmt.Sprintf("%s {\n%s\n}\n", address, rollcallOf(matcher, key, secret, options))
}

func rollcallOf(matcher, key, secret, options string) string {
	return fmt.Sprintf("rollcall %s {\n api_key %s\n jwt {\n key %s\n }\n %s\n}", matcher, key, secret, options)
}

func tokenBy(t *testing.T, secret string) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, []byte(secret), claims("USER_1", "a@example.com", 0), "")
}

// statusFor asks for users with a Host header, unchanged.
func statusFor(t *testing.T, address, target, host, key string) int {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, ws.Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(ws.Patience))
	body := fmt.Sprintf(`{"apiKey":%q}`, key)
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		target, host, len(body), body)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%s: %v", host, err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// Caddy routes by the Host header as written; a host is the same in all spellings.
func TestKeyOfAnotherSiteOpensNoHost(t *testing.T) {
	load(t, caddyfile("", tenant("http://portal-a.example.com:9080, http://127.0.0.1:9080, http://[::1]:9080, http://xn--bcher-kva.example:9080", "", keyOfA, secretOfA, "")+
		tenant("http://:9080", "", keyOfB, secretOfB, "")))
	const address = "127.0.0.1:9080"
	for _, host := range []string{
		"portal-a.example.com", "portal-a.example.com.", "PORTAL-A.example.com.:9080", "ｐortal-a.example.com", "portal-a。example.com",
		"127.0.0.1", "127.0.0.1.", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]:9080", "[::1]", "[0:0::1]", "[::1]:", "xn--bcher-kva.example.", "bücher.example", "BÜCHER.example.",
	} {
		if got := statusFor(t, address, "/message/users", host, keyOfB); got == http.StatusOK {
			t.Errorf("%s: the key of another site opens it", host)
		}
		if got := statusFor(t, address, "http://"+host+"/message/users", "other.example.com", keyOfB); got == http.StatusOK {
			t.Errorf("%s as absolute target: the key of another site opens it", host)
		}
	}
	for host, want := range map[string]int{
		"portal-a.example.com": http.StatusOK, "127.0.0.1": http.StatusOK, "portal-a.example.com.": http.StatusMisdirectedRequest,
		"[::ffff:127.0.0.1]": http.StatusMisdirectedRequest,
	} {
		if got := statusFor(t, address, "/message/users", host, keyOfA); got != want {
			t.Errorf("%s with its own key: status %d, want %d", host, got, want)
		}
	}
	if got := statusFor(t, address, "/message/users", "other.example.com.", keyOfB); got != http.StatusOK {
		t.Errorf("a host of the catch-all: status %d", got)
	}

	misdirected := ws.Site{URL: siteURL, Host: "portal-a.example.com."}
	expectStatus(t, withHeader(misdirected, "Authorization", "Bearer "+tokenBy(t, secretOfB)), http.StatusMisdirectedRequest)
	expectStatus(t, misdirected.Socket(), http.StatusMisdirectedRequest)
	for _, endpoint := range []string{"adduser", "removeuser", "sendmessage", "channels", "allusers"} {
		a := misdirected.Request(t, http.MethodPost, "/message/"+endpoint, `{"apiKey":"`+keyOfB+`"}`, "Content-Type", "application/json")
		if a.Status != http.StatusMisdirectedRequest || !strings.Contains(a.Body, `"code":"misdirected"`) || strings.Contains(a.Body, "portal-a") {
			t.Errorf("%s: status %d: %s", endpoint, a.Status, a.Body)
		}
	}
	metrics := admin(t, http.MethodGet, "/metrics").Body
	for _, want := range []string{`caddy_rollcall_upgrades_rejected_total{reason="misdirected"} 2`, `request_duration_seconds_count{code="421",endpoint="users"}`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// The order of the listeners does not decide which site owns a host.
func TestCatchAllOnAnotherListenerOwnsNoNamedHost(t *testing.T) {
	for _, ports := range [][2]string{{"9080", "9081"}, {"9081", "9080"}} {
		t.Run("catch-all on "+ports[0], func(t *testing.T) {
			load(t, caddyfile("", tenant("http://:"+ports[0], "", keyOfB, secretOfB, "channels {\n default anonymous\n }")+
				tenant("http://a.example.com:"+ports[1], "", keyOfA, secretOfA, "")))
			a := ws.Site{URL: "http://127.0.0.1:" + ports[1], Host: "a.example.com", Key: keyOfA}
			c := a.Dial(t, "Authorization", "Bearer "+tokenBy(t, secretOfA))
			expectUser(t, c, &ws.User{ID: "USER_1", Email: "a@example.com"})
			expectStatus(t, withHeader(a, "Authorization", "Bearer "+tokenBy(t, secretOfB)), http.StatusUnauthorized)
			guest := a.Dial(t)
			guest.Send(t, `{"type":"authenticate","token":"`+tokenBy(t, secretOfA)+`","id":1}`)
			guest.Expect(t, `{"type":"authenticated","id":1,"user":{"id":"USER_1","email":"a@example.com"}}`)
			guest = a.Dial(t)
			guest.Send(t, `{"type":"authenticate","token":"`+tokenBy(t, secretOfB)+`","id":2}`)
			guest.ExpectError(t, "2", "bad_token")
			guest.Send(t, `{"type":"join","channel":"room","id":3}`)
			guest.ExpectError(t, "3", "login_required")
			if got := statusFor(t, "127.0.0.1:"+ports[0], "/message/users", "a.example.com", keyOfB); got != http.StatusMisdirectedRequest {
				t.Errorf("the catch-all answers %d for a.example.com", got)
			}
		})
	}
}

// Two equally specific sites for one host are refused, whatever distinguishes their requests.
func TestHostOfTwoSitesIsAnError(t *testing.T) {
	load(t, portal(""))
	a, b := func(m string) string { return rollcallOf(m, keyOfA, secretOfA, "") }, func(m string) string { return rollcallOf(m, keyOfB, secretOfB, "") }
	for _, test := range []struct{ name, sites, want string }{
		{
			"expressions",
			"http://:9080 {\n@a expression host('a.example.com')\n@b expression host('b.example.com')\n" + a("@a") + "\n" + b("@b") + "\n}",
			"every host and differ in api_key, jwt.key",
		},
		{
			"a header",
			"http://a.example.com:9080 {\n@a header X-Tenant a\n" + a("@a") + "\n" + b("") + "\n}",
			"are both for a.example.com and differ in",
		},
		{
			"other spellings",
			"http://a.example.com:9080 {\n" + a("") + "\n}\nhttp://:9081 {\n@a host A.EXAMPLE.com.\n" + b("@a") + "\n}",
			"are both for a.example.com",
		},
		{
			"two listeners",
			"http://a.example.com:9080 {\n" + a("") + "\n}\nhttp://a.example.com:9081 {\n" + b("") + "\n}",
			"write one block with both addresses (http://a.example.com:908",
		},
		{
			"localhost",
			"http://localhost:9080 {\n" + a("") + "\n}\nhttp://localhost:9081 {\n" + b("") + "\n}",
			"a.localhost:908",
		},
		{
			"patterns that overlap",
			"http://a.*.com:9080 {\n" + a("") + "\n}\nhttp://*.b.com:9081 {\n" + b("") + "\n}",
			"are both for a.b.com",
		},
		{
			"the less specific first",
			"http://*.example.com:9080 {\n@a host a.example.com\nroute {\n" + b("") + "\n" + a("@a") + "\n}\n}",
			"which is more specific and so owns a.example.com",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, body, err := post(caddyfile("", test.sites))
			if err != nil || status == http.StatusOK || !strings.Contains(body, test.want) {
				t.Errorf("status %d: %s (%v), want an error with %q", status, body, err, test.want)
			}
			for _, secret := range []string{keyOfA, keyOfB, secretOfA, secretOfB} {
				if strings.Contains(body, secret) {
					t.Errorf("the error shows %s", secret)
				}
			}
		})
	}
	if got := portalHost.Answer(t, "users", "{}"); got != "{}" {
		t.Errorf("the configuration of before answers %s", got)
	}
}

// A request that waits in an earlier handler belongs to the owner of its host when it reaches
// Rollcall.
func TestRequestThatWaitsThroughAReload(t *testing.T) {
	for _, ports := range [][2]string{{"9080", "9081"}, {"9081", "9080"}} {
		t.Run("catch-all on "+ports[0], func(t *testing.T) {
			waiting, release := make(chan struct{}, 8), make(chan struct{})
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				waiting <- struct{}{}
				<-release
				w.Header().Set("Remote-User", "MALLORY")
			}))
			defer upstream.Close()
			guard := "forward_auth " + strings.TrimPrefix(upstream.URL, "http://") + " {\n uri /auth\n copy_headers Remote-User\n }\n"
			sites := func(guard, options string) string {
				return caddyfile("", tenant("http://:"+ports[0], "", keyOfB, secretOfB, "")+
					"http://a.example.com:"+ports[1]+" {\n"+guard+rollcallOf("", keyOfA, secretOfA, options)+"\n}\n")
			}
			load(t, sites(guard, ""))
			answers := make(map[string]chan int)
			for _, key := range []string{keyOfA, keyOfB} {
				answer := make(chan int, 1)
				answers[key] = answer
				go func() { answer <- statusFor(t, "127.0.0.1:"+ports[1], "/message/users", "a.example.com", key) }()
				<-waiting
			}
			reload(t, sites("", "grace 1s")) // returns when the previous configuration has stopped
			close(release)
			if got := <-answers[keyOfB]; got == http.StatusOK {
				t.Error("the key of another site opens the host")
			}
			if got := <-answers[keyOfA]; got != http.StatusOK && got != http.StatusServiceUnavailable {
				t.Errorf("the key of the host answers %d", got)
			}
		})
	}
}

// The current api_from applies to a waiting request, not the one when it came.
func TestAddressOfARequestThatWaitsThroughAReload(t *testing.T) {
	const mine, others = "api_from 127.0.0.1", "api_from 192.0.2.1"
	for _, test := range []struct {
		before, after string
		want          int
	}{
		{"", others, http.StatusForbidden},
		{others, "", http.StatusOK},
		{others, mine, http.StatusOK},
		{mine, others, http.StatusForbidden},
		{"", "\n}\n@internal path /internal/*\nhandle @internal {\nuri strip_prefix /internal\n" +
			"rollcall {\napi_key " + keyOfA + "\n" + others + "\n}", http.StatusServiceUnavailable},
	} {
		t.Run(test.before+" and then "+test.after, func(t *testing.T) {
			waiting, release := make(chan struct{}, 1), make(chan struct{})
			upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				waiting <- struct{}{}
				<-release
			}))
			defer upstream.Close()
			site := func(guard, options string) string {
				return caddyfile("", "http://a.example.com:9080 {\n"+guard+"\nrollcall {\napi_key "+keyOfA+"\n"+options+"\n}\n}\n")
			}
			load(t, site("forward_auth "+strings.TrimPrefix(upstream.URL, "http://")+" {\nuri /auth\n}", test.before))
			answer := make(chan int, 1)
			go func() { answer <- statusFor(t, "127.0.0.1:9080", "/message/users", "a.example.com", keyOfA) }()
			<-waiting
			reload(t, site("", test.after))
			close(release)
			if got := <-answer; got != test.want {
				t.Errorf("status %d, want %d", got, test.want)
			}
		})
	}
}

// Users that the previous configuration has authenticated are anonymous to a site with other
// settings.
func TestLoginThatWaitsThroughAReload(t *testing.T) {
	for options, want := range map[string]int{
		"":         http.StatusSwitchingProtocols,
		"grace 1s": http.StatusServiceUnavailable,
	} {
		t.Run(options, func(t *testing.T) {
			waiting, release := make(chan struct{}, 1), make(chan struct{})
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				waiting <- struct{}{}
				<-release
				w.Header().Set("Remote-User", "USER_1")
			}))
			defer upstream.Close()
			site := func(guard, options string) string {
				return portal("user {http.request.header.Remote-User}\n" + options + "\n}\n" + guard + "\nvars {\n a b")
			}
			guard := "forward_auth " + strings.TrimPrefix(upstream.URL, "http://") + " {\n uri /auth\n copy_headers Remote-User\n }\n"
			load(t, site(guard, ""))
			status := make(chan int, 1)
			go func() {
				_, resp := ws.Open(t, portalHost.Socket())
				status <- resp.StatusCode
			}()
			<-waiting
			reload(t, site("", options))
			close(release)
			if got := <-status; got != want {
				t.Errorf("status %d, want %d", got, want)
			}
		})
	}
}

// A user's messages go to the backend of the site that owns the host, and that site's plugins
// decide on joins.
func TestBackendAndPluginsAreThoseOfTheOwner(t *testing.T) {
	rules := install(t, "rules", guest(t, "rules"))
	others := install(t, "others", guest(t, "rules", openLetter, "(i32.const 0x73)) ;; s"))
	for _, ports := range [][2]string{{"9080", "9081"}, {"9081", "9080"}} {
		t.Run("catch-all on "+ports[0], func(t *testing.T) {
			copied := make(chan string, 8)
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { copied <- r.URL.Path }))
			defer server.Close()
			options := func(path, plugin string) string {
				return fmt.Sprintf("backend %s%s {\n secret 0123456789abcdef0123\n }\n", server.URL, path) + pluginOption(plugin, "")
			}
			load(t, caddyfile("", tenant("http://:"+ports[0], "", keyOfB, secretOfB, options("/b", others))+
				tenant("http://a.example.com:"+ports[1], "", keyOfA, secretOfA, options("/a", rules))))
			a := ws.Site{URL: "http://127.0.0.1:" + ports[1], Host: "a.example.com", Key: keyOfA}
			assigned(t, a, "adduser", `[{"id":"USER_1","channels":[{"name":"secrets","mode":"receive"}]}]`)
			t.Cleanup(func() { assigned(t, a, "removeuser", `[{"id":"USER_1"}]`) })
			c := a.Dial(t, "Authorization", "Bearer "+tokenBy(t, secretOfA))
			c.Expect(t, `{"type":"joined","channel":"secrets","kind":"authenticated"}`)
			c.Ask(t, `{"type":"send","channels":["secrets"],"message":{"n":1},"id":1}`, `{"type":"sent","id":1}`)
			select {
			case path := <-copied:
				if path != "/a" {
					t.Errorf("the message is copied to %s", path)
				}
			case <-time.After(ws.Patience):
				t.Error("the message is not copied")
			}
			visitor := a.Dial(t)
			visitor.Join(t, "open") // the plugin of the catch-all would allow only names that start with s
			visitor.Send(t, `{"type":"join","id":1,"channel":"stage"}`)
			visitor.ExpectError(t, "1", "login_required")
		})
	}
}
