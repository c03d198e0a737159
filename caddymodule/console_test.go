package caddymodule

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// consoleFile is a Caddyfile with a console for two hosts, and another site that it must not show.
// A header stands for what a handler authenticates.
func consoleFile(console string) string {
	const other = "http://elsewhere.example.com {\n\trollcall {\n\t\tapi_key off\n\t}\n}\n"
	return "http://portal.example.com {\n" + console + "\n\trollcall {\n\t\tapi_key off\n\t}\n}\n" + other
}

// once records an answer, and ends its request after the first flush: a stream would go on.
type once struct {
	*httptest.ResponseRecorder

	end func()
}

func (o once) Flush() {
	o.ResponseRecorder.Flush()
	o.end()
}

// ask sends a request to the routes of a configuration.
func (c configured) ask(t testing.TB, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	return c.askAt(t, "", r)
}

// askAt sends a request to the routes of the server with an address, "" for all servers.
func (c configured) askAt(t testing.TB, listen string, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	w := once{httptest.NewRecorder(), end}
	for _, server := range c.http.Servers {
		if listen != "" && !slices.Contains(server.Listen, listen) {
			continue
		}
		asked := caddyhttp.PrepareRequest(r.WithContext(ctx), caddy.NewReplacer(), w, server)
		err := server.Routes.Compile(notFound).ServeHTTP(w, asked)
		if refused, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
			w.WriteHeader(refused.StatusCode)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return w.ResponseRecorder
}

// request returns a request for the console by a user, as the header says; without one if user is
// "".
func request(method, path, user, body string) *http.Request {
	r := httptest.NewRequest(method, "http://portal.example.com"+path, strings.NewReader(body))
	if user != "" {
		r.Header.Set("Remote-User", user)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Origin", "http://portal.example.com")
	}
	return r
}

// consoleRequests has a request of each kind, and the status for users that may see the console.
var consoleRequests = []struct {
	method, path, body string
	status             int
}{
	{http.MethodGet, "/console", "", http.StatusFound},
	{http.MethodGet, "/console/", "", http.StatusOK},
	{http.MethodGet, "/console/app.js", "", http.StatusOK},
	{http.MethodGet, "/console/events?view=hosts", "", http.StatusOK},
	{http.MethodPost, "/console/action", `{"action":"disconnect","host":"portal.example.com","users":["ada"]}`, http.StatusOK},
	{http.MethodGet, "/console/nothing", "", http.StatusOK}, // the end of the site's routes
}

// TestConsoleIsForItsUsers asks for everything that the console has, as each kind of user.
func TestConsoleIsForItsUsers(t *testing.T) {
	const header = " {\n\t\tuser {http.request.header.Remote-User}\n\t}"
	for name, test := range map[string]struct {
		directive, user string
		status          int // 0 if the user may see it
	}{
		"a user":                       {"\trollcall_console ada grace" + header, "grace", 0},
		"another user":                 {"\trollcall_console ada grace" + header, "bob", http.StatusForbidden},
		"a user in other case":         {"\trollcall_console ada" + header, "Ada", http.StatusForbidden},
		"nobody":                       {"\trollcall_console ada" + header, "", http.StatusUnauthorized},
		"any user":                     {"\trollcall_console *" + header, "bob", 0},
		"nobody, but any user may":     {"\trollcall_console *" + header, "", http.StatusUnauthorized},
		"a user that is called a star": {"\trollcall_console ada" + header, "*", http.StatusForbidden},
		"a header that nobody checked": {"\trollcall_console *", "ada", http.StatusUnauthorized},
		"everybody":                    {"\trollcall_console open", "", 0},
		"behind a password that is not sent": {
			"\tbasic_auth {\n\t\tada $2a$14$TfyBJ1cKCojYSUFmm3cuoOxZEAkMjhPVr7XPk48h3sbu4QmrLk9qi\n\t}\n\trollcall_console *", "ada", http.StatusUnauthorized,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := mustLoad(t, consoleFile(test.directive))
			stage(t, c.app.hub, c.app.hub.StartPods)
			c.app.hub.Offer(c.snapshot())
			for _, h := range c.app.handlers {
				for _, host := range []string{"portal.example.com", "elsewhere.example.com"} {
					if c.snapshot().Find(testkit.MustHost(t, host)) == h.rollcall.Site {
						arrive(t, h, host, "secret-user", "secret@example.com", "room")
					}
				}
			}
			for _, ask := range consoleRequests {
				w := c.ask(t, request(ask.method, ask.path, test.user, ask.body))
				want := ask.status
				if test.status != 0 {
					want = test.status
				}
				if w.Code != want {
					t.Errorf("%s: status %d, want %d", ask.path, w.Code, want)
				}
				header, next := w.Header(), w.Code == http.StatusOK && strings.HasSuffix(ask.path, "nothing")
				if test.status != 0 && !strings.HasPrefix(name, "behind") || test.status == 0 && !next {
					if header.Get("Content-Security-Policy") == "" || header.Get("X-Frame-Options") != "DENY" || header.Get("X-Content-Type-Options") != "nosniff" {
						t.Errorf("%s: status %d with the headers %v", ask.path, w.Code, header)
					}
				} else if header.Get("Content-Security-Policy") != "" {
					t.Errorf("%s: another handler's answer has the headers %v", ask.path, header)
				}
				body := w.Body.String()
				if test.status != 0 && (strings.Contains(body, "portal") || strings.Contains(body, "script") || strings.Contains(body, "secret")) {
					t.Errorf("%s leaks %s", ask.path, body)
				}
				if strings.Contains(body, "elsewhere") || strings.Contains(body, "secret@") {
					t.Errorf("%s shows another site, or an address: %s", ask.path, body)
				}
				if test.status == 0 && strings.Contains(ask.path, "events") && !strings.Contains(body, `"connections":1`) {
					t.Errorf("%s does not show the connection: %s", ask.path, body)
				}
			}
		})
	}
}

// TestConsoleShowsItsSiteBlock asks consoles for hosts, whatever Host header a client chooses.
func TestConsoleShowsItsSiteBlock(t *testing.T) {
	const (
		user    = "\t\tuser {http.request.header.Remote-User}\n"
		console = "\trollcall_console * {\n" + user + "\t}\n"
		own     = "\trollcall {\n\t\tapi_key off\n\t}\n"
		b       = "http://b.example.com {\n" + own + "}\n"
	)
	for name, test := range map[string]struct {
		file, listen, host string
		shows              string // hosts, or a status
	}{
		"its own host":                  {"http://a.example.com {\n" + console + own + "}\n" + b, ":80", "a.example.com", "a.example.com"},
		"a rollcall in a handle":        {"http://a.example.com {\n" + console + "handle /message/* {\n" + own + "}\n}\n" + b, ":80", "a.example.com", "a.example.com"},
		"a console in a handle":         {"http://a.example.com {\nhandle /console* {\n" + console + "}\n" + own + "}\n" + b, ":80", "a.example.com", "a.example.com"},
		"both in handles":               {"http://a.example.com {\nhandle /console* {\n" + console + "}\nhandle /message/* {\n" + own + "}\n}\n" + b, ":80", "a.example.com", "a.example.com"},
		"one block for every host":      {"http:// {\n" + console + own + "}\n" + b, ":80", "c.example.com", ""},
		"a block alone":                 {"http:// {\n" + console + "@a host a.example.com\nhandle @a {\n" + own + "}\n}\n", ":80", "a.example.com", "a.example.com"},
		"two hosts":                     {"http://a.example.com, http://c.example.com {\n" + console + own + "}\n" + b, ":80", "c.example.com", "a.example.com c.example.com"},
		"two rollcalls":                 {"http://*.example.com {\n" + console + "@a host a.example.com\nhandle @a {\n" + own + "}\nhandle {\n\trollcall\n}\n}\n" + b, ":80", "c.example.com", "a.example.com"},
		"a console of some hosts":       {"http://*.example.com {\n@c host c.example.com\nhandle @c {\n" + console + "\trollcall\n}\n@a host a.example.com\nhandle @a {\n" + own + "}\n}\n" + b, ":80", "c.example.com", "c.example.com"},
		"a named route":                 {"&(ops) {\n" + console + "}\nhttp://a.example.com {\ninvoke ops\n" + own + "}\n" + b, ":80", "a.example.com", "a.example.com"},
		"all hosts":                     {":9000 {\n\trollcall_console * {\n" + user + "\thosts all\n\t}\n}\n" + b, ":9000", "b.example.com", "b.example.com"},
		"another listener":              {":9000 {\n" + console + "}\n" + b, ":9000", "b.example.com", ""},
		"another listener, with a site": {"http://a.example.com:9000 {\n" + console + own + "}\n" + b, ":9000", "a.example.com", "a.example.com"},
		"a host of another listener":    {":9000 {\n" + console + own + "}\n" + b, ":9000", "b.example.com", "421"},
		"a dot at the end":              {"http:// {\n" + console + own + "}\n" + b, ":80", "b.example.com.", "421"},
		"another spelling":              {"http:// {\n" + console + own + "}\n" + b, ":80", "b\u3002example.com", "421"},
		"a dot, without a site":         {"http:// {\n" + console + "}\n" + b, ":80", "b.example.com.", ""},
		"the fallback of all hosts":     {"http://a.example.com {\n" + console + "}\nhttp:// {\n" + own + "}\n" + b, ":80", "a.example.com", ""},
		"no host":                       {"http:// {\n" + console + own + "}\n", ":80", "a b", "421"},
	} {
		t.Run(name, func(t *testing.T) {
			c := mustLoad(t, test.file)
			stage(t, c.app.hub, c.app.hub.StartPods)
			c.app.hub.Offer(c.snapshot())
			r := httptest.NewRequest(http.MethodGet, "/console/events?view=hosts", nil)
			r.Host = test.host
			r.Header.Set("Remote-User", "ada")
			w := c.askAt(t, test.listen, r)
			got := fmt.Sprint(w.Code)
			if w.Code == http.StatusOK {
				var shown []string
				for _, m := range regexp.MustCompile(`"host":"([^"]*)"`).FindAllStringSubmatch(w.Body.String(), -1) {
					shown = append(shown, m[1])
				}
				got = strings.Join(shown, " ")
			}
			if got != test.shows {
				t.Errorf("shows %q, want %q", got, test.shows)
			}
			if w.Code != http.StatusOK {
				if w.Header().Get("Content-Security-Policy") == "" {
					t.Errorf("the refusal has the headers %v", w.Header())
				}
				return
			}
			r = httptest.NewRequest(http.MethodPost, "/console/action", strings.NewReader(`{"action":"disconnect","host":"b.example.com","users":["ada"]}`))
			r.Host = test.host
			r.Header.Set("Remote-User", "ada")
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Origin", "http://"+test.host)
			if w := c.askAt(t, test.listen, r); (w.Code == http.StatusOK) != strings.Contains(test.shows, "b.example.com") {
				t.Errorf("an action on b.example.com has the status %d", w.Code)
			}
		})
	}
}

// TestActionsComeFromTheSchemeOfThePage acts from pages with the host of the console. Only a proxy
// that Caddy trusts may say that the page came by TLS.
func TestActionsComeFromTheSchemeOfThePage(t *testing.T) {
	const trusting = "{\n\tservers {\n\t\ttrusted_proxies static 192.0.2.1\n\t}\n}\n"
	for name, test := range map[string]struct {
		options, proto, origin string
		tls                    bool
		status                 int
	}{
		"http":                             {"", "", "http://portal.example.com", false, http.StatusOK},
		"https on http":                    {"", "", "https://portal.example.com", false, http.StatusForbidden},
		"https on TLS":                     {"", "", "https://portal.example.com", true, http.StatusOK},
		"http on TLS":                      {"", "", "http://portal.example.com", true, http.StatusForbidden},
		"a TLS proxy":                      {trusting, "https", "https://portal.example.com", false, http.StatusOK},
		"a TLS proxy, an http page":        {trusting, "https", "http://portal.example.com", false, http.StatusForbidden},
		"a proxy without TLS":              {trusting, "http", "https://portal.example.com", false, http.StatusForbidden},
		"a TLS proxy that is not trusted":  {"", "https", "https://portal.example.com", false, http.StatusForbidden},
		"a proxy that does not say it":     {trusting, "", "https://portal.example.com", false, http.StatusForbidden},
		"TLS up to Caddy, through a proxy": {trusting, "https", "https://portal.example.com", true, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			c := mustLoad(t, test.options+consoleFile("\trollcall_console open"))
			stage(t, c.app.hub, c.app.hub.StartPods)
			c.app.hub.Offer(c.snapshot())
			r := request(http.MethodPost, "/console/action", "", `{"action":"disconnect","host":"portal.example.com","users":["ada"]}`)
			r.Header.Set("Origin", test.origin)
			if test.proto != "" {
				r.Header.Set("X-Forwarded-Proto", test.proto)
			}
			if test.tls {
				r.TLS = new(tls.ConnectionState)
			}
			if w := c.ask(t, r); w.Code != test.status {
				t.Errorf("status %d, want %d: %s", w.Code, test.status, w.Body)
			}
		})
	}
}

func TestConsoleWithoutASiteIsLogged(t *testing.T) {
	const site = "http://b.example.com {\n\trollcall {\n\t\tapi_key off\n\t}\n}\n"
	const warning = "the console shows no host"
	for hosts, want := range map[string]bool{"own": true, "all": false} {
		warnings, err := startLogged(t, ":9000 {\n\trollcall_console ada {\n\t\thosts "+hosts+"\n\t}\n}\n"+site)
		if err != nil || strings.Contains(warnings, warning) != want {
			t.Errorf("hosts %s: %v, %s", hosts, err, warnings)
		}
	}
}

// TestConsolesOfManySites binds each console of many site blocks: time must not grow with the
// square of their number.
func TestConsolesOfManySites(t *testing.T) {
	var file strings.Builder
	const sites = 300
	for i := range sites {
		fmt.Fprintf(&file, "http://h%d.example.com {\n\trollcall_console open\n\trollcall {\n\t\tapi_key off\n\t}\n}\n", i)
	}
	c := mustLoad(t, file.String())
	c.snapshot()
	bound := make(map[*site.Site]bool)
	for _, console := range c.app.consoles {
		for _, of := range console.own {
			bound[of] = true
		}
		if len(console.own) != 1 {
			t.Fatalf("a console has %d sites", len(console.own))
		}
	}
	if len(bound) != sites {
		t.Errorf("%d sites have a console, want %d", len(bound), sites)
	}
}

// TestConsoleShowsItsPlugins loads plugins with one name for two sites. The instances of the other
// one serve all hosts.
func TestConsoleShowsItsPlugins(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	file := assemble(t, "rules")
	block := func(host, options string) string {
		return "http://" + host + " {\n\trollcall_console open\n\trollcall {\n\t\tapi_key off\n" + plugin(file, options) + "\n}\n}\n"
	}
	c := mustLoad(t, block("portal.example.com", "name rules")+block("elsewhere.example.com", "name rules\nshared"))
	if err := c.app.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.app.Stop(); err != nil {
			t.Error(err)
		}
	})
	if body := c.ask(t, request(http.MethodGet, "/console/events?view=plugins", "", "")).Body.String(); strings.Count(body, `"plugin":"rules"`) != 1 {
		t.Errorf("the console shows %s", body)
	}
	for host, want := range map[string]int{"": http.StatusNotFound, "elsewhere.example.com": http.StatusNotFound} {
		w := c.ask(t, request(http.MethodPost, "/console/action", "", `{"action":"reset","plugin":"rules","host":"`+host+`"}`))
		if w.Code != want {
			t.Errorf("a reset for %q has the status %d: %s", host, w.Code, w.Body)
		}
	}
}

// TestBreakerOfSeveralSites resets the breaker of a plugin whose instances serve all hosts of the
// sites that have it.
func TestBreakerOfSeveralSites(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	file := assemble(t, "rules")
	block := func(hosts, console, options string) string {
		return hosts + " {\n\trollcall_console open {\n\t\t" + console + "\n\t}\n\trollcall {\n\t\tapi_key off\n" + plugin(file, options) + "\n}\n}\n"
	}
	const here, elsewhere = "http://portal.example.com, http://b.example.com", "http://elsewhere.example.com"
	for name, test := range map[string]struct {
		file   string
		status int
	}{
		"its own":                          {block(here, "", "shared"), http.StatusOK},
		"with another site":                {block(here, "", "shared") + block(elsewhere, "", "shared"), http.StatusForbidden},
		"with another site, but all hosts": {block(here, "hosts all", "shared") + block(elsewhere, "", "shared"), http.StatusOK},
		"with another configuration":       {block(here, "", "shared") + block(elsewhere, "", "shared\nmemory 8MiB"), http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			c := mustLoad(t, test.file)
			if err := c.app.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := c.app.Stop(); err != nil {
					t.Error(err)
				}
			})
			w := c.ask(t, request(http.MethodPost, "/console/action", "", `{"action":"reset","plugin":"rules","host":""}`))
			if w.Code != test.status {
				t.Errorf("status %d, want %d: %s", w.Code, test.status, w.Body)
			}
		})
	}
}

// TestOpenConsoleOfEveryHost asks consoles whose site blocks are for every host, with names that
// another page could have in its address.
func TestOpenConsoleOfEveryHost(t *testing.T) {
	for _, console := range []string{"open", "open {\nhosts all\n}", "* {\nuser {http.request.header.Remote-User}\n}"} {
		for _, file := range []string{
			":8080 {\nrollcall_console " + console + "\nrollcall {\napi_key off\n}\n}\n",
			"&(ops) {\nrollcall_console " + console + "\n}\n:8080 {\ninvoke ops\nrollcall {\napi_key off\n}\n}\n",
		} {
			c := mustLoad(t, file)
			for host, open := range map[string]int{
				"localhost:8080": http.StatusOK, "a.localhost": http.StatusOK, "127.0.0.1:8080": http.StatusOK, "[::1]:8080": http.StatusOK, "box:8080": http.StatusOK,
				"evil.example.com:8080": http.StatusMisdirectedRequest, "evil.example.com.": http.StatusMisdirectedRequest, "127.0.0.1.evil.example": http.StatusMisdirectedRequest,
			} {
				r := request(http.MethodGet, "/console/", "ada", "")
				if r.Host = host; console[0] == '*' {
					open = http.StatusOK // a browser has no login for the other name
				}
				if w := c.ask(t, r); w.Code != open {
					t.Errorf("%s, %s: status %d, want %d", file, host, w.Code, open)
				}
			}
		}
	}
}

// TestConsoleOfAConfigurationThatDoesNotStart asks a console whose sites cannot be settled: it
// knows no host, so it must neither show an empty page nor say that the host is another site's.
func TestConsoleOfAConfigurationThatDoesNotStart(t *testing.T) {
	for _, console := range []string{"", "hosts all"} {
		c := mustLoad(t, "http://portal.example.com {\nrollcall_console open {\n"+console+"\n}\nhandle /message/* {\nrollcall {\napi_key off\npusher {\n"+testApp+"\n}\n}\n}\n}\n")
		if _, err := c.app.settle(); err == nil {
			t.Fatal("the configuration starts")
		}
		for _, path := range []string{"/console/", "/console/events?view=hosts"} {
			if w := c.ask(t, request(http.MethodGet, path, "", "")); w.Code != http.StatusServiceUnavailable {
				t.Errorf("%q, %s: status %d: %.100s", console, path, w.Code, w.Body)
			}
		}
	}
}

func TestConsolesThatNobodyShouldHave(t *testing.T) {
	for name, test := range map[string]struct{ directive, want string }{
		"no user":              {"rollcall_console", "name the users that may see the console"},
		"an empty user":        {`rollcall_console ""`, "name the users that may see it"},
		"users and everybody":  {"rollcall_console ada open", "write * or open alone"},
		"users and any":        {"rollcall_console ada *", "write * or open alone"},
		"a placeholder":        {"rollcall_console {http.vars.admin}", "placeholders are not replaced"},
		"no placeholder":       {"rollcall_console * {\nuser ada\n}", "write one placeholder"},
		"text around it":       {"rollcall_console * {\nuser x-{http.auth.user.id}\n}", "write one placeholder"},
		"two placeholders":     {"rollcall_console * {\nuser {http.auth.user.id}{http.request.uri}\n}", "write one placeholder"},
		"text in between":      {"rollcall_console * {\nuser {http.auth.user.id}x}\n}", "write one placeholder"},
		"the path of the site": {"rollcall_console * {\npath /\n}", "write it like /console"},
		"hosts of nobody":      {"rollcall_console * {\nhosts none\n}", "use own or all"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Console{User: defaultConsoleUser, Path: defaultConsolePath}
			err := c.UnmarshalCaddyfile(caddyfile.NewTestDispenser(test.directive))
			if err == nil {
				err = c.Validate()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestOpenConsoleIsLogged(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if _, err := newContext(t, consoleFile("\trollcall_console open"), log).App("http"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(log)
	if err != nil || !strings.Contains(string(text), "the console is open to everybody") {
		t.Errorf("the log is %q, %v", text, err)
	}
}

// fullConsole connects users to a site with an open console, each to a channel of its own number,
// and returns what a view of the console answers first.
func fullConsole(tb testing.TB, users, channels int) (view func(query string) string) {
	tb.Helper()
	c := mustLoad(tb, "http://portal.example.com {\n\trollcall_console open\n\trollcall {\n\t\tapi_key off\n\t}\n}\n")
	c.app.hub.Offer(c.snapshot())
	h := c.handler(tb)
	for i := range users {
		arrive(tb, h, "portal.example.com", fmt.Sprintf("user-%06d", i), "", fmt.Sprintf("room-%05d", i%channels), "hall")
	}
	return func(query string) string {
		return c.ask(tb, request(http.MethodGet, "/console/events?"+query, "", "")).Body.String()
	}
}

// crowdViews are the views that a crowd makes long.
var crowdViews = []string{
	"view=hosts", "view=host&host=portal.example.com", "view=host&host=portal.example.com&filter=room-00&after=room-00050",
	"view=channel&host=portal.example.com&channel=hall", "view=channel&host=portal.example.com&channel=hall&after=user-000500",
	"view=user&host=portal.example.com&user=user-000001", "view=traffic",
}

func TestViewsOfACrowdAreShort(t *testing.T) {
	view := fullConsole(t, 2000, 1000)
	for _, query := range crowdViews {
		if n := len(view(query)); n < 200 || n > 32<<10 {
			t.Errorf("%s: %d bytes", query, n)
		}
	}
}

// BenchmarkConsole answers the first snapshot of a view, with 100,000 users in 10,000 channels.
func BenchmarkConsole(b *testing.B) {
	view := fullConsole(b, 100_000, 10_000)
	for _, query := range crowdViews {
		b.Run(query, func(b *testing.B) {
			n := 0
			for b.Loop() {
				n = len(view(query))
			}
			b.ReportMetric(float64(n), "bytes")
		})
	}
}
