package caddymodule

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/rollcall-gateway/rollcall/internal/wat"
)

// everyHook has all hooks. Channels of five letters are denied and hidden, those of six only
// counted. Anonymous connections are denied. Users are left out of /message/users. Answers are
// replaced, and those of /message/allusers crash it. It logs its configuration, and refuses a long
// one.
const everyHook = `(module
  (import "rollcall" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 4)
  (data (i32.const 16) "too long")
  (data (i32.const 32) "{\"shaped\":true}")
  (func (export "rollcall_abi_v1"))
  (func (export "rollcall_buffer") (param i32) (result i32)
    (select (i32.const 0) (i32.const 131072) (i32.gt_u (local.get 0) (i32.const 131072))))
  (func (export "rollcall_configure") (param i32 i32) (result i32)
    (if (i32.gt_u (local.get 1) (i32.const 100))
      (then (call $log (i32.const 3) (i32.const 16) (i32.const 8)) (return (i32.const 1))))
    (call $log (i32.const 1) (local.get 0) (local.get 1))
    (i32.const 0))
  (func (export "rollcall_classify") (param i32 i32) (result i64)
    (if (i32.eq (i32.load16_u offset=6 (local.get 0)) (i32.const 5)) (then (return (i64.const 0x103))))
    (if (i32.eq (i32.load16_u offset=6 (local.get 0)) (i32.const 6)) (then (return (i64.const 0x200))))
    (if (i32.eq (i32.load16_u offset=6 (local.get 0)) (i32.const 7)) (then (return (i64.const -1))))
    (i64.const 0))
  (func (export "rollcall_authorize") (param i32 i32) (result i64)
    (i64.extend_i32_u (i32.and (i32.load16_u offset=2 (local.get 0)) (i32.const 1))))
  (func (export "rollcall_members") (param $endpoint i32) (param $p i32) (param $n i32) (result i64)
    (local $end i32) (local $out i32)
    (if (i32.ne (local.get $endpoint) (i32.const 1)) (then (return (i64.const 0))))
    (local.set $end (i32.add (local.get $p) (local.get $n)))
    (local.set $out (i32.const 4096))
    (loop $next
      (if (i32.lt_u (local.get $p) (local.get $end)) (then
        (local.set $p (i32.add (i32.add (local.get $p) (i32.const 4)) (i32.load (local.get $p))))
        (i32.store (local.get $out) (i32.const 0))
        (local.set $out (i32.add (local.get $out) (i32.const 4)))
        (br $next))))
    (i64.or (i64.shl (i64.const 4096) (i64.const 32))
      (i64.extend_i32_u (i32.sub (local.get $out) (i32.const 4096)))))
  (func (export "rollcall_shape") (param $endpoint i32) (param i32 i32) (result i64)
    (if (i32.eq (local.get $endpoint) (i32.const 2)) (then (unreachable)))
    (i64.or (i64.shl (i64.const 32) (i64.const 32)) (i64.const 15))))`

// onlyClassify has one hook, which never ends for a channel of five letters.
const onlyClassify = `(module
  (memory (export "memory") 1)
  (func (export "rollcall_abi_v1"))
  (func (export "rollcall_buffer") (param i32) (result i32) (i32.const 1024))
  (func (export "rollcall_classify") (param i32 i32) (result i64)
    (if (i32.eq (i32.load16_u offset=6 (local.get 0)) (i32.const 5)) (then (loop $ever (br $ever))))
    (i64.const 1)))`

// forBrowsers removes users whose ID begins with x in answers to endpoint 4, and traps at t. It
// does not change other answers.
const forBrowsers = `(module
  (memory (export "memory") 2)
  (func (export "rollcall_abi_v1"))
  (func (export "rollcall_members_live"))
  (func (export "rollcall_buffer") (param i32) (result i32) (i32.const 65536))
  (func (export "rollcall_members") (param $endpoint i32) (param $p i32) (param $n i32) (result i64)
    (local $end i32) (local $out i32) (local $size i32)
    (if (i32.ne (local.get $endpoint) (i32.const 4)) (then (return (i64.const 0))))
    (local.set $end (i32.add (local.get $p) (local.get $n)))
    (local.set $out (i32.const 1024))
    (loop $next
      (if (i32.lt_u (local.get $p) (local.get $end)) (then
        (local.set $size (i32.add (i32.const 4) (i32.load (local.get $p))))
        (if (i32.eq (i32.load8_u offset=12 (local.get $p)) (i32.const 116)) (then (unreachable)))
        (if (i32.eq (i32.load8_u offset=12 (local.get $p)) (i32.const 120))
          (then
            (i32.store (local.get $out) (i32.const 0))
            (local.set $out (i32.add (local.get $out) (i32.const 4))))
          (else
            (memory.copy (local.get $out) (local.get $p) (local.get $size))
            (local.set $out (i32.add (local.get $out) (local.get $size)))))
        (local.set $p (i32.add (local.get $p) (local.get $size)))
        (br $next))))
    (i64.or (i64.shl (i64.const 1024) (i64.const 32))
      (i64.extend_i32_u (i32.sub (local.get $out) (i32.const 1024))))))`

// consulted has the hooks connect and message. It refuses what has an exclamation mark, and changes
// what has a question mark.
const consulted = `(module
  (memory (export "memory") 2)
  (data (i32.const 16) "{\"info\":{\"seen\":1}}")
  (data (i32.const 48) "{\"changed\":true}")
  (func (export "rollcall_abi_v1"))
  (func (export "rollcall_buffer") (param i32) (result i32) (i32.const 1024))
` + wat.Has + `
  (func (export "rollcall_connect") (param i32 i32) (result i64)
    (if (call $has (i32.const 33) (local.get 0) (local.get 1)) (then (return (i64.const 1))))
    (if (call $has (i32.const 63) (local.get 0) (local.get 1)) (then (return (i64.const 0x1000000013))))
    (i64.const 0))
  (func (export "rollcall_message") (param i32 i32) (result i64)
    (if (call $has (i32.const 33) (local.get 0) (local.get 1)) (then (return (i64.const 1))))
    (if (call $has (i32.const 63) (local.get 0) (local.get 1)) (then (return (i64.const 0x3000000010))))
    (i64.const 0)))`

// pluginFolder makes a folder with the plugins of these tests, and changes to it.
func pluginFolder(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	wat.Compile(t, filepath.Join(dir, "every.wasm"), everyHook)
	wat.Compile(t, filepath.Join(dir, "classify.wasm"), onlyClassify)
	wat.Compile(t, filepath.Join(dir, "live.wasm"), forBrowsers)
	wat.Compile(t, filepath.Join(dir, "consulted.wasm"), consulted)
	wat.Compile(t, filepath.Join(dir, "nothing.wasm"), `(module)`)
	wat.Compile(t, filepath.Join(dir, "nohook.wasm"), strings.Replace(onlyClassify, "rollcall_classify", "classify", 1))
	wat.Compile(t, filepath.Join(dir, "misspelt.wasm"), strings.Replace(onlyClassify, "rollcall_classify", "rollcall_clasify", 1))
	wat.Compile(t, filepath.Join(dir, "type.wasm"), strings.Replace(onlyClassify, `(param i32) (result i32) (i32.const 1024)`, `(result i32) (i32.const 1024)`, 1))
	wat.Compile(t, filepath.Join(dir, "files.wasm"), strings.Replace(onlyClassify, "(module", `(module (import "env" "open" (func (param i32)))`, 1))
	for name, text := range map[string]string{
		"config.json": `{"open": "lobby-"}`,
		"long.json":   `{"open": "` + strings.Repeat("x", 100) + `"}`,
		"text.json":   `open lobby-`,
		"text.wasm":   "no module",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

// runPlugin runs "caddy rollcall-plugin".
func runPlugin(t *testing.T, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := &cobra.Command{Use: "rollcall-plugin", SilenceUsage: true}
	caddycmd.Commands()["rollcall-plugin"].CobraFunc(cmd)
	var out, log bytes.Buffer
	cmd.SetArgs(append([]string{}, args...)) // nil would be the arguments of the test
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&log)
	err = cmd.ExecuteContext(context.Background())
	return out.String(), log.String(), err
}

func TestPluginCall(t *testing.T) {
	pluginFolder(t)
	const users = `{"room":[{"id":"ada","email":"ada@example.com"}],"tab|1":{"id":"ada","email":"ada@example.com"},"lobby":2}`
	const all = `{"eu":{"authenticated":[{"id":"ada","email":"a"}],"authenticatedCount":1,"anonymous":2},"_total":{"authenticated":1,"anonymous":2}}`
	for name, c := range map[string]struct {
		args          string
		stdin         string
		out, log, err string // out is complete; log and err are parts
	}{
		"classify without an opinion gives the site's kind": {
			args: "every.wasm classify --channel room",
			out:  `{"kind":"authenticated","opinion":false,"hidden":false,"count_only":false}`, log: " of 1000000",
		},
		"classify takes the site's kind": {
			args: "every.wasm classify --channel room --kind anonymous",
			out:  `{"kind":"anonymous","opinion":false,"hidden":false,"count_only":false}`,
		},
		"classify shows an opinion and a flag": {
			args: "every.wasm classify --channel staff",
			out:  `{"kind":"denied","opinion":true,"hidden":true,"count_only":false}`,
		},
		"what is only counted is authenticated": {
			args: "every.wasm classify --channel counts --kind anonymous",
			out:  `{"kind":"authenticated","opinion":false,"hidden":false,"count_only":true}`,
		},
		"a granted channel stays one": {
			args: "every.wasm classify --channel room --kind granted",
			out:  `{"kind":"authenticated","opinion":false,"hidden":false,"count_only":false,"grant":true}`,
		},
		"an error of the plugin fails": {args: "every.wasm classify --channel failing", err: "bad_result"},
		"the plugin is told its host, name and config": {
			args: "every.wasm classify --channel room --host Shop.Example.com. --name rules --config config.json",
			out:  `{"kind":"authenticated","opinion":false,"hidden":false,"count_only":false}`,
			log:  `{"host":"shop.example.com","plugin":"rules","config":{"open":"lobby-"}}`,
		},
		"a refused configuration fails with the reason": {
			args: "every.wasm classify --channel room --config long.json", err: "too long",
		},
		"a user may join": {
			args: "every.wasm authorize --channel room --user ada --email ada@example.com", out: `{"allowed":true}`,
		},
		"an anonymous connection may not": {args: "every.wasm authorize --channel room", out: `{"allowed":false}`},
		"members leaves users out": {
			args: "every.wasm members", stdin: users, out: `{"room":[],"lobby":2}`, log: "for 2 users",
		},
		"members counts one user": {
			args: "every.wasm members --endpoint users", stdin: `{"room":[{"id":"ada","email":"a"}]}`, out: `{"room":[]}`, log: " for 1 user, at most",
		},
		"members gets info and status": {
			args: "every.wasm members", stdin: `{"room":[{"id":"ada","email":"a","info":{"n": 1},"status":{}}],"lobby":2}`, out: `{"room":[],"lobby":2}`,
		},
		"an info that is none": {
			args: "every.wasm members", stdin: `{"room":[{"id":"ada","email":"a","info":7}]}`, err: `the info of "ada" is not a JSON object`,
		},
		"a status that is none": {
			args: "every.wasm members", stdin: `{"room":[{"id":"ada","email":"a","status":[]}]}`, err: `the status of "ada" is not a JSON object`,
		},
		"members for browsers": {
			args: "live.wasm members --endpoint browsers", log: "for 4 users, at most",
			stdin: `{"room":[{"id":"ada","email":"a","info":{"n": 1},"status":{}},{"id":"x","email":""}],"lobby":2,"tab|1":{"id":"ada","email":"a"},"tab|2":{"id":"x","email":""},"tab|3":1}`,
			out:   `{"room":[{"id":"ada","info":{"n":1},"status":{}}],"lobby":2,"tab|1":{"id":"ada"},"tab|3":1}`,
		},
		"browsers see more if the site shows it": {
			args: "live.wasm members --endpoint browsers --show email,badge", stdin: `{"room":[{"id":"ada","email":"a","info":{}}]}`, out: `{"room":[{"id":"ada","email":"a"}]}`,
		},
		"nobody for browsers": {args: "live.wasm members --endpoint browsers", stdin: `{"room":[]}`, out: `{"room":[]}`, log: "for 0 users"},
		"members for browsers needs the marker": {
			args: "every.wasm members --endpoint browsers", stdin: users, err: "does not export rollcall_members_live",
		},
		"no users for browsers": {args: "live.wasm members --endpoint browsers", stdin: `[]`, err: "the answer on standard input: not a JSON object"},
		"members for browsers fails": {
			args: "live.wasm members --endpoint browsers --members-budget 1 --init-budget 1000", stdin: `{"room":[{"id":"t","email":""}]}`, err: "trap",
		},
		"shape is not called for browsers": {args: "every.wasm shape --endpoint browsers", stdin: users, err: "shape is not called for browsers"},
		"members of allusers":              {args: "every.wasm members --endpoint allusers", stdin: all, out: all},
		"a login without an opinion":       {args: `consulted.wasm connect --user ada --claims {"role":"host"}`, out: `{"refused":false}`, log: " of 5000000"},
		"a login with another info":        {args: `consulted.wasm connect --user ada? --info {}`, out: `{"refused":false,"info":{"seen":1}}`},
		"a refused login":                  {args: `consulted.wasm connect --claims {"role":"!"}`, out: `{"refused":true}`},
		"an info for nobody":               {args: `consulted.wasm connect --claims {"role":"?"}`, err: "bad_result"},
		"claims that are none":             {args: "consulted.wasm connect --claims x", err: `--claims "x": not JSON`},
		"a message stays":                  {args: "consulted.wasm message --channel room --user ada", stdin: ` {"a": 1}`, out: `{"refused":false,"message":{"a":1}}`, log: "100 for each byte"},
		"a message is changed":             {args: "consulted.wasm message --channel room", stdin: `{"a":"?"}`, out: `{"refused":false,"message":{"changed":true}}`},
		"a message of the backend":         {args: "consulted.wasm message --channel room! --backend", stdin: `{}`, out: `{"refused":true}`},
		"a message that is none":           {args: "consulted.wasm message --channel room", stdin: `[]`, err: "the message on standard input is not a JSON object"},
		"two senders":                      {args: "consulted.wasm message --channel room --backend --user a", err: "--backend and --user contradict each other"},
		"events need the marker too":       {args: "every.wasm members --endpoint events", stdin: users, err: "members is not called for events"},
		"shape replaces an answer": {
			args: "every.wasm shape", stdin: users, out: `{"shaped":true}`, log: " of 200000000",
		},
		"shape replaces the answer of channels": {
			args: "every.wasm shape --endpoint channels", stdin: `{"authenticated":[],"anonymous":["lobby"]}`, out: `{"shaped":true}`,
		},
		"members is not called for channels": {
			args: "every.wasm members --endpoint channels", stdin: `{"authenticated":[],"anonymous":["lobby"]}`, err: "lists no users",
		},
		"a crash fails": {args: "every.wasm shape --endpoint allusers", stdin: all, err: "trap"},
		"an answer that is too large fails": {
			args: "every.wasm shape --document 10B", stdin: users, err: "too_large",
		},
		"a loop without end runs out of steps": {args: "classify.wasm classify --channel staff", err: "budget of 1000000 steps spent (classify_budget)"},
		"a clock ends it too": {
			args: "classify.wasm classify --channel staff --classify-budget 1000000000000 --classify-timeout 20ms", err: "timeout",
		},
		"a hook that the plugin does not have": {
			args: "classify.wasm shape", stdin: users, err: "classify.wasm has no hook shape: it exports classify",
		},
		"no hook":                {args: "every.wasm", err: "no hook is given: add one after the file"},
		"an unknown hook":        {args: "every.wasm clasify", err: `unknown hook "clasify": use connect, classify`},
		"no channel":             {args: "every.wasm classify", err: "no channel is given: add --channel NAME"},
		"an unknown kind":        {args: "every.wasm classify --channel a --kind open", err: `--kind "open": use authenticated, anonymous or granted`},
		"an address without id":  {args: "every.wasm authorize --channel a --email a@b", err: "--email needs --user"},
		"an unknown endpoint":    {args: "every.wasm shape --endpoint rooms", err: `--endpoint "rooms": use users, allusers, channels, browsers or events`},
		"a request that is none": {args: "every.wasm shape --request x", err: `--request "x": not JSON`},
		"no answer for shape":    {args: "every.wasm shape", err: "the answer on standard input is not JSON"},
		"no answer for members":  {args: "every.wasm members", err: "the answer on standard input: not a JSON object"},
		"a host that is none":    {args: "every.wasm classify --channel a --host a/b", err: `--host "a/b"`},
		"a config that is none":  {args: "every.wasm classify --channel a --config text.json", err: "--config text.json: not JSON"},
		"a config that is not there": {
			args: "every.wasm classify --channel a --config none.json", err: "--config: open none.json: no such file",
		},
		"a size that is none": {
			args: "every.wasm classify --channel a --memory much", err: `--memory: "much" is not a size up to 1GiB like 64KiB`,
		},
		"a limit out of range": {args: "every.wasm classify --channel a --memory 1KiB", err: "memory: 1024 is out of range"},
	} {
		t.Run(name, func(t *testing.T) {
			out, log, err := runPlugin(t, c.stdin, append([]string{"call"}, strings.Fields(c.args)...)...)
			switch {
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("want the error %q, got %v", c.err, err)
			case c.err == "" && err != nil:
				t.Error(err)
			}
			if strings.TrimSpace(out) != c.out {
				t.Errorf("got  %s\nwant %s", out, c.out)
			}
			if !strings.Contains(log, c.log) {
				t.Errorf("%q is not in\n%s", c.log, log)
			}
		})
	}
}

// varies are the parts of check's output that depend on the compiler, the rewriter and the clock.
var varies = regexp.MustCompile(`[0-9a-f]{64}|[0-9.]+(µs|ms|s)\b|[0-9]+ (bytes|steps?)`)

func TestPluginCheckDescribesThePlugin(t *testing.T) {
	pluginFolder(t)
	out, log, err := runPlugin(t, "", "check", "every.wasm", "--config", "config.json", "--memory", "1MiB")
	if err != nil {
		t.Fatal(err, log)
	}
	const want = `file                     every.wasm
size                     N
sha256                   N
functions                7
memory                   256 KiB at the start, at most 1024 KiB
imports                  rollcall.log func (i32, i32, i32)
exports                  memory memory
                         rollcall_abi_v1 func ()
                         rollcall_buffer func (i32) -> i32
                         rollcall_configure func (i32, i32) -> i32
                         rollcall_classify func (i32, i32) -> i64
                         rollcall_authorize func (i32, i32) -> i64
                         rollcall_members func (i32, i32, i32) -> i64
                         rollcall_shape func (i32, i32, i32) -> i64
hooks                    classify, authorize, members, shape
with steps counted       N
checked and compiled in  N
new instance             N of 50000000
classify                 N of 1000000, channel "sample"
authorize                N of 1000000, channel "sample" and one user
members                  N of 52200000, 256 users
shape                    N of 200000000, an answer of /message/users with 256 users
`
	if got := varies.ReplaceAllString(out, "N"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(log, `"config":{"open":"lobby-"}`) {
		t.Errorf("the plugin's log is not there: %s", log)
	}
}

func TestPluginCheckRefuses(t *testing.T) {
	pluginFolder(t)
	for name, c := range map[string]struct{ args, err string }{
		"no file":                 {"none.wasm", "none.wasm"},
		"what is no module":       {"text.wasm", "text.wasm"},
		"a module without a part": {"nothing.wasm", "memory"},
		"no hook":                 {"nohook.wasm", "there is no hook: export at least one of rollcall_classify"},
		"a misspelt hook":         {"misspelt.wasm", "is rollcall_clasify misspelt?"},
		"an export of another type": {
			"type.wasm", "func (i32) -> i32",
		},
		"an import that does not exist":   {"files.wasm", "env.open"},
		"another hash":                    {"every.wasm --sha256 " + strings.Repeat("0", 64), "is configured"},
		"a file over the limit":           {"every.wasm --file 100B", "100"},
		"memory over the limit":           {"every.wasm --memory 64KiB", "memory"},
		"a configuration that it refuses": {"every.wasm --config long.json", "too long"},
		"a sample call over the budget":   {"every.wasm --members-budget 1 --classify-budget 1 --init-budget 1", "rollcall_configure: budget of 1 step spent (init_budget)"},
		"two files":                       {"every.wasm classify.wasm", "no file is given: write one, like plugin.wasm"},
		"an option that check has not":    {"every.wasm --channel a", "unknown flag: --channel"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := runPlugin(t, "", append([]string{"check"}, strings.Fields(c.args)...)...)
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("want the error %q, got %v", c.err, err)
			}
		})
	}
}

func TestPluginCommandNeedsACommandThatExists(t *testing.T) {
	if _, _, err := runPlugin(t, "", "chek"); err == nil || !strings.Contains(err.Error(), `unknown command "chek"`) {
		t.Errorf("got %v", err)
	}
	out, _, err := runPlugin(t, "")
	if err != nil || !strings.Contains(out, "check") || !strings.Contains(out, "call") || !strings.Contains(out, "new") {
		t.Errorf("the help is %q, %v", out, err)
	}
}

func TestPluginNewMakesAProjectAndSaysHowToGoOn(t *testing.T) {
	t.Chdir(t.TempDir())
	out, _, err := runPlugin(t, "", "new", "--lang", "c", filepath.Join("plugins", "my-rules"))
	const want = `Made plugins/my-rules. Next:

  make -C plugins/my-rules
  caddy rollcall-plugin check plugins/my-rules/plugin.wasm
  caddy rollcall-plugin test plugins/my-rules/plugin.wasm plugins/my-rules/cases.json

Then write this into the rollcall block of a site, and reload Caddy:

  plugin plugins/my-rules/plugin.wasm {
      name my-rules
  }

plugins/my-rules/README.md says what the plugin does and where to change it.
`
	if err != nil || out != want {
		t.Errorf("%v, got\n%s\nwant\n%s", err, out, want)
	}
	for _, file := range []string{"Makefile", "README.md", "plugin.c", "rollcall.h"} {
		if _, err := os.Stat(filepath.Join("plugins", "my-rules", file)); err != nil {
			t.Error(err)
		}
	}
}

func TestPluginNewTakesTheNameOfTheFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "my-rules")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	out, _, err := runPlugin(t, "", "new", "--lang", "go", ".")
	if err != nil || !strings.Contains(out, "name my-rules") {
		t.Errorf("%v, got\n%s", err, out)
	}
}

func TestPluginNewRefuses(t *testing.T) {
	pluginFolder(t)
	for name, c := range map[string]struct{ args, err string }{
		"no language":          {"my-rules", "no language is given: add --lang and one of assemblyscript, c, go, rust"},
		"an unknown language":  {"--lang cobol my-rules", `language "cobol" is not known`},
		"no folder":            {"--lang c", "no folder is given: write one, like my-rules"},
		"a folder with files":  {"--lang c taken", "empty or new folder"},
		"a name of other text": {"--lang c My_Rules", `plugin name "My_Rules"`},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll("taken/file", 0o700); err != nil {
				t.Fatal(err)
			}
			_, _, err := runPlugin(t, "", append([]string{"new"}, strings.Fields(c.args)...)...)
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("want the error %q, got %v", c.err, err)
			}
		})
	}
}
