package caddymodule

import (
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// start loads a Caddyfile and settles the sites, as a start does.
func start(t *testing.T, caddyfile string) error {
	t.Helper()
	c, err := load(t, caddyfile)
	if err == nil {
		_, err = c.app.settle()
	}
	return err
}

// Caddyfiles in which no client or backend of the Pusher protocol would reach rollcall do not
// start, or start with a warning.
func TestWhatKeepsClientsOfPusherFromRollcall(t *testing.T) {
	const (
		rollcall = "rollcall {\napi_key k\npusher {\n" + testApp + "\n}\n}"
		below    = "rollcall {\napi_key k\npusher {\n" + testApp + "\npath /pusher\n}\n}"
		all      = "@rollcall path /message/* /app/* /apps/*\n"
		page     = "\nhandle {\nroot /srv\ntry_files {path} /index.html\nfile_server\n}"

		narrow   = "pusher: its matchers let no client through to /app/key-a: write @rollcall path /message/* /app/* /apps/* with handle @rollcall { rollcall ... }"
		taken    = "rollcall gets no clients of the Pusher protocol: another route answers them before"
		apiTaken = "rollcall gets no requests for the HTTP API of its apps: another route answers them before"
		apiOut   = "rollcall gets no requests for the HTTP API of its apps, because its matchers let none through"
	)
	for _, test := range []struct{ name, site, err, warning string }{
		{"alone", rollcall, "", ""},
		{"beside files", "root /srv\n" + rollcall + "\nfile_server", "", ""},
		{"beside a proxy", rollcall + "\nreverse_proxy 127.0.0.1:9", "", ""},
		{"beside PHP", "root /srv\n" + rollcall + "\nphp_fastcgi 127.0.0.1:9", "", ""},
		{"with a password", "basic_auth {\nada $2a$14$TfyBJ1cKCojYSUFmm3cuoOxZEAkMjhPVr7XPk48h3sbu4QmrLk9qi\n}\n" + rollcall + "\nrespond 404", "", ""},
		{"in a handle for all its paths, with a page", all + "handle @rollcall {\n" + rollcall + "\n}" + page, "", ""},
		{"in a handle for all its paths, with PHP", all + "handle @rollcall {\n" + rollcall + "\n}\nhandle {\nphp_fastcgi 127.0.0.1:9\n}", "", ""},
		{"in a handle for each path", "handle /message/* {\n" + rollcall + "\n}\nhandle /app/* {\n" + rollcall + "\n}\nhandle /apps/* {\n" + rollcall + "\n}" + page, "", ""},
		{"redirects of other paths", "redir /old /new\n" + rollcall, "", ""},
		{"below a stripped path", "handle_path /live/* {\n" + rollcall + "\n}" + page, "", ""},
		{"below /app, which is stripped", "handle_path /app/* {\n" + rollcall + "\n}" + page, "", `"path":"/app/app"`},

		{"in a handle for the native paths", "handle /message/* {\n" + rollcall + "\n}" + page, narrow, ""},
		{"with a matcher of the native paths", "rollcall /message/* {\napi_key k\npusher {\n" + testApp + "\n}\n}\nfile_server", narrow, ""},
		{"a page for other paths than the native ones", "@page not path /message/*\nrewrite @page /index.html\n" + rollcall + "\nfile_server", "", taken},
		{
			"files for other paths than the native ones", "@page {\nnot path /message/*\nfile {path} /index.html\n}\nrewrite @page {http.matchers.file.relative}\n" + rollcall + "\nfile_server",
			"pusher: clients do not get to /app/key-a: try_files answers or rewrites every request before rollcall gets it: write @rollcall path", "",
		},
		{"a page at /app", rollcall + "\nhandle /app/* {\nroot /srv\nfile_server\n}", "", taken},
		{"a proxy at /app", rollcall + "\nhandle /app/* {\nreverse_proxy 127.0.0.1:9\n}", "", taken},
		{"a proxy at /apps", rollcall + "\nhandle /apps/* {\nreverse_proxy 127.0.0.1:9\n}", "", apiTaken},
		{"no API", "@rollcall path /message/* /app/*\nhandle @rollcall {\n" + rollcall + "\n}" + page, "", apiOut},
		{"an API for one app", "@rollcall path /app/* /apps/101/*\nhandle @rollcall {\n" + rollcall + "\n}" + page, "", ""},
		{"another path alone", "@rollcall path /message/* /pusher/*\nhandle @rollcall {\n" + below + "\n}" + page, "", ""},
		{"another path with the native ones", "handle /message/* {\n" + below + "\n}" + page, "write @rollcall path /message/* /app/* /apps/* /pusher/app/* /pusher/apps/* with handle", ""},
		{"a guard after rollcall", rollcall + "\nrespond /apps/* 403", "", "restrict who may ask with api_from"},
		{"a snippet", "import app", "", ""},
		{"a snippet in a handle", "handle /message/* {\nimport app\n}" + page, narrow, ""},
		{"a named route", "invoke app", "", ""},
		{"a named route in a handle", "handle /message/* {\ninvoke app\n}" + page, narrow, ""},
		{"a named route at two paths", "handle /message/* {\ninvoke app\n}\nhandle /app/* {\ninvoke app\n}" + page, "", apiOut},
	} {
		t.Run(test.name, func(t *testing.T) {
			caddyfile := "{\n\tauto_https off\n}\n(app) {\n" + rollcall + "\n}\n&(app) {\n" + rollcall + "\n}\n" +
				"http://a.example.com:8080, http://*.b.example.com:8080 {\n" + test.site + "\n}"
			warnings, err := startLogged(t, caddyfile)
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			switch {
			case test.warning == "" && strings.Contains(warnings, "rollcall"), test.warning != "" && strings.Count(warnings, test.warning) != 1:
				t.Errorf("the warnings are %q, want %q", warnings, test.warning)
			}
		})
	}
}

// The host of an app is one of its block, or one that nobody else has.
func TestHostsOfApps(t *testing.T) {
	block := func(address, host string, options ...string) string {
		return "http://" + address + " {\nrollcall {\napi_key k\npusher {\napp 101 key-" + strings.TrimPrefix(address[:1], "*") + " " + testSecret + " " + host + "\n}\n" +
			strings.Join(options, "\n") + "\n}\n}\n"
	}
	native := func(address string) string { return "http://" + address + " {\nrollcall {\napi_key other\n}\n}\n" }
	for _, test := range []struct{ name, caddyfile, err string }{
		{"of its block", block("a.example.com, http://caddy:8080", "a.example.com"), ""},
		{"of a pattern of its block", block("*.example.com", "b.example.com"), ""},
		{"of nobody", block("a.example.com", "tenant.example.com"), ""},
		{"of nobody, twice", block("a.example.com", "tenant.example.com") + block("b.example.com", "other.example.com"), ""},
		{"of another block", block("a.example.com", "b.example.com") + native("b.example.com"), "pusher: app 101: its host b.example.com is that of rollcall for b.example.com"},
		{"of another block before", native("a.example.com") + block("b.example.com", "a.example.com"), "pusher: app 101: its host a.example.com is that of rollcall for a.example.com"},
		{"of a pattern of another block", block("a.example.com", "b.example.org") + native("*.example.org"), "pusher: app 101: its host b.example.org is that of rollcall for *.example.org"},
		{"of another block for every host", block("a.example.com", "b.example.org") + native(":8080"), "its host b.example.org is that of rollcall for every host"},
		{"of two blocks", block("a.example.com", "t.example.com") + block("b.example.com", "t.example.com"), "its host t.example.com is that of app 101 of another rollcall"},
		{"of one of two blocks with the same settings", block("a.example.com", "a.example.com") + strings.Replace(block("a.example.com", "a.example.com"), "http://a.", "http://b.", 1), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := start(t, "{\n\tauto_https off\n}\n"+test.caddyfile)
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), "write the app there")) {
				t.Errorf("error %v, want %q", err, test.err)
			}
		})
	}
}

// A host that only an app names is a host of the site wherever hosts are compared.
func TestPinnedHostsAreServed(t *testing.T) {
	c := mustLoad(t, "http://a.example.com {\nrollcall {\npusher {\n"+testApp+" tenant.example.com\n}\n}\n}\nhttp://b.example.com {\nrollcall\n}")
	s := c.snapshot()
	of := c.app.handlers[0].rollcall.Site
	name := testkit.MustHost(t, "tenant.example.com")
	if s.Find(name) != of || s.Claimed("tenant.example.com") != of || s.Label(name) != "tenant.example.com" {
		t.Error("the site does not own the host")
	}
	named := make(map[string]bool)
	for host, site := range s.Names() {
		named[host] = site == of
	}
	if len(named) != 3 || !named["tenant.example.com"] || !named["a.example.com"] || named["b.example.com"] {
		t.Errorf("the named hosts are %v", named)
	}
	if hosts := strings.Join(s.Sites[0].Hosts, " "); len(s.Sites) != 2 || hosts != "a.example.com tenant.example.com" || s.Sites[0].Host != "a.example.com" {
		t.Errorf("the hosts of the site are %s, of %d sites", hosts, len(s.Sites))
	}
}

// An event that a backend sends by another name than browsers ask would get lost.
func TestAppsOfSeveralHostsWarn(t *testing.T) {
	const warning = "an app without a host has other channels for each host of its site"
	for _, test := range []struct {
		name, addresses, host string
		want                  int
	}{
		{"one host", "http://a.example.com", "", 0},
		{"two hosts", "http://a.example.com, http://caddy", "", 1},
		{"two hosts, one of which is that of the app", "http://a.example.com, http://caddy", "a.example.com", 0},
		{"a pattern", "http://*.example.com", "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			warnings, err := startLogged(t, "{\n\tauto_https off\n}\n"+test.addresses+" {\nrollcall {\npusher {\n"+testApp+" "+test.host+"\n}\n}\n}")
			if err != nil || strings.Count(warnings, warning) != test.want {
				t.Errorf("error %v, warnings %q", err, warnings)
			}
		})
	}
}
