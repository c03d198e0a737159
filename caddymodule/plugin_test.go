package caddymodule

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/rollcall-gateway/rollcall/plugins"
)

func TestConfigBlockBecomesJSON(t *testing.T) {
	for _, test := range []struct{ name, block, want string }{
		{"empty", "{\n}", `{}`},
		{"alone", "", `{}`},
		{"word alone", "{\nstrict\n}", `{"strict":true}`},
		{"one argument", "{\nteam sales\n}", `{"team":"sales"}`},
		{"several arguments", "{\nteams sales support\n}", `{"teams":["sales","support"]}`},
		{"numbers are texts", "{\nkeep 2\n}", `{"keep":"2"}`},
		{"block", "{\nteam {\nname sales\n}\n}", `{"team":{"name":"sales"}}`},
		{"empty block", "{\nteam {\n}\nnext\n}", `{"team":{},"next":true}`},
		{"blocks in each other", "{\na {\nb {\nc d\n}\ne\n}\nf g\n}", `{"a":{"b":{"c":"d"},"e":true},"f":"g"}`},
		{"the same word in different blocks", "{\na {\na {\na a\n}\n}\n}", `{"a":{"a":{"a":"a"}}}`},
		{"quotes", "{\n\"two words\" \"a b\" `c\"d`\n}", `{"two words":["a b","c\"d"]}`},
		{"empty text", "{\na \"\"\n}", `{"a":""}`},
		{"names of options", "{\nwatch\nmemory 1\nplugin x\n}", `{"watch":true,"memory":"1","plugin":"x"}`},
		{"placeholders stay for the load", "{\nkey {env.KEY}\n}", `{"key":"{env.KEY}"}`},
		{"order", "{\nz\ny\nx\n}", `{"z":true,"y":true,"x":true}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := caddyfile.NewTestDispenser("plugin a.wasm {\nconfig " + test.block + "\nshared\n}")
			d.Next()
			var c PluginConfig
			if err := c.UnmarshalCaddyfile(d); err != nil {
				t.Fatal(err)
			}
			if string(c.Config) != test.want || !c.Shared {
				t.Errorf("got %s and shared %t, want %s", c.Config, c.Shared, test.want)
			}
		})
	}
}

func TestPluginSpec(t *testing.T) {
	t.Setenv("ROLLCALL_TEST_DIR", "/srv/plugins")
	t.Setenv("ROLLCALL_TEST_QUOTE", `"a" \ b`)
	hash := strings.Repeat("aB", 32)
	c := PluginConfig{
		Path: "{env.ROLLCALL_TEST_DIR}/mask.wasm", OnFailure: "pass", SHA256: hash, Shared: true,
		Config: json.RawMessage(`{ "a": "{env.ROLLCALL_TEST_QUOTE}", "{env.ROLLCALL_TEST_DIR}": ["{no.such}", 1e400, null, true, {"{":"{}"}], "n": 12345678901234567890 }`),
		Memory: 1 << 20, File: 2 << 20, Document: 3 << 10, Instances: 4,
		InitBudget: 5, ClassifyBudget: 6, MembersBudget: 7, ShapeBudget: 8, ConnectBudget: 12, MessageBudget: 13,
		ClassifyTimeout: caddy.Duration(9 * time.Millisecond), MessageTimeout: caddy.Duration(11 * time.Millisecond), ShapeTimeout: caddy.Duration(10 * time.Millisecond),
	}
	s, err := c.spec()
	if err != nil {
		t.Fatal(err)
	}
	want := plugins.Spec{
		Path: "/srv/plugins/mask.wasm", Name: "mask", SHA256: strings.ToLower(hash), OnFailure: plugins.Pass, Shared: true,
		Limits: plugins.Limits{
			Memory: 1 << 20, File: 2 << 20, Document: 3 << 10, Instances: 4,
			InitBudget: 5, ClassifyBudget: 6, MembersBudget: 7, ShapeBudget: 8, ConnectBudget: 12, MessageBudget: 13,
			ClassifyTimeout: 9 * time.Millisecond, MessageTimeout: 11 * time.Millisecond, ShapeTimeout: 10 * time.Millisecond,
		},
		Config: json.RawMessage(`{"a":"\"a\" \\ b","{env.ROLLCALL_TEST_DIR}":["{no.such}",1e400,null,true,{"{":"{}"}],"n":12345678901234567890}`),
	}
	if got, want := fmt.Sprintf("%+v %s", s, s.Config), fmt.Sprintf("%+v %s", want, want.Config); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

func TestPluginSpecRefuses(t *testing.T) {
	for _, test := range []struct {
		name, want string
		config     PluginConfig
	}{
		{"no path", "the path of the file is missing", PluginConfig{}},
		{"no path after replacing", "the path of the file is missing", PluginConfig{Path: "{env.ROLLCALL_NO_SUCH}"}},
		{"bad name", `name "a b": use 1 to 64`, PluginConfig{Path: "a", Name: "a b"}},
		{"unknown policy", "on_failure: ", PluginConfig{Path: "a", OnFailure: "allow"}},
		{"short hash", "sha256 is not a hash of 64 hexadecimal digits", PluginConfig{Path: "a", SHA256: "abcd"}},
		{"hash with other letters", "sha256 is not a hash", PluginConfig{Path: "a", SHA256: strings.Repeat("xy", 32)}},
		{
			"pinned and watched", "sha256 and watch contradict each other",
			PluginConfig{Path: "a", SHA256: strings.Repeat("00", 32), Watch: true},
		},
		{"shared with a store", "shared and kv contradict each other: what is stored belongs to one host", PluginConfig{Path: "a", Shared: true, KV: 1}},
		{"store out of range", "kv: 2147483648 is out of range", PluginConfig{Path: "a", KV: 2 << 30}},
		{"limit out of range", "memory", PluginConfig{Path: "a", Memory: 1}},
		{"negative limit", "instances", PluginConfig{Path: "a", Instances: -1}},
		{"config is an array", "config is not a JSON object", PluginConfig{Path: "a", Config: json.RawMessage(`[]`)}},
		{"config is a text", "config is not a JSON object", PluginConfig{Path: "a", Config: json.RawMessage(`"a"`)}},
		{"config is cut", "config is not a JSON object", PluginConfig{Path: "a", Config: json.RawMessage(`{"a":[1,`)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := test.config.spec(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestPluginNamesAreUnique(t *testing.T) {
	names := make(map[string]bool)
	for i, test := range []struct {
		name   string
		chosen bool
		want   string
	}{
		{"mask", false, "mask"},
		{"mask", false, "mask-2"},
		{"mask-3", true, "mask-3"},
		{"mask", false, "mask-4"},
		{"other", false, "other"},
		{"mask", true, ""},
	} {
		got, err := uniqueName(names, test.name, test.chosen)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%d: got %q and error %v, want %q", i, got, err, test.want)
		}
	}
}
