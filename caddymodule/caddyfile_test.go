package caddymodule

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func TestCaddyfile(t *testing.T) {
	for _, test := range []struct {
		name, input string
		want        Handler
	}{
		{"directive alone", "rollcall", Handler{}},
		{"empty block", "rollcall {\n}", Handler{}},
		{"prefix", "rollcall {\nprefix /live\n}", Handler{Prefix: "/live"}},
		{"one key", "rollcall {\napi_key a\n}", Handler{APIKey: []string{"a"}}},
		{"several keys", "rollcall {\napi_key a {env.B} sha256:00\n}", Handler{APIKey: []string{"a", "{env.B}", "sha256:00"}}},
		{"api_from", "rollcall {\napi_from private_ranges 192.0.2.1\n}", Handler{APIFrom: []string{"private_ranges", "192.0.2.1"}}},
		{"origins", "rollcall {\norigins https://a.example *\n}", Handler{Origins: []string{"https://a.example", "*"}}},
		{"user id", "rollcall {\nuser {http.vars.id}\n}", Handler{User: &UserPlaceholders{ID: "{http.vars.id}"}}},
		{"user id and e-mail", "rollcall {\nuser {a.id} {a.mail}\n}", Handler{User: &UserPlaceholders{ID: "{a.id}", Email: "{a.mail}"}}},
		{
			"user with info", "rollcall {\nuser {a.id} {a.mail} {\nname {a.name}\nteam \"blue {a.team}\"\n}\n}",
			Handler{User: &UserPlaceholders{ID: "{a.id}", Email: "{a.mail}", Info: map[string]string{"name": "{a.name}", "team": "blue {a.team}"}}},
		},
		{"ping interval", "rollcall {\nping 10s\n}", Handler{Ping: &Ping{Interval: caddy.Duration(10 * time.Second)}}},
		{
			"ping interval and timeout", "rollcall {\nping 500ms 1m\n}",
			Handler{Ping: &Ping{Interval: caddy.Duration(500 * time.Millisecond), Timeout: caddy.Duration(time.Minute)}},
		},
		{
			"jwt", "rollcall {\njwt {\nkey secret\njwks https://a/keys\nalgorithms RS256 ES256\nissuer i\naudience a\nid_claim c\nemail_claim e\ninfo_claim f\ncookie k\nrevocation 90m\n}\n}",
			Handler{JWT: &JWT{
				Key: "secret", JWKS: "https://a/keys", Algorithms: []string{"RS256", "ES256"},
				Issuer: "i", Audience: Audience{"a"}, IDClaim: "c", EmailClaim: "e", InfoClaim: "f", Cookie: "k",
				Revocation: caddy.Duration(90 * time.Minute),
			}},
		},
		{
			"channels", "rollcall {\nchannels {\nauthenticated vip-* a\nanonymous lobby-*\ndefault anonymous\n}\n}",
			Handler{Channels: &Channels{Authenticated: []string{"vip-*", "a"}, Anonymous: []string{"lobby-*"}, Default: "anonymous"}},
		},
		{"arguments that end with a comma", "rollcall {\nchannels {\ngranted \"a,\" b,\n}\n}", Handler{Channels: &Channels{Granted: []string{"a,", "b,"}}}},
		{"members", "rollcall {\nmembers {\nshow email badge\nnames 7\n}\n}", Handler{Members: &Members{Show: []string{"email", "badge"}, Names: 7}}},
		{
			"limits",
			"rollcall {\nlimits {\nchannels_per_connection 1\nchannels_per_host 7\nchannel_name 2\nframe 3KiB\nqueue 4MB\nconnections_per_host 5\nconnections_per_address 8\nframes_per_second 6\n}\n}",
			Handler{Limits: &Limits{
				ChannelsPerConnection: 1, ChannelsPerHost: 7, ChannelName: 2, Frame: 3 << 10, Queue: 4_000_000,
				ConnectionsPerHost: 5, ConnectionsPerAddress: 8, FramesPerSecond: 6,
			}},
		},
		{
			"plugin", "rollcall {\nplugin a.wasm\n}",
			Handler{Plugins: []*PluginConfig{{Path: "a.wasm"}}},
		},
		{
			"plugins in order", "rollcall {\nplugin b.wasm {\nwatch\n}\nprefix /live\nplugin a.wasm {\n}\nplugin b.wasm {\nname other\n}\n}",
			Handler{Prefix: "/live", Plugins: []*PluginConfig{{Path: "b.wasm", Watch: true}, {Path: "a.wasm"}, {Path: "b.wasm", Name: "other"}}},
		},
		{
			"all of a plugin", "rollcall {\nplugin a.wasm {\nname n\non_failure pass\nsha256 00\nwatch\nshared\ngrants\nkv 2MiB\nmemory 1MiB\nfile 2MB\ndocument 3KiB\n" +
				"instances 4\ninit_budget 5M\nclassify_budget 600\nmembers_budget 7k\nconnect_budget 4M\nmessage_budget 3k\nshape_budget 8G\nclassify_timeout 9ms\nmessage_timeout 8ms\nshape_timeout 1s\n}\n}",
			Handler{Plugins: []*PluginConfig{{
				Path: "a.wasm", Name: "n", OnFailure: "pass", SHA256: "00", Watch: true, Shared: true, Grants: true, KV: 2 << 20, ConnectBudget: 4_000_000, MessageBudget: 3000,
				Memory: 1 << 20, File: 2_000_000, Document: 3 << 10, Instances: 4,
				InitBudget: 5_000_000, ClassifyBudget: 600, MembersBudget: 7000, ShapeBudget: 8_000_000_000,
				ClassifyTimeout: caddy.Duration(9 * time.Millisecond), MessageTimeout: caddy.Duration(8 * time.Millisecond),
				ShapeTimeout: caddy.Duration(time.Second),
			}}},
		},
		{
			"backend", "rollcall {\nbackend https://app.example.com/rollcall {\nsecret {env.A} {env.B}\ntimeout 5s\nqueue 1MiB\n}\n}",
			Handler{Backend: &Backend{
				URL: "https://app.example.com/rollcall", Secret: []string{"{env.A}", "{env.B}"},
				Timeout: caddy.Duration(5 * time.Second), Queue: 1 << 20,
			}},
		},
		{"quoted arguments", "rollcall {\napi_key \"a b\" `c`\n}", Handler{APIKey: []string{"a b", "c"}}},
		{"comments", "rollcall { # here\n# and here\nprefix /a # there\n}", Handler{Prefix: "/a"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := caddyfile.NewTestDispenser(test.input)
			var h Handler
			if err := h.UnmarshalCaddyfile(d); err != nil {
				t.Fatal(err)
			}
			if d.Next() {
				t.Errorf("%q is left over", d.Val())
			}
			// Only the output of caddy adapt survives.
			got, want := toJSON(t, &h), toJSON(t, &test.want)
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCaddyfileRefuses(t *testing.T) {
	inBlock := func(s string) string { return "rollcall {\n" + s + "\n}" }
	for _, test := range []struct {
		name, input string
		want        []string // parts of the error
	}{
		{"argument", "rollcall a {\n}", []string{`unexpected argument "a" after rollcall`, "in a block"}},
		{"unknown subdirective", inBlock("orgins *"), []string{`unknown subdirective "orgins"`, "api_key, authorize, backend, channels, events, grace, jwt, limits, members, origins, ping, plugin, prefix, pusher, user", ":2"}},
		{"unknown in jwt", inBlock("jwt {\nalg HS256\n}"), []string{`unknown subdirective "alg"`, "algorithms, audience, channels_claim, cookie, email_claim, id_claim, info_claim, issuer, jwks, key, revocation"}},
		{"unknown in channels", inBlock("channels {\nprivate a\n}"), []string{`unknown subdirective "private"`, "anonymous, authenticated, default"}},
		{
			"unknown in limits", inBlock("limits {\nframes 1\n}"),
			[]string{`unknown subdirective "frames"`, "channel_name, channels_per_connection, channels_per_host, connections_per_address, connections_per_host, frame, frames_per_second, queue"},
		},
		{"prefix twice", inBlock("prefix /a\nprefix /b"), []string{"prefix is there already", ":3"}},
		{"jwt twice", inBlock("jwt {\n}\njwt {\n}"), []string{"jwt is there already"}},
		{"key twice in jwt", inBlock("jwt {\nkey a\nkey b\n}"), []string{"key is there already"}},

		{"no prefix", inBlock("prefix"), []string{"prefix has no argument"}},
		{"two prefixes", inBlock("prefix /a /b"), []string{"prefix has 2 arguments, and takes 1 at most"}},
		{"no key", inBlock("api_key"), []string{"api_key has no argument", "environment variable"}},
		{"no origin", inBlock("origins"), []string{"argument"}},
		{"no user", inBlock("user"), []string{"argument"}},
		{"user with three arguments", inBlock("user a b c"), []string{"user has 3 arguments, and takes 2 at most"}},
		{"argument of jwt", inBlock("jwt secret {\n}"), []string{`unexpected argument "secret" after jwt`}},
		{"argument of channels", inBlock("channels a"), []string{`unexpected argument "a" after channels`}},
		{"argument of limits", inBlock("limits a"), []string{`unexpected argument "a"`}},
		{"two secrets", inBlock("jwt {\nkey my secret\n}"), []string{"key has 2 arguments, and takes 1 at most: remove some", ":3"}},
		{"two defaults", inBlock("channels {\ndefault a b\n}"), []string{"argument"}},
		{"commas between patterns", inBlock("channels {\ngranted team-*, deal-*\n}"), []string{"granted: argument 1 ends with a comma: separate arguments by spaces alone, or put quotes around this one", ":3"}},
		{"a comma between keys", inBlock("api_key canary {env.A}, {env.B}"), []string{"api_key: argument 2 ends with a comma"}},
		{"block of an option", inBlock("prefix /a {\nb\n}"), []string{`unexpected block at "b"`}},
		{"block of keys", inBlock("api_key a {\nb\n}"), []string{`unexpected block at "b"`}},
		{"info of user without a value", inBlock("user a {\nb\n}"), []string{"b has no argument"}},
		{"info of user twice", inBlock("user a {\nb c\nb d\n}"), []string{"b is there already"}},

		{"backend without a URL", inBlock("backend {\nsecret a\n}"), []string{"backend has no argument"}},
		{"backend with two URLs", inBlock("backend http://a http://b"), []string{`unexpected argument "http://b"`}},
		{"two backends", inBlock("backend http://a\nbackend http://b"), []string{"backend is there already", ":3"}},
		{"unknown in backend", inBlock("backend http://a {\nkey b\n}"), []string{`unknown subdirective "key"`, "use one of queue, secret, timeout"}},
		{"no secret", inBlock("backend http://a {\nsecret\n}"), []string{"argument"}},

		{"plugin without a file", inBlock("plugin"), []string{"plugin has no argument", "environment variable"}},
		{"plugin with two files", inBlock("plugin a.wasm b.wasm"), []string{`unexpected argument "b.wasm"`}},
		{
			"unknown in plugin", inBlock("plugin a.wasm {\nfuel 1\n}"),
			[]string{`unknown subdirective "fuel"`, "classify_budget, classify_timeout, config, connect_budget, document, file, grants, init_budget, instances, kv, members_budget, memory, message_budget, message_timeout, name, on_failure, sha256, shape_budget, shape_timeout, shared, watch"},
		},
		{"grants with an argument", inBlock("plugin a.wasm {\ngrants team-*\n}"), []string{`unexpected argument "team-*" after grants: remove it`}},
		{"kv without a size", inBlock("plugin a.wasm {\nkv\n}"), []string{"kv has no argument"}},
		{"kv of words", inBlock("plugin a.wasm {\nkv much\n}"), []string{`"much" is not a size up to 1GiB like 64KiB`}},
		{"watch twice", inBlock("plugin a.wasm {\nwatch\nwatch\n}"), []string{"watch is there already", ":4"}},
		{"watch with an argument", inBlock("plugin a.wasm {\nwatch 2s\n}"), []string{`unexpected argument "2s" after watch: remove it`}},
		{"watch with a block", inBlock("plugin a.wasm {\nwatch {\na\n}\n}"), []string{`unexpected block at "a"`}},
		{"policy of nothing", inBlock("plugin a.wasm {\non_failure\n}"), []string{"argument"}},
		{"no timeout", inBlock("plugin a.wasm {\nclassify_timeout\n}"), []string{"argument"}},
		{"timeout without unit", inBlock("plugin a.wasm {\nshape_timeout 5\n}"), []string{`"5" is not a duration`}},
		{"no budget", inBlock("plugin a.wasm {\ninit_budget\n}"), []string{"argument"}},
		{"budget of nothing", inBlock("plugin a.wasm {\ninit_budget 0\n}"), []string{`"0" is not a number of steps like 200k, 50M or 1G`}},
		{"negative budget", inBlock("plugin a.wasm {\ninit_budget -5M\n}"), []string{`"-5M" is not a number of steps`}},
		{"budget in small letters", inBlock("plugin a.wasm {\nshape_budget 5m\n}"), []string{`"5m" is not a number of steps`}},
		{"unit of a budget", inBlock("plugin a.wasm {\nshape_budget M\n}"), []string{`"M" is not a number of steps`}},
		{"empty budget", inBlock("plugin a.wasm {\nshape_budget \"\"\n}"), []string{`"" is not a number of steps`}},
		{"budget beyond counting", inBlock("plugin a.wasm {\nshape_budget 10000000000G\n}"), []string{"is not a number of steps"}},
		{"config with an argument", inBlock("plugin a.wasm {\nconfig a\n}"), []string{`unexpected argument "a" after config`, "in a block"}},
		{"word twice in config", inBlock("plugin a.wasm {\nconfig {\na b\na c\n}\n}"), []string{"a is there already: write it once, with all its arguments", ":5"}},
		{"word twice in a block of config", inBlock("plugin a.wasm {\nconfig {\no {\na\na\n}\n}\n}"), []string{"a is there already"}},
		{"arguments and a block in config", inBlock("plugin a.wasm {\nconfig {\na b {\nc\n}\n}\n}"), []string{"a has arguments and a block: write one of them"}},
		{"arguments and an empty block in config", inBlock("plugin a.wasm {\nconfig {\na b {\n}\n}\n}"), []string{"a has arguments and a block: write one of them"}},
		{"config too deep", inBlock("plugin a.wasm {\nconfig " + strings.Repeat("{\na ", 70) + strings.Repeat("\n}", 70) + "\n}"), []string{"blocks are nested more than 64 deep"}},

		{"no ping", inBlock("ping"), []string{"argument"}},
		{"three pings", inBlock("ping 1s 2s 3s"), []string{"argument"}},
		{"ping without unit", inBlock("ping 25"), []string{`"25" is not a duration like 25s`}},
		{"ping of nothing", inBlock("ping 0s"), []string{`"0s" is not a duration`}},
		{"negative ping", inBlock("ping -1s"), []string{`"-1s" is not a duration`}},
		{"bad timeout", inBlock("ping 1s soon"), []string{`"soon" is not a duration`}},

		{"number of words", inBlock("limits {\nchannel_name many\n}"), []string{`"many" is not a number from 1`}},
		{"zero", inBlock("limits {\nchannel_name 0\n}"), []string{`"0" is not a number from 1`}},
		{"negative number", inBlock("limits {\nframes_per_second -1\n}"), []string{`"-1" is not a number from 1`}},
		{"fraction", inBlock("limits {\nconnections_per_host 1.5\n}"), []string{`"1.5" is not a number from 1`}},
		{"huge number", inBlock("limits {\nconnections_per_host 99999999999999999999\n}"), []string{"is not a number from 1"}},
		{"two numbers", inBlock("limits {\nchannel_name 1 2\n}"), []string{"argument"}},
		{"no size", inBlock("limits {\nframe\n}"), []string{"argument"}},
		{"size of words", inBlock("limits {\nframe big\n}"), []string{`"big" is not a size up to 1GiB like 64KiB`}},
		{"negative size", inBlock("limits {\nframe -1\n}"), []string{`"-1" is not a size`}},
		{"no bytes", inBlock("limits {\nqueue 0\n}"), []string{`"0" is not a size`}},
		{"huge size", inBlock("limits {\nqueue 2GiB\n}"), []string{`"2GiB" is not a size`}},
		{"size beyond numbers", inBlock("limits {\nqueue 99999999EB\n}"), []string{"is not a size"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var h Handler
			err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(test.input))
			if err == nil {
				t.Fatalf("no error, and the handler is %s", toJSON(t, &h))
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error is %q, without %q", err, want)
				}
			}
		})
	}
}

func TestCaddyfileGlobalOption(t *testing.T) {
	for _, test := range []struct{ name, input, want string }{
		{"empty", "rollcall {\n}", `{}`},
		{
			"all", "rollcall {\ndata_center us-east-1\npod {env.POD}\ndrain_timeout 2m\nplugin_memory 4GiB\ncluster {\nlisten 10.0.0.1:6222\n}\n}",
			`{"data_center":"us-east-1","pod":"{env.POD}","drain_timeout":120000000000,"plugin_memory":4294967296,"cluster":{"listen":"10.0.0.1:6222"}}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseGlobalOption(caddyfile.NewTestDispenser(test.input), nil)
			if err != nil {
				t.Fatal(err)
			}
			want := httpcaddyfile.App{Name: "rollcall", Value: json.RawMessage(test.want)}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	for _, test := range []struct{ name, input, want string }{
		{"argument", "rollcall a {\n}", `unexpected argument "a"`},
		{"unknown", "rollcall {\ndc a\n}", "use one of cluster, data_center, drain_timeout, plugin_memory, pod"},
		{"twice", "rollcall {\npod a\npod b\n}", "pod is there already"},
		{"no name", "rollcall {\npod\n}", "argument"},
		{"no duration", "rollcall {\ndrain_timeout 3\n}", `"3" is not a duration`},
		{"endless", "rollcall {\ndrain_timeout -1s\n}", `"-1s" is not a duration`},
		{"no time", "rollcall {\ndrain_timeout\n}", "argument"},
		{"too much memory", "rollcall {\nplugin_memory 2TiB\n}", `"2TiB" is not a size up to 1TiB like 1GiB`},
		{"no memory", "rollcall {\nplugin_memory\n}", "argument"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseGlobalOption(caddyfile.NewTestDispenser(test.input), nil)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %+v and error %v, want %q", got, err, test.want)
			}
		})
	}
	t.Run("two blocks", func(t *testing.T) {
		_, err := parseGlobalOption(caddyfile.NewTestDispenser("rollcall {\n}"), httpcaddyfile.App{})
		if err == nil || !strings.Contains(err.Error(), "configured already") || !strings.Contains(err.Error(), "Testfile:1") {
			t.Errorf("error %v", err)
		}
	})
}

func TestAudienceInJSON(t *testing.T) {
	for _, tt := range []struct {
		json string
		want Audience
		back string // the same, as this module writes it
	}{
		{`"portal"`, Audience{"portal"}, `"portal"`},
		{`["portal"]`, Audience{"portal"}, `"portal"`},
		{`["portal","shop"]`, Audience{"portal", "shop"}, `["portal","shop"]`},
		{`null`, nil, `null`},
	} {
		t.Run(tt.json, func(t *testing.T) {
			var got Audience
			if err := json.Unmarshal([]byte(tt.json), &got); err != nil {
				t.Fatal(err)
			}
			back, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) || string(back) != tt.back {
				t.Errorf("%#v, written as %s", got, back)
			}
		})
	}
	if err := json.Unmarshal([]byte("7"), new(Audience)); err == nil {
		t.Error("a number is an audience")
	}
}
