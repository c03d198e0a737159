package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// ordinarySite has what an ordinary Caddyfile must serve.
type ordinarySite struct {
	keys   map[string]string // API key by host; nil: apiKey for portal.example.com
	prefix string            // "": /message
	pages  map[string]string // part of the body by method and path
	login  bool              // pages need a password
	inside string            // URL of a second listener
	absent string            // host that gets 404
}

const (
	portalName = "portal.example.com"
	otherKey   = "another-key"
	page       = "the page"
)

// ordinary are the Caddyfiles of docs/caddyfiles.md by name. test/docs compares the page with these
// golden files.
var ordinary = map[string]ordinarySite{
	"spa":   {pages: map[string]string{"GET /": page, "GET /orders/7": page}},
	"proxy": {pages: map[string]string{"GET /": "application: GET /", "GET /orders/7": "application: GET /orders/7"}},
	"php": {pages: map[string]string{
		"GET /":                "script: index.php GET /",
		"GET /orders/7?page=2": "script: index.php GET /orders/7?page=2",
		"POST /orders":         "script: index.php POST /orders a body",
		"GET /style.css":       "a style",
	}},
	"api_and_spa": {pages: map[string]string{"GET /": page, "GET /orders/7": page, "GET /api/orders": "application: GET /api/orders"}},
	"handle_path": {prefix: "/live/message", pages: map[string]string{"GET /": page}},
	"wildcard": {
		keys:   map[string]string{portalName: apiKey, "shop.example.com": otherKey},
		pages:  map[string]string{"GET /": page},
		absent: "blog.example.com",
	},
	"many_domains": {
		keys:  map[string]string{portalName: apiKey, "shop.example.org": apiKey, "forum.example.net": apiKey},
		pages: map[string]string{"GET /": page},
	},
	"internal_listener": {pages: map[string]string{"GET /": page}, inside: frontURL},
	"basic_auth":        {pages: map[string]string{"GET /": page}, login: true},
	"import": {
		keys:  map[string]string{portalName: apiKey, "shop.example.org": otherKey},
		pages: map[string]string{"GET /": page},
	},
}

// TestOrdinaryCaddyfiles serves the Caddyfiles of the page, over TLS as they are written. In each,
// Rollcall answers the endpoints and the websocket, and the rest of the site all other paths.
func TestOrdinaryCaddyfiles(t *testing.T) {
	files, err := filepath.Glob("../../caddymodule/testdata/adapt/ordinary_*.caddyfiletest")
	if err != nil || len(files) != len(ordinary) {
		t.Fatalf("%d golden files, want %d, error %v", len(files), len(ordinary), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "ordinary_"), ".caddyfiletest")
		t.Run(name, func(t *testing.T) {
			site, known := ordinary[name]
			if !known {
				t.Fatal("nothing says what it serves")
			}
			golden, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text, _, _ := strings.Cut(string(golden), "----------\n")
			setKeys(t)
			load(t, caddyfile("local_certs\nauto_https disable_redirects\n", here(t, text)))
			site.use(t)
		})
	}
}

// TestOrdinaryJSON serves the site of docs/caddyfiles.md that has no Caddyfile.
func TestOrdinaryJSON(t *testing.T) {
	text, err := os.ReadFile("../../docs/caddyfiles.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 1 {
		t.Fatalf("%d blocks of JSON, want 1", len(blocks))
	}
	var config struct {
		Admin map[string]any            `json:"admin"`
		Apps  map[string]map[string]any `json:"apps"`
	}
	if err := json.Unmarshal([]byte(strings.Replace(here(t, blocks[0][1]), `":443"`, `":9443"`, 1)), &config); err != nil {
		t.Fatal(err)
	}
	// The global options of caddyfile as JSON.
	config.Admin = map[string]any{"listen": "localhost:2999", "config": map[string]any{"persist": false}}
	config.Apps["http"]["https_port"] = 9443
	config.Apps["http"]["http_port"] = 9080
	config.Apps["http"]["grace_period"] = "1s"
	issuers := []any{map[string]any{"module": "internal"}}
	config.Apps["tls"] = map[string]any{"automation": map[string]any{"policies": []any{map[string]any{"issuers": issuers}}}}
	config.Apps["pki"] = map[string]any{"certificate_authorities": map[string]any{"local": map[string]any{"install_trust": false}}}
	changed, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	setKeys(t)
	load(t, caddyfile("", ""))
	if status, body := postJSON(t, string(changed)); status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	ordinarySite{pages: map[string]string{"GET /": page}}.use(t)
}

// setKeys sets the variables that the Caddyfiles name.
func setKeys(t *testing.T) {
	t.Helper()
	t.Setenv("ROLLCALL_API_KEY", apiKey)
	t.Setenv("PORTAL_API_KEY", apiKey)
	t.Setenv("SHOP_API_KEY", otherKey)
}

// here replaces the folders and addresses on the page with those of this test.
func here(t *testing.T, text string) string {
	t.Helper()
	folder := "testdata/page"
	if strings.Contains(text, "php_fastcgi") {
		folder = t.TempDir()
		for name, content := range map[string]string{"index.php": "<?php", "style.css": "a style"} {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The password of the page, hashed with the lowest cost: with the race detector and its own
	// cost (14), a check takes longer than a request may.
	const hash = "$2a$04$mXrOLBC7e2ARRxT3FseAjOHpczxLa2Dnt5yKADdFyaGpbbVRi3GE."
	text = regexp.MustCompile(`\$2a\$14\$\S+`).ReplaceAllLiteralString(text, hash)
	return strings.NewReplacer("/srv/page", folder, "/srv/{args[0]}", folder, ":8081", ":9081",
		"app:3000", application(t), "unix//run/php/php-fpm.sock", scripts(t)).Replace(text)
}

// application starts a backend behind a proxy, and returns its address.
func application(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "application: %s %s", r.Method, r.RequestURI)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// scripts starts a FastCGI responder, like PHP-FPM, and returns its address. It answers with the
// script, the request and its body.
func scripts(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", loopback.AddressFor(t))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { // ends with the listener
		ended <- fcgi.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			script := fcgi.ProcessEnv(r)["SCRIPT_FILENAME"]
			if _, err := os.Stat(script); err != nil {
				t.Error(err)
			}
			fmt.Fprintf(w, "script: %s %s %s %s", filepath.Base(script), r.Method, r.URL.RequestURI(), body)
		}))
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	return l.Addr().String()
}

// use asks every host of the site for what it should serve.
func (o ordinarySite) use(t *testing.T) {
	t.Helper()
	keys := o.keys
	if keys == nil {
		keys = map[string]string{portalName: apiKey}
	}
	for host, key := range keys {
		at := ws.Site{URL: tlsURL, Host: host + ":9443", Key: key, Client: tlsClient(host)}
		ws.Poll(t, ws.Patience, func() error { // the certificate is issued after the start
			_, err := at.Do(http.MethodGet, "/", "")
			return err
		})
		o.useAt(t, at)
		for _, other := range keys {
			if a := o.users(t, at, other); other != key && a.Status != http.StatusUnauthorized {
				t.Errorf("%s: users with the key of another host: status %d: %s", at.Host, a.Status, a.Body)
			}
		}
	}
	if o.absent != "" {
		at := ws.Site{URL: tlsURL, Host: o.absent + ":9443", Client: tlsClient(o.absent)}
		for _, path := range []string{"/", o.path("/client.js")} {
			if a := at.Request(t, http.MethodGet, path, ""); a.Status != http.StatusNotFound {
				t.Errorf("%s: %s: status %d: %s", at.Host, path, a.Status, a.Body)
			}
		}
	}
	if o.inside != "" {
		o.useAt(t, ws.Site{URL: o.inside, Host: portalName + ":9081", Key: apiKey})
	}
}

// useAt asks one host through one listener.
func (o ordinarySite) useAt(t *testing.T, at ws.Site) {
	t.Helper()
	if a := o.users(t, at, at.Key); a.Status != http.StatusOK || a.Body != "{}" {
		t.Errorf("%s: users: status %d: %s", at.Host, a.Status, a.Body)
	}
	request := at.Socket()
	request.URL = strings.Replace(request.URL, "/message/", o.path("/"), 1)
	ws.Dial(t, request)
	if a := at.Request(t, http.MethodGet, o.path("/client.js"), ""); a.Status != http.StatusOK || !strings.Contains(a.Body, "export class Rollcall") {
		t.Errorf("%s: client.js: status %d: %s", at.Host, a.Status, a.Body)
	}
	var header []string
	if o.login {
		if a := at.Request(t, http.MethodGet, "/", ""); a.Status != http.StatusUnauthorized {
			t.Errorf("%s: page without a password: status %d: %s", at.Host, a.Status, a.Body)
		}
		r := http.Request{Header: make(http.Header)}
		r.SetBasicAuth("ada", "correct horse")
		header = []string{"Authorization", r.Header.Get("Authorization")}
	}
	for request, want := range o.pages {
		method, path, _ := strings.Cut(request, " ")
		var body string
		if method == http.MethodPost {
			body = "a body"
		}
		a := at.Request(t, method, path, body, header...)
		if a.Status != http.StatusOK || !strings.Contains(a.Body, want) {
			t.Errorf("%s: %s: status %d: %s, want %q", at.Host, request, a.Status, a.Body, want)
		}
	}
}

func (o ordinarySite) users(t *testing.T, at ws.Site, key string) ws.Answer {
	t.Helper()
	return at.Request(t, http.MethodPost, o.path("/users"), `{"apiKey":"`+key+`","channel":"room"}`, "Content-Type", "application/json")
}

// path returns the path of an endpoint.
func (o ordinarySite) path(name string) string {
	if o.prefix != "" {
		return o.prefix + name
	}
	return "/message" + name
}

// Caddyfiles in which nothing would work do not load, and the error says what to write.
func TestHiddenSitesDoNotLoad(t *testing.T) {
	startCaddy(t)
	for name, rest := range map[string]string{
		"page for every path": "root testdata/page\n try_files {path} /index.html\n file_server",
		"catch-all":           "handle {\n reverse_proxy 127.0.0.1:9\n }",
	} {
		t.Run(name, func(t *testing.T) {
			reloadFails(t, caddyfile("", "http://portal.example.com:9080 {\n rollcall {\n api_key k\n }\n "+rest+"\n}\n"),
				"write handle /message/* { rollcall ... } and handle {")
		})
	}
}
