package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/clients"
	"github.com/rollcall-gateway/rollcall/docs"
	"github.com/rollcall-gateway/rollcall/presence"
)

func TestProvisionRefuses(t *testing.T) {
	pem := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(pem, []byte("not a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ROLLCALL_TEST_ID", "user-{id}")
	t.Setenv("ROLLCALL_TEST_STAR", "*-{id}")
	for _, test := range []struct {
		name, options string
		want          []string // parts of the error
	}{
		{"prefix without slash", "prefix message", []string{`prefix "message"`, "write it like /message"}},
		{"prefix with a slash at the end", "prefix /message/", []string{"write it like /message"}},
		{"prefix that is the root", "prefix /", []string{"write it like /message"}},
		{"prefix with dots", "prefix /a/../b", []string{"write it like /message"}},
		{"off beside a key", "api_key off k", []string{"api_key", "off stands alone", "remove it or the keys"}},
		{"key of an environment variable that is not set", "api_key {env.ROLLCALL_NO_SUCH_KEY}", []string{"api_key", "is its environment variable set?"}},
		{"misspelt placeholder", "api_key {evn.KEY}", []string{"api_key", "placeholder", "{env.NAME}"}},
		{"bad hash", "api_key sha256:abc", []string{"api_key", "64 hexadecimal digits"}},
		{"bad origin", "origins app.example.com", []string{`origin "app.example.com"`, "write it like https://app.example.com"}},
		{"bad kind", "channels {\ndefault private\n}", []string{"channels", "default", "use granted, authenticated or anonymous"}},
		{"own without an id", "channels {\nown user-*\n}", []string{"channels: own", `"user-*" does not end in {id}`, "like user-{id}"}},
		{"own with the id alone", "channels {\nown {id}\n}", []string{"channels: own", "no text before {id}", "like user-{id}"}},
		{"own with a star", "channels {\nown *-{id}\n}", []string{"channels: own", "has a *", "like user-{id}"}},
		{"own with two ids", "channels {\nown {id}-{id}\n}", []string{"channels: own", "twice"}},
		{"own twice", "channels {\nown user-{id} user-{id}\n}", []string{"channels: own", "one begins with the other", "change one"}},
		{"own within own", "channels {\nown user-inbox-{id} a-{id} user-{id}\n}", []string{"channels: own", `"user-inbox-{id}" and "user-{id}"`, "change one"}},
		{"own of an unset variable", "channels {\nown {env.ROLLCALL_NO_SUCH}{id}\n}", []string{"a.example.com", "channels: own", "{env.ROLLCALL_NO_SUCH}"}},
		{"id in granted", "channels {\ngranted team-{id}\n}", []string{"channels: granted", `"team-{id}" has {id}`, "own user-{id}"}},
		{"id in quiet", "channels {\nquiet a {id}-x\n}", []string{"channels: quiet", "{id}-x"}},
		{"id of a variable", "channels {\nanonymous {env.ROLLCALL_TEST_ID}\n}", []string{"channels: anonymous", "has {id}"}},
		{"star of a variable", "channels {\nown {env.ROLLCALL_TEST_STAR}\n}", []string{"channels: own", "has a *"}},
		{"small frame", "limits {\nframe 1\n}", []string{"limits", "frame and queue", "from 1KiB to 1GiB"}},
		{"small queue", "limits {\nqueue 1023\n}", []string{"limits", "from 1KiB to 1GiB"}},
		{"timeout below the interval", "ping 25s 20s", []string{"ping 25s 20s", "the timeout is longer"}},
		{"timeout like the interval", "ping 25s 25s", []string{"the timeout is longer"}},
		{"very short interval", "ping 1ms", []string{"at least 100ms"}},
		{"jwt without key", "jwt {\nissuer a\n}", []string{"jwt", "key"}},
		{"jwt with both", "jwt {\nkey 0123456789abcdef0123456789abcdef\njwks https://a.example/keys\n}", []string{"jwt"}},
		{"jwt with an unset variable", "jwt {\nkey {env.ROLLCALL_NO_SUCH_KEY}\n}", []string{"jwt: key is empty", "is its environment variable set?"}},
		{"jwt with a misspelt placeholder", "jwt {\nkey {evn.JWT_SECRET_OF_AT_LEAST_32_BYTES}\n}", []string{"jwt: key", "placeholder", "{env.NAME}"}},
		{"jwt with a file that is not there", "jwt {\nkey /no/such/key.pem\n}", []string{"jwt: reading the key", "/no/such/key.pem"}},
		{"jwt with a file that is no key", "jwt {\nkey " + pem + "\n}", []string{"jwt"}},
		{"jwt with an unknown algorithm", "jwt {\nkey 0123456789abcdef0123456789abcdef\nalgorithms HS1\n}", []string{"jwt", "HS1"}},
		{"jwt with the algorithm none", "jwt {\nkey 0123456789abcdef0123456789abcdef\nalgorithms none\n}", []string{"jwt", "none"}},
		{"jwt with a revocation of years", "jwt {\nkey 0123456789abcdef0123456789abcdef\nrevocation 10000h\n}", []string{"jwt: revocation 10000h0m0s", "up to 8784h0m0s"}},
		{"jwks of a file", "jwt {\njwks /etc/keys.json\n}", []string{"jwt", "key set", "https://issuer.example/keys"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, "http://a.example.com {\n\trollcall {\n"+test.options+"\n\t}\n}")
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
					t.Errorf("the error is %q, without %q", err, want)
				}
			}
		})
	}
}

// JSON can have values that the Caddyfile refuses.
func TestProvisionRefusesJSON(t *testing.T) {
	for _, test := range []struct{ name, json, want string }{
		{"long channel names", `{"limits":{"channel_name":4097}}`, "limits: channel_name is at most 4096"},
		{"negative names", `{"members":{"names":-1}}`, "members: names"},
		{"negative limit", `{"limits":{"channel_name":-1}}`, "limits: use positive numbers"},
		{"negative size", `{"limits":{"queue":-1}}`, "from 1KiB to 1GiB"},
		{"huge size", `{"limits":{"frame":1073741825}}`, "from 1KiB to 1GiB"},
		{"negative interval", `{"ping":{"interval":-1}}`, "at least 100ms"},
		{"negative timeout", `{"ping":{"timeout":-1}}`, "the timeout is longer"},
		{"unknown key", `{"apikey":"a"}`, `unknown field "apikey"`},
		{"empty key", `{"api_key":[""]}`, "number 1 is empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx := newContext(t, "{\n}", "")
			_, err := ctx.LoadModuleByID("http.handlers.rollcall", []byte(test.json))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestAppRefuses(t *testing.T) {
	for _, test := range []struct{ name, options, want string }{
		{"the name of the sum", "data_center _total", "choose another"},
		{"a name with spaces", `data_center "us east"`, "use 1 to 64 letters, digits, '.', '-' and '_'"},
		{"a long name", "pod " + strings.Repeat("x", 65), "use 1 to 64 letters"},
		{"a name that is a header", "pod a,b", "use 1 to 64 letters"},
		{"an unknown placeholder", "pod {evn.POD}", "use 1 to 64 letters"},
		{"a pod that is not set", "pod {env.ROLLCALL_TEST_NOT_SET}", "pod is empty: is its environment variable set?"},
		{"a data center that is not set", "data_center {env.ROLLCALL_TEST_NOT_SET}", "data_center is empty: is its environment variable set?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := loadedHub()
			_, err := load(t, "{\n\trollcall {\n\t\t"+test.options+"\n\t}\n}\nhttp://a.example.com {\n\trollcall\n}")
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if loadedHub() != before {
				t.Error("a configuration that failed left the hub behind")
			}
		})
	}
	t.Run("a negative timeout", func(t *testing.T) {
		_, err := newContext(t, "{\n}", "").LoadModuleByID("rollcall", []byte(`{"drain_timeout":-1}`))
		if err == nil || !strings.Contains(err.Error(), "use a positive duration") {
			t.Errorf("error %v", err)
		}
	})
}

func TestDefaults(t *testing.T) {
	c := mustLoad(t, "http://a.example.com {\n\trollcall\n}")
	host, _ := os.Hostname()
	if c.app.DataCenter != "local" || c.app.Pod != host || time.Duration(c.app.DrainTimeout) != 3*time.Second {
		t.Errorf("the app is %s %s %s", c.app.DataCenter, c.app.Pod, time.Duration(c.app.DrainTimeout))
	}
	h := c.handler(t)
	if h.Prefix != "/message" || h.User != nil || h.rollcall.Site.Verifier != nil {
		t.Errorf("the handler is %+v with %+v", h, h.rollcall.Site)
	}
	if want := (site.Limits{Frame: 64 << 10, Queue: 1 << 20, FramesPerSecond: 50, Channels: 128}); h.rollcall.Site.Limits != want {
		t.Errorf("the limits are %+v, want %+v", h.rollcall.Site.Limits, want)
	}
	if want := (site.Pings{Interval: 25 * time.Second, Timeout: 35 * time.Second}); h.rollcall.Site.Ping != want {
		t.Errorf("pings are %+v, want %+v", h.rollcall.Site.Ping, want)
	}
	rules := h.rollcall.Site.Rules()
	if rules.MaxChannels != 128 || rules.MaxHostChannels != 1_000_000 || rules.MaxName != 255 || rules.MaxConns != 100_000 {
		t.Errorf("the rules are %+v", rules)
	}
	for channel, want := range map[string]presence.Kind{"room": presence.Authenticated, "anonymousChat": presence.Anonymous} {
		if class, err := rules.Classifier.Classify(presence.HostName{}, channel); err != nil || class.Kind != want {
			t.Errorf("%s is %v, error %v", channel, class.Kind, err)
		}
	}
}

func TestConfiguredValues(t *testing.T) {
	t.Setenv("ROLLCALL_TEST_POD", "web-7")
	c := mustLoad(t, `{
	rollcall {
		data_center eu-west-1
		pod {env.ROLLCALL_TEST_POD}
		drain_timeout 5s
	}
}
http://a.example.com {
	rollcall {
		prefix /live
		user {http.vars.id}
		ping 10s
		channels {
			authenticated vip-*
			anonymous lobby-* vip-*
			default anonymous
		}
		limits {
			channels_per_connection 3
			channels_per_host 7
			channel_name 10
			frame 2KiB
			queue 4KiB
			connections_per_host 5
			frames_per_second 6
		}
	}
}`)
	if c.app.DataCenter != "eu-west-1" || c.app.Pod != "web-7" || time.Duration(c.app.DrainTimeout) != 5*time.Second {
		t.Errorf("the app is %s %s %s", c.app.DataCenter, c.app.Pod, time.Duration(c.app.DrainTimeout))
	}
	h := c.handler(t)
	if want := (site.Limits{Frame: 2 << 10, Queue: 4 << 10, FramesPerSecond: 6, Channels: 3}); h.rollcall.Site.Limits != want {
		t.Errorf("the limits are %+v, want %+v", h.rollcall.Site.Limits, want)
	}
	if want := (site.Pings{Interval: 10 * time.Second, Timeout: 20 * time.Second}); h.rollcall.Site.Ping != want {
		t.Errorf("pings are %+v, want %+v", h.rollcall.Site.Ping, want)
	}
	if want := (UserPlaceholders{ID: "{http.vars.id}"}); !reflect.DeepEqual(*h.User, want) {
		t.Errorf("the user is %+v", h.User)
	}
	for channel, want := range map[string]presence.Kind{
		"vip-1": presence.Authenticated, "lobby-1": presence.Anonymous, "other": presence.Anonymous,
	} {
		if class, _ := h.rollcall.Site.Rules().Classifier.Classify(presence.HostName{}, channel); class.Kind != want {
			t.Errorf("%s is %v", channel, class.Kind)
		}
	}
}

func TestServeHTTPPaths(t *testing.T) {
	h := loadHandler(t, "prefix /live\napi_key off")
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{http.MethodPost, "/live/users", http.StatusOK},
		{http.MethodPost, "/live/allusers", http.StatusOK},
		{http.MethodGet, "/live/client.js", http.StatusOK},
		{http.MethodGet, "/live/client.d.ts", http.StatusOK},
		{http.MethodGet, "/live/openapi.yaml", http.StatusOK},
		{http.MethodGet, "/live/socket", http.StatusUpgradeRequired},
		{http.MethodGet, "/", http.StatusTeapot},
		{http.MethodGet, "/live", http.StatusTeapot},
		{http.MethodGet, "/live/", http.StatusTeapot},
		{http.MethodGet, "/live/users/", http.StatusTeapot},
		{http.MethodGet, "/liveusers", http.StatusTeapot},
		{http.MethodPost, "/message/users", http.StatusTeapot},
		{http.MethodGet, "/other/live/client.js", http.StatusTeapot},
	} {
		w := serve(t, h, httptest.NewRequest(test.method, "http://portal.example.com"+test.path, http.NoBody))
		if w.Code != test.status {
			t.Errorf("%s %s: status %d, want %d", test.method, test.path, w.Code, test.status)
		}
	}
}

func TestServeClient(t *testing.T) {
	h := loadHandler(t, "")
	get := func(method, path, match string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://portal.example.com"+path, http.NoBody)
		if match != "" {
			r.Header.Set("If-None-Match", match)
		}
		return serve(t, h, r)
	}
	for path, want := range map[string][2]string{
		"/message/client.js":    {clients.JS, "text/javascript; charset=utf-8"},
		"/message/client.d.ts":  {clients.Types, "application/typescript; charset=utf-8"},
		"/message/openapi.yaml": {docs.OpenAPI, "application/yaml"},
	} {
		w := get(http.MethodGet, path, "")
		if w.Code != http.StatusOK || w.Body.String() != want[0] || w.Header().Get("Content-Type") != want[1] {
			t.Errorf("%s: status %d, %d bytes of %q", path, w.Code, w.Body.Len(), w.Header().Get("Content-Type"))
		}
		etag := w.Header().Get("ETag")
		if w := get(http.MethodGet, path, etag); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
			t.Errorf("%s with its ETag: status %d, %d bytes", path, w.Code, w.Body.Len())
		}
		if w := get(http.MethodGet, path, `"other"`); w.Code != http.StatusOK {
			t.Errorf("%s with another ETag: status %d", path, w.Code)
		}
		if w := get(http.MethodHead, path, ""); w.Code != http.StatusOK || w.Body.Len() > 0 || w.Header().Get("ETag") != etag {
			t.Errorf("HEAD %s: status %d, %d bytes", path, w.Code, w.Body.Len())
		}
		w = get(http.MethodPost, path, "")
		checkProblem(t, w, http.StatusMethodNotAllowed, "method_not_allowed")
		if got := w.Header().Get("Allow"); got != "GET, HEAD" {
			t.Errorf("Allow %q", got)
		}
	}
}

// The log has no key of a site. For a site without a key it has a warning.
func TestProvisionLogs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	ctx := newContext(t, `
http://a.example.com {
	rollcall
}
http://b.example.com {
	rollcall {
		api_key canary-key
		jwt {
			key canary-secret
		}
		backend http://app.example.com/rollcall {
			secret canary-secret-0123456789
		}
	}
}`, file)
	if _, err := ctx.App("http"); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), "no api_key: the endpoints answer 401"); n != 1 {
		t.Errorf("%d warnings about a missing key, want 1:\n%s", n, log)
	}
	for _, want := range []string{
		`or off to open them","site":"rollcall for a.example.com (`,
		`openssl rand -hex 32","site":"rollcall for b.example.com (`,
		`without encryption: use https","site":"rollcall for b.example.com (`,
	} {
		if !strings.Contains(string(log), want) {
			t.Errorf("the log has no %s:\n%s", want, log)
		}
	}
	if strings.Contains(string(log), "canary") {
		t.Errorf("the log shows a secret:\n%s", log)
	}
}

func TestModulesAreRegistered(t *testing.T) {
	for _, id := range []string{"rollcall", "http.handlers.rollcall", "admin.api.rollcall"} {
		info, err := caddy.GetModule(id)
		if err != nil {
			t.Error(err)
			continue
		}
		if m := info.New(); m.CaddyModule().ID != caddy.ModuleID(id) {
			t.Errorf("%s makes a %s", id, m.CaddyModule().ID)
		}
	}
}
