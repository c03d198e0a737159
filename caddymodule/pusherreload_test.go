package caddymodule

import (
	"net/http/httptest"
	"testing"

	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
)

// pusherSite is a site with the lines in its block pusher, or without the block.
func pusherSite(lines string) string {
	const site = "http://portal.example.com, http://other.example.com {\nrollcall {\napi_key k\n"
	if lines == "" {
		return site + "}\n}"
	}
	return site + "pusher {\n" + lines + "\n}\n}\n}"
}

// A reload keeps the connections of the apps that it keeps, whatever their keys, and closes those
// of all others.
func TestReloadsOfApps(t *testing.T) {
	const old, next = "app 101 key-a " + testSecret, "app 101 key-n " + otherSecret
	oldKey, nextKey := testKey, &app.Key{Key: "key-n", Secret: []byte(otherSecret)}
	sameKey := &app.Key{Key: "key-a", Secret: []byte(otherSecret)}
	for _, test := range []struct {
		name, before, after string
		valid, refused      []*app.Key
		closed              bool
	}{
		{"nothing changes", old, old, []*app.Key{oldKey}, []*app.Key{nextKey}, false},
		{"another secret", old, "app 101 key-a " + otherSecret, []*app.Key{sameKey}, []*app.Key{oldKey}, false},
		{"another key", old, next, []*app.Key{nextKey}, []*app.Key{oldKey}, false},
		{"both keys", old, next + "\n" + old, []*app.Key{nextKey, oldKey}, []*app.Key{sameKey}, false},
		{"another option", old, old + "\nclient_events\npath /pusher", []*app.Key{oldKey}, nil, false},
		{"another app in addition", old, old + "\napp 102 key-n " + otherSecret, []*app.Key{oldKey}, []*app.Key{nextKey}, false},
		{"another ID", old, "app 102 key-a " + testSecret, nil, nil, true},
		{"its own host", old, old + " portal.example.com", []*app.Key{oldKey}, []*app.Key{nextKey}, false},
		{"its own host no longer", old + " portal.example.com", old, []*app.Key{oldKey}, []*app.Key{nextKey}, false},
		{"another host", old, old + " other.example.com", nil, nil, true},
		{"no apps", old, "", nil, nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			handler, swap := replaced(t, pusherSite(test.before), pusherSite(test.after))
			client := openApp(t, listen(t, handler), "portal.example.com", "/app/key-a")
			if got := client.subscribe(t, "private-before", "", testKey); got.Event != "pusher_internal:subscription_succeeded" {
				t.Fatalf("subscribed with %+v", got)
			}
			swap()
			if test.closed {
				if code, _ := closedWith(t, client.Conn); code != 4001 {
					t.Errorf("closed with %d", code)
				}
				return
			}
			for _, key := range test.valid {
				if got := client.subscribe(t, "private-after", "", key); got.Event != "pusher_internal:subscription_succeeded" {
					t.Errorf("with %s: %+v", key.Key, got)
				}
			}
			for _, key := range test.refused {
				if got := client.subscribe(t, "private-refused", "", key); got.Event != "pusher:subscription_error" {
					t.Errorf("with %s: %+v", key.Key, got)
				}
			}
		})
	}
}

// A request that an earlier handler still gets is for the apps of the configuration in effect.
func TestReplacedHandlerHasTheAppsInEffect(t *testing.T) {
	handler, swap := replaced(t, pusherSite(testApp), pusherSite("app 101 key-n "+otherSecret+"\napp 102 key-p "+otherSecret+" tenant.example.com"))
	server := listen(t, handler)
	swap()
	nextKey := &app.Key{Key: "key-n", Secret: []byte(otherSecret)}
	client := openApp(t, server, "portal.example.com", "/app/key-n")
	if got := client.subscribe(t, "private-x", "", nextKey); got.Event != "pusher_internal:subscription_succeeded" {
		t.Errorf("subscribed with %+v", got)
	}
	checkCode := func(server *httptest.Server, path string, want int) {
		t.Helper()
		conn, _, err := dialApp(t, server, "portal.example.com", path)
		if err != nil {
			t.Fatal(err)
		}
		if code, _ := closedWith(t, conn); code != want {
			t.Errorf("%s: closed with %d, want %d", path, code, want)
		}
	}
	checkCode(server, "/app/key-a", 4001)
	if code, body := callApp(t, server, "portal.example.com", "GET", "/apps/101/channels", "/apps/101/channels", "", nextKey); code != 200 {
		t.Errorf("status %d: %s", code, body)
	}
	if code, body := callApp(t, server, "portal.example.com", "GET", "/apps/101/channels", "/apps/101/channels", "", testKey); code != 401 {
		t.Errorf("status %d: %s", code, body)
	}
}
