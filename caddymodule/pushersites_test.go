package caddymodule

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
)

// callApp sends a request to the HTTP API of an app, signed for the path signed, and returns the
// status and the body.
func callApp(t *testing.T, server *httptest.Server, host, method, path, signed, body string, key *app.Key) (int, string) {
	t.Helper()
	query := fmt.Sprintf("auth_key=%s&auth_timestamp=%d&auth_version=1.0", key.Key, time.Now().Unix())
	if body != "" {
		sum := md5.Sum([]byte(body))
		query += "&body_md5=" + hex.EncodeToString(sum[:])
	}
	query += "&auth_signature=" + key.Sign([]byte(method+"\n"+signed+"\n"+query))
	r, err := http.NewRequest(method, server.URL+path+"?"+query, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// trigger sends an event to the channel open of an app.
func trigger(t *testing.T, server *httptest.Server, host, prefix, signedPrefix, id string, key *app.Key) (int, string) {
	t.Helper()
	path := "/apps/" + id + "/events"
	return callApp(t, server, host, http.MethodPost, prefix+path, signedPrefix+path, `{"name":"order","channels":["open"],"data":"7"}`, key)
}

// In ordinary Caddyfiles clients and backends get to the apps, and pages stay where they are.
func TestAppsInOrdinaryCaddyfiles(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "index.html"), []byte("the page"), 0o600); err != nil {
		t.Fatal(err)
	}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "the page, by "+r.URL.Path)
	}))
	t.Cleanup(upstream.Close)
	const (
		rollcall = "rollcall {\npusher {\n" + testApp + "\n}\nchannels {\ndefault anonymous\n}\n}\n"
		below    = "rollcall {\npusher {\n" + testApp + "\npath /pusher\n}\nchannels {\ndefault anonymous\n}\n}\n"
		handle   = "@rollcall path /message/* /app/* /apps/*\nhandle @rollcall {\n" + rollcall + "}\n"
	)
	proxy, files := "reverse_proxy "+strings.TrimPrefix(upstream.URL, "http://")+"\n", "root * "+root+"\nfile_server\n"
	spa := "handle {\nroot * " + root + "\ntry_files {path} /index.html\nfile_server\n}\n"
	for _, test := range []struct{ name, site, prefix, page, host string }{
		{"files", rollcall + files, "", "/", ""},
		{"proxy", rollcall + proxy, "", "/app/dashboard", ""},
		{"proxy in a handle", handle + "handle {\n" + proxy + "}", "", "/orders/7", ""},
		{"single page", handle + spa, "", "/orders/7", ""},
		{"single page below /app", strings.Replace(handle, "/app/* /apps/*", "/app/key-a /apps/101/*", 1) + spa, "", "/app/dashboard", ""},
		{"a handle for each path", "handle /message/* {\n" + rollcall + "}\nhandle /app/* {\n" + rollcall + "}\nhandle /apps/* {\n" + rollcall + "}\n" + spa, "", "/orders", ""},
		{"stripped path", "handle_path /live/* {\n" + rollcall + "}\n" + spa, "/live", "/orders", ""},
		{"option path", below + files, "/pusher", "/", ""},
		{"option path alone in a handle", "@rollcall path /message/* /pusher/*\nhandle @rollcall {\n" + below + "}\n" + spa, "/pusher", "/app/key-a", ""},
		{"password for the page", handle + "handle {\nbasic_auth {\nada $2a$14$TfyBJ1cKCojYSUFmm3cuoOxZEAkMjhPVr7XPk48h3sbu4QmrLk9qi\n}\n" + files + "}", "", "", ""},
		{"redirect of the page", "redir /old /new\n" + rollcall + files, "", "/", ""},
		{"named route", "invoke app\n" + files, "", "/", ""},
		{"snippet", "import app\n" + files, "", "/", ""},
		{"wildcard", rollcall + files, "", "/", "shop.w.example.com"},
		{"one customer of a wildcard", "@shop host shop.w.example.com\nhandle @shop {\n" + rollcall + "}\nhandle {\n" + files + "}", "", "", "shop.w.example.com"},
		{"addresses of backends", strings.Replace(rollcall, "pusher {", "api_from 127.0.0.1 ::1\npusher {", 1) + files, "", "/", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			caddyfile := "{\nauto_https off\n}\n(app) {\n" + rollcall + "}\n&(app) {\n" + rollcall + "}\nhttp://a.example.com, http://*.w.example.com {\n" + test.site + "\n}"
			c := mustLoad(t, caddyfile)
			c.snapshot() // says whether it would start
			server := c.front(t)
			host := test.host
			if host == "" {
				host = "a.example.com"
			}
			client := openApp(t, server, host, test.prefix+"/app/key-a")
			if got := client.subscribe(t, "open", "", nil); got.Event != "pusher_internal:subscription_succeeded" {
				t.Fatalf("subscribed with %+v", got)
			}
			for _, signed := range []string{test.prefix, ""} { // a library of PHP leaves the prefix out
				if code, body := trigger(t, server, host, test.prefix, signed, "101", testKey); code != http.StatusOK || body != "{}" {
					t.Fatalf("signed with the prefix %q: status %d, %s", signed, code, body)
				}
				if got := client.read(t); got.Event != "order" || got.text() != "7" {
					t.Errorf("the event is %+v", got)
				}
			}
			if test.page == "" {
				return
			}
			r, err := http.NewRequest(http.MethodGet, server.URL+test.page, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = host
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if text, err := io.ReadAll(response.Body); err != nil || !strings.HasPrefix(string(text), "the page") {
				t.Errorf("the page is %d %q, error %v", response.StatusCode, text, err)
			}
		})
	}
}

// A backend that is not in api_from, and one that asks another site, get nothing.
func TestBackendsOfOtherPlaces(t *testing.T) {
	server := mustLoad(t, "{\nauto_https off\n}\nhttp://a.example.com {\nrollcall {\napi_from 192.0.2.1\npusher {\n"+testApp+"\n}\n}\n}\n"+
		"http://b.example.com {\nrollcall {\npusher {\napp 102 key-b "+otherSecret+"\n}\n}\n}\nhttp://c.example.com {\nrollcall\nrespond \"page\" 203\n}").front(t)
	otherKey := &app.Key{Key: "key-b", Secret: []byte(otherSecret)}
	for _, test := range []struct {
		name, host, id string
		key            *app.Key
		want           int
	}{
		{"another address", "a.example.com", "101", testKey, http.StatusForbidden},
		{"its own", "b.example.com", "102", otherKey, http.StatusOK},
		{"the app of another site", "b.example.com", "101", testKey, http.StatusNotFound},
		{"the key of another site", "b.example.com", "102", testKey, http.StatusUnauthorized},
		{"a site without apps", "c.example.com", "101", testKey, 203},
	} {
		t.Run(test.name, func(t *testing.T) {
			if code, body := trigger(t, server, test.host, "", "", test.id, test.key); code != test.want {
				t.Errorf("status %d, want %d: %s", code, test.want, body)
			}
		})
	}
}

// An event for a pinned app arrives once, whichever names the backend and the client ask (T3).
func TestT03PinnedAppByThreeNames(t *testing.T) {
	server := mustLoad(t, "{\nauto_https off\n}\nhttp://y.example.com, http://z.example.com {\nrollcall {\npusher {\n"+testApp+" x.example.com\n}\n"+
		"channels {\ndefault anonymous\n}\n}\n}").front(t)
	client := openApp(t, server, "z.example.com", "/app/key-a")
	if got := client.subscribe(t, "open", "", nil); got.Event != "pusher_internal:subscription_succeeded" {
		t.Fatalf("subscribed with %+v", got)
	}
	if code, body := trigger(t, server, "y.example.com", "", "", "101", testKey); code != http.StatusOK {
		t.Fatalf("status %d, %s", code, body)
	}
	if got := client.read(t); got.Event != "order" {
		t.Errorf("the event is %+v", got)
	}
	if err := client.WriteJSON(map[string]string{"event": "pusher:ping"}); err != nil {
		t.Fatal(err)
	}
	if got := client.read(t); got.Event != "pusher:pong" {
		t.Errorf("after the event comes %+v", got)
	}
}
