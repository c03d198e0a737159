package caddymodule

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Words of the tests about apps.
const (
	testSecret  = "0123456789abcdef0123"
	otherSecret = "fedcba98765432100123"
	testApp     = "app 101 key-a " + testSecret
)

// withApp is a site with an app and a few lines in its rollcall.
func withApp(options ...string) string {
	return inSite("rollcall {\napi_key k\npusher {\n" + testApp + "\n}\n" + strings.Join(options, "\n") + "\n}")
}

// inPusher is a site with a few lines in the block pusher.
func inPusher(lines ...string) string {
	return inSite("rollcall {\napi_key k\npusher {\n" + strings.Join(lines, "\n") + "\n}\n}")
}

func TestPusherDefaults(t *testing.T) {
	s := mustLoad(t, withApp()).handler(t).rollcall.Site
	want := app.Defaults()
	got := *s.Pusher
	if len(got.Apps) != 1 || got.Apps[0].ID != "101" || got.Apps[0].Host != (presence.HostName{}) || len(got.Apps[0].Keys) != 1 ||
		got.Apps[0].Keys[0].Key != "key-a" || string(got.Apps[0].Keys[0].Secret) != testSecret {
		t.Errorf("the apps are %+v", got.Apps)
	}
	if got.Apps = nil; !equalConfigs(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !s.Patterns.Signed {
		t.Error("the backend does not sign who may enter")
	}
	if s := loadHandler(t, "api_key k").rollcall.Site; s.Pusher != nil || s.Patterns.Signed {
		t.Errorf("a site without the block has apps: %+v", s.Pusher)
	}
}

func equalConfigs(a, b app.Config) bool {
	a.Apps, b.Apps = nil, nil
	return reflect.DeepEqual(a, b)
}

func TestPusherOptions(t *testing.T) {
	t.Setenv("ROLLCALL_TEST_KEY", "key-b")
	t.Setenv("ROLLCALL_TEST_SECRET", otherSecret)
	c := mustLoad(t, inPusher(testApp, "app 101 {env.ROLLCALL_TEST_KEY} {env.ROLLCALL_TEST_SECRET}", "app 102 key-c "+testSecret+" A.example.com",
		"client_events 7", "activity_timeout 30s", "path /pusher", "user_info 1KiB", "event_size 20KiB", "batch_size 20", "cache_ttl 10m",
		"presence_members 100", "subscription_count", "watchlist", "tls_only", "terminate members", "private_channels users", "email_field mail"))
	got := c.handler(t).rollcall.Site.Pusher
	want := app.Config{
		ClientEvents: true, ClientEventsPerSecond: 7, ActivityTimeout: 30 * time.Second, UserInfo: 1 << 10, EventSize: 20 << 10, BatchSize: 20,
		CacheTTL: 10 * time.Minute, PresenceMembers: 100, SubscriptionCount: true, Watchlist: true, TLSOnly: true, TerminateMembers: true,
		EmailField: "mail", Path: "/pusher",
	}
	if !equalConfigs(*got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !c.handler(t).rollcall.Site.Patterns.PrivateUsers {
		t.Error("private channels do not list users")
	}
	if len(got.Apps) != 2 || len(got.Apps[0].Keys) != 2 || got.Apps[0].Keys[1].Key != "key-b" || string(got.Apps[0].Keys[1].Secret) != otherSecret {
		t.Fatalf("the apps are %+v", got.Apps)
	}
	if host := got.Apps[1].Host; host != testkit.MustHost(t, "a.example.com") {
		t.Errorf("app 102 has the host %s", host)
	}
}

func TestPusherOptionsThatAreRefused(t *testing.T) {
	for _, test := range []struct{ name, caddyfile, want string }{
		{"no app", inPusher("client_events"), "pusher: no app: write app ID KEY SECRET"},
		{"ID with a slash", inPusher("app a/b k " + testSecret), "pusher: app: number 1: its ID is no text for a path"},
		{"key with a colon", inPusher("app 1 a:b " + testSecret), "pusher: app: number 1: its key is no text for a path"},
		{"the second app", inPusher(testApp, "app 1 ä "+testSecret), "pusher: app: number 2: its key"},
		{"unset ID", inPusher("app {env.ROLLCALL_NO_SUCH} k " + testSecret), "pusher: app: number 1: id is empty: is its environment variable set?"},
		{"unset key", inPusher("app 1 {env.ROLLCALL_NO_SUCH} " + testSecret), "pusher: app: number 1: key is empty: is its environment variable set?"},
		{"unset secret", inPusher("app 1 k {env.ROLLCALL_NO_SUCH}"), "pusher: app: number 1: secret is empty: is its environment variable set?"},
		{"unset host", inPusher("app 1 k " + testSecret + " {env.ROLLCALL_NO_SUCH}"), "pusher: app: number 1: host is empty"},
		{"a secret that others know", inPusher("app 1 k https://canary.example.com"), "secret is a URL, not a secret"},
		{"an unset secret before a host", inPusher("app 1 k {$ROLLCALL_NO_SUCH} portal.example.com"), "pusher: app: number 1: its secret is a host name"},
		{"an unset secret before an address", inPusher("app 1 k {$ROLLCALL_NO_SUCH} 127.0.0.1"), "its secret is a host name"},
		{"an unset secret before localhost", inPusher("app 1 k {$ROLLCALL_NO_SUCH} localhost"), "its secret is a host name"},
		{"an unset ID before a host", inPusher("app {$ROLLCALL_NO_SUCH} k " + otherSecret + " portal.example.com"), "its secret is a host name"},
		{"the key as secret", inPusher("app 1 canary-canary-canary canary-canary-canary"), "pusher: app: number 1: its secret is its key"},
		{"a key of two apps", inPusher(testApp, "app 102 key-a "+otherSecret), "pusher: app: number 2: its key is there already, for app 101"},
		{"a key with two secrets", inPusher(testApp, "app 101 key-a "+otherSecret), "its key is there already, for app 101"},
		{"an app with two hosts", inPusher(testApp, "app 101 key-b "+otherSecret+" b.example.com"), "app 101 has another host in another line"},
		{"pattern as host", inPusher(testApp + " *.example.com"), "is no host name"},
		{"path without a slash", inPusher(testApp, "path pusher"), "pusher: path \"pusher\": write it like /pusher"},
		{"path that ends with one", inPusher(testApp, "path /pusher/"), "write it like /pusher"},
		{"root as path", inPusher(testApp, "path /"), "write it like /pusher"},
		{"fraction of a second", inPusher(testApp, "activity_timeout 1500ms"), "pusher: activity_timeout 1.5s: use whole seconds up to 1h0m0s"},
		{"long activity timeout", inPusher(testApp, "activity_timeout 2h"), "activity_timeout 2h0m0s"},
		{"long cache", inPusher(testApp, "cache_ttl 31m"), "pusher: cache_ttl 31m0s: use a duration up to 30m0s"},
		{"large batches", inPusher(testApp, "batch_size 101"), "pusher: batch_size 101: use a number from 1 to 100"},
		{"how private channels are listed", inPusher(testApp, "private_channels all"), "pusher: private_channels: unknown word \"all\": use count or users"},
		{"what to terminate", inPusher(testApp, "terminate all"), "pusher: terminate: unknown word \"all\": use members"},

		{"everybody in presence channels", withApp("channels {\nanonymous presence-*\n}"), `channels: anonymous: "presence-*" fits channels that begin with presence-`},
		{"everybody in one presence channel", withApp("channels {\nanonymous presence-lobby\n}"), `"presence-lobby" fits channels`},
		{"everybody everywhere", withApp("channels {\nanonymous *\n}"), "write default anonymous for all other channels"},
		{"everybody in what ends with a word", withApp("channels {\nanonymous *-lobby\n}"), `"*-lobby" fits channels`},
		{"everybody in private channels", withApp("channels {\nanonymous private-*\n}"), `"private-*" is for channels that need a signature`},
		{"everybody in other channels", withApp("channels {\nanonymous lobby-* presence private\ndefault anonymous\n}"), ""},
		{"everybody where no earlier rule fits", withApp("channels {\nanonymous *-lobby\nauthenticated presence-*\n}"), ""},
		{"presence channels without apps", inSite("rollcall {\napi_key k\nchannels {\nanonymous presence-*\n}\n}"), ""},
		{"a backend that is asked about private channels", withApp("authorize https://app.example.com/may-join {\nsecret " + testSecret + "\n}"), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, test.caddyfile)
			if test.want != "" && err == nil || test.want == "" && err != nil || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if err != nil && (strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), testSecret)) {
				t.Errorf("%q shows a secret", err)
			}
		})
	}
}

func TestShortSecretsOfAppsWarn(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	ctx := newContext(t, inPusher("app 101 key-a 0123456789abcde", "app 102 key-b "+testSecret), log)
	if _, err := ctx.App("http"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(text); strings.Count(got, "the secret of an app is short") != 1 || !strings.Contains(got, `"app":"101"`) || strings.Contains(got, "0123456789abcde") {
		t.Errorf("the log is %s", got)
	}
}
