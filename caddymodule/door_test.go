package caddymodule

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// checkLoad loads a Caddyfile, which must fail with a text, or load for "".
func checkLoad(t *testing.T, caddyfile, want string) {
	t.Helper()
	_, err := load(t, caddyfile)
	switch {
	case want == "" && err != nil:
		t.Errorf("error %v\n%s", err, caddyfile)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("error %v, want %q\n%s", err, want, caddyfile)
	}
}

// inSite is a site with a few lines.
func inSite(lines ...string) string {
	return "http://a.example.com {\n" + strings.Join(lines, "\n") + "\n}\n"
}

func TestPathsThatFitNoEndpoint(t *testing.T) {
	const want = "fits no endpoint"
	for _, test := range []struct{ name, caddyfile, want string }{
		{"the prefix alone", inSite("rollcall /message {\napi_key k\n}"), "path /message fits no endpoint, which are /message/socket, "},
		{"what to write", inSite("rollcall /message"), "write /message/*, or the option prefix"},
		{"another prefix", inSite("rollcall /chat/* {\napi_key k\n}"), want},
		{"two paths", inSite("@m path /chat/* /message", "rollcall @m"), "path /chat/* /message fits no endpoint"},
		{"below the prefix", inSite("rollcall /message/v1/*"), want},
		{"the handle around it", inSite("handle /message {\nrollcall\n}"), want},
		{"a route around a handle", inSite("route /api/* {\nhandle {\nrollcall\n}\n}"), want},
		{"after other handlers", inSite("handle /message {\nheader X y\nrollcall\n}"), want},
		{"each of several matcher sets", `json {"match":[{"path":["/a"]},{"path":["/b"],"method":["GET"]}],"handle":[{"handler":"rollcall"}]}`, want},

		{"one of several matcher sets fits", `json {"match":[{"path":["/a"]},{"path":["/message/*"]}],"handle":[{"handler":"rollcall"}]}`, ""},
		{"one endpoint", inSite("rollcall /message/users"), ""},
		{"in another case", inSite("rollcall /MESSAGE/*"), ""},
		{"everything", inSite("rollcall *"), ""},
		{"one of two paths", inSite("@m path /nothing /message/socket", "rollcall @m"), ""},
		{"a placeholder", inSite("@m path /{env.NOBODY}/*", "rollcall @m"), ""},
		{"a prefix that fits", inSite("rollcall /chat/* {\nprefix /chat\n}"), ""},
		{"a path that is stripped", inSite("handle_path /chat/* {\nrollcall\n}"), ""},
		{"a path that is rewritten inside", inSite("route /chat/* {\nuri strip_prefix /chat\nrollcall\n}"), ""},
		{"a path that is rewritten in a handle inside", inSite("handle /chat/* {\nroute {\nuri strip_prefix /chat\nhandle {\nrollcall\n}\n}\n}"), ""},
		{"a path that is stripped after a header that is called rollcall", inSite("handle /chat/* {\nheader X-Served-By rollcall\nuri strip_prefix /chat\nrollcall\n}"), ""},
		{"a path that is stripped after a text about a handler", inSite(`handle /chat/* {`, `header X-Config "\"handler\":\"rollcall\""`, `header X-Handler rollcall`, `uri strip_prefix /chat`, `rollcall`, `}`), ""},
		{"another matcher", inSite("@m {\npath_regexp ^/chat\n}", "rollcall @m"), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if routes, isJSON := strings.CutPrefix(test.caddyfile, "json "); isJSON {
				ctx := newContext(t, "{\n}", "")
				_, err := ctx.LoadModuleByID("http", []byte(`{"servers":{`+server("80", routes)+`}}`))
				if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %v, want %q", err, test.want)
				}
				return
			}
			checkLoad(t, test.caddyfile, test.want)
		})
	}
}

func TestDeadHandlers(t *testing.T) {
	const want = "is never reached, because rollcall for a.example.com"
	for _, test := range []struct{ name, caddyfile, want string }{
		{"twice in a site", inSite("rollcall {\napi_key k\n}", "rollcall {\napi_key k\n}"), want},
		{"in a route", inSite("route {\nrollcall\nrollcall\n}"), want},
		{"after one for all its paths", inSite("route {\nrollcall /message/*\nrollcall\n}"), want},
		{"after one in a handle", inSite("route {\nhandle {\nrollcall\n}\nrollcall\n}"), want},
		{"in the next handle", inSite("route {\nhandle {\nrollcall\n}\nhandle /message/* {\nrollcall\n}\n}"), want},
		{"with api_from, after one without", inSite("route {\nrollcall\nrollcall {\napi_from 192.0.2.1\n}\n}"), want},
		{"after one for more hosts", "http://a.example.com, http://b.example.com {\n@a host a.example.com\nroute {\nrollcall\nrollcall @a\n}\n}", "is never reached"},

		{"another prefix", inSite("route {\nrollcall\nrollcall {\nprefix /chat\n}\n}"), ""},
		{"after one for a path", inSite("route {\nrollcall /message/users {\napi_from 192.0.2.1\n}\nrollcall\n}"), ""},
		{"after one with a matcher that nobody can read", inSite("@m remote_ip 192.0.2.1", "route {\nrollcall @m\nrollcall\n}"), ""},
		{"after the path is rewritten", inSite("route {\nrollcall\nuri strip_prefix /chat\nrollcall\n}"), ""},
		{"in another branch", inSite("route {\nhandle /message/users {\nrollcall {\napi_from 192.0.2.1\n}\n}\nhandle {\nrollcall\n}\n}"), ""},
		{"after one that a group can pass over", inSite("route {\nhandle /x {\nrespond x\n}\nhandle {\nrollcall\n}\nrollcall\n}"), ""},
		{"after one for some responses", inSite("route {\nreverse_proxy 127.0.0.1:9 {\n@ok status 200\nhandle_response @ok {\nrollcall\n}\nhandle_response {\nheader X y\n}\n}\nrollcall\n}"), ""},
		{"after one for some responses that pass by", inSite("route {\nintercept {\n@gone status 410\nhandle_response @gone {\nrollcall\n}\n}\nrollcall\n}"), ""},
		{"after one for fewer hosts", "http://a.example.com, http://b.example.com {\n@a host a.example.com\nroute {\nrollcall @a\nrollcall\n}\n}", ""},
	} {
		t.Run(test.name, func(t *testing.T) { checkLoad(t, test.caddyfile, test.want) })
	}
}

// The endpoints that path matchers are compared with are the endpoints that are served.
func TestEndpointNamesAreServed(t *testing.T) {
	h := loadHandler(t, "api_key k")
	for _, path := range h.endpoints().Paths() {
		w := httptest.NewRecorder()
		next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
			t.Errorf("%s is not served", path)
			return nil
		})
		if err := h.ServeHTTP(w, prepare(w, httptest.NewRequest(http.MethodPost, "http://portal.example.com"+path, http.NoBody)), next); err != nil {
			t.Error(err)
		}
	}
}

// With several customers, an error names the site.
func TestLoadErrorsNameTheSite(t *testing.T) {
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, options, want string }{
		{"unset variable", "api_key {env.ROLLCALL_TEST_UNSET}", "api_key: number 1"},
		{"origin", "origins nothing", "origin"},
		{"ping", "ping 1s 1s", "ping 1s 1s"},
		{"kind", "channels {\ndefault nothing\n}", "channels: default"},
		{"backend", "backend ftp://x", "backend: "},
		{"prefix", "prefix message", `prefix "message"`},
		{"key file", "jwt {\nkey keys/none.pem\n}", filepath.Join(folder, "keys/none.pem")},
		{"plugin", "plugin plugins/none.wasm", filepath.Join(folder, "plugins/none.wasm")},
		{"options of a plugin", "plugin none.wasm {\nsha256 x\n}", filepath.Join(folder, "none.wasm")},
	} {
		t.Run(test.name, func(t *testing.T) {
			caddyfile := "http://one.example.com {\nrollcall {\napi_key a\n}\n}\nhttp://three.example.com:8080 {\nrollcall {\napi_key c\n}\n}\n" +
				"http://two.example.com {\nhandle /* {\nrollcall {\n" + test.options + "\n}\n}\n}\n"
			_, err := load(t, caddyfile)
			if err == nil {
				t.Fatal("it loads")
			}
			text := err.Error()
			label := "rollcall for two.example.com (listener :80, prefix "
			if !strings.Contains(text, label) || !strings.Contains(text, test.want) || strings.Contains(text, "one.example.com") || strings.Contains(text, "three") {
				t.Errorf("error %s, want %q and %q", text, label, test.want)
			}
		})
	}
	t.Run("file of the cluster", func(t *testing.T) {
		_, err := load(t, "{\nrollcall {\ncluster {\nnats nats://127.0.0.1:4222\ncredentials none.creds\n}\n}\n}\n"+inSite("rollcall"))
		if err == nil || !strings.Contains(err.Error(), filepath.Join(folder, "none.creds")) {
			t.Errorf("error %v", err)
		}
	})
}

// Very many doors to one host load, each for its own path.
func TestManyDoorsOfOneHost(t *testing.T) {
	const doors = 300
	var text strings.Builder
	text.WriteString("http://a.example.com {\n")
	for i := range doors {
		fmt.Fprintf(&text, "handle_path /t%d/* {\nrollcall {\napi_key off\n}\n}\n", i)
	}
	c := mustLoad(t, text.String()+"}")
	if n := len(c.app.owners.Doors(testkit.MustHost(t, "a.example.com"))); n != doors {
		t.Errorf("%d doors", n)
	}
}

// The hosts of a long matcher are read once, however many handlers are behind it.
func TestLongMatchersAreReadOnce(t *testing.T) {
	var text strings.Builder
	for i := range 500 {
		fmt.Fprintf(&text, "http://h%d.example.com, ", i)
	}
	c := mustLoad(t, text.String()+"http://last.example.com {\nrollcall\nhandle /a/* {\nrollcall {\nprefix /a\n}\n}\nrollcall {\nprefix /b\n}\n}")
	first := c.app.handlers[0].way.Hosts.Patterns()
	for _, h := range c.app.handlers {
		if hosts := h.way.Hosts.Patterns(); len(hosts) != 501 || &hosts[0] != &first[0] {
			t.Errorf("%d hosts of %s are read again", len(hosts), h.Prefix)
		}
	}
}
