package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// TestOrdinaryCaddyfiles serves the Caddyfiles whose adapted form is a golden file: the endpoints and the page work.
func TestOrdinaryCaddyfiles(t *testing.T) {
	files, err := filepath.Glob("../../caddymodule/testdata/adapt/ordinary_*.caddyfiletest")
	if err != nil || len(files) < 9 {
		t.Fatalf("%d golden files, error %v", len(files), err)
	}
	const page = "the page"
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "ordinary_"), ".caddyfiletest")
		t.Run(name, func(t *testing.T) {
			golden, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text, _, _ := strings.Cut(string(golden), "----------\n")
			load(t, caddyfile("", text))
			prefix, status, want := "/message", http.StatusOK, page
			switch name {
			case "handle_path":
				prefix = "/live/message"
			case "php":
				status, want = http.StatusBadGateway, "" // no PHP runs here, but the request was for it
			case "basic_auth":
				status, want = http.StatusUnauthorized, ""
			}
			sites := []ws.Site{{URL: siteURL, Host: "portal.example.com:9080"}}
			switch name {
			case "many_domains":
				sites = append(sites, ws.Site{URL: siteURL, Host: "forum.example.net:9080"})
			case "internal_listener":
				sites = append(sites, ws.Site{URL: frontURL, Host: "portal.example.com:9081"})
			}
			for _, site := range sites {
				a := site.Request(t, http.MethodPost, prefix+"/users", `{"apiKey":"`+apiKey+`","channel":"room"}`, "Content-Type", "application/json")
				if a.Status != http.StatusOK || a.Body != "{}" {
					t.Errorf("%s: users: status %d: %s", site.Host, a.Status, a.Body)
				}
				request := site.Socket()
				request.URL = strings.Replace(request.URL, "/message/", prefix+"/", 1)
				ws.Dial(t, request)
				if a := site.Request(t, http.MethodGet, "/index.php", ""); name == "php" && a.Status != status {
					t.Errorf("%s: a script: status %d: %s", site.Host, a.Status, a.Body)
				}
				if a := site.Request(t, http.MethodGet, "/", ""); name != "php" && (a.Status != status || !strings.Contains(a.Body, want)) {
					t.Errorf("%s: page: status %d: %s", site.Host, a.Status, a.Body)
				}
			}
		})
	}
}

// ordinaryJSON has the routes that docs/configuration.md shows, with the admin endpoint, the port, the folder and the key
// of these tests.
const ordinaryJSON = `{
	"admin": {"listen": "localhost:2999", "config": {"persist": false}},
	"apps": {"http": {"grace_period": "1s", "servers": {"portal": {
		"listen": [":9080"],
		"automatic_https": {"disable": true},
		"routes": [{
			"match": [{"host": ["portal.example.com"]}],
			"handle": [{"handler": "subroute", "routes": [
				{"match": [{"path": ["/message/*"]}], "handle": [{"handler": "rollcall", "api_key": ["BFAPI_integration"]}]},
				{"handle": [{"handler": "file_server", "root": "testdata/page"}]}
			]}]
		}]
	}}}}
}`

// TestOrdinaryJSON serves a site that is configured without a Caddyfile.
func TestOrdinaryJSON(t *testing.T) {
	load(t, caddyfile("", ""))
	if status, body := postJSON(t, ordinaryJSON); status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	a := portalHost.Request(t, http.MethodPost, "/message/users", `{"apiKey":"`+apiKey+`"}`, "Content-Type", "application/json")
	if a.Status != http.StatusOK || a.Body != "{}" {
		t.Errorf("users: status %d: %s", a.Status, a.Body)
	}
	portalHost.Dial(t)
	if a := portalHost.Request(t, http.MethodGet, "/", ""); a.Status != http.StatusOK || !strings.Contains(a.Body, "the page") {
		t.Errorf("page: status %d: %s", a.Status, a.Body)
	}
}

// Those in which nothing would work do not load, and say what to write.
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
