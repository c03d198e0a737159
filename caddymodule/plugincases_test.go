package caddymodule

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/wat"
)

func TestPluginTest(t *testing.T) {
	pluginFolder(t)
	for name, test := range map[string]struct {
		args, cases string
		out, err    string // parts
	}{
		"all pass": {
			cases: `{"cases":[
				{"hook":"classify","channel":"staff","want":{"kind":"denied","hidden":true}},
				{"hook":"classify","channel":"room","kind":"anonymous","times":3,"want":{"opinion":false}},
				{"hook":"authorize","channel":"room","user":{"id":"ada"},"want":{"allowed":true}},
				{"hook":"authorize","channel":"room","want":{"allowed":false}},
				{"hook":"members","answer":{"room":[{"id":"ada","email":"a"}],"lobby":2},"want":{"lobby":2,"room":[]}},
				{"hook":"shape","answer":{},"want":{"shaped":true}},
				{"hook":"shape","endpoint":"allusers","answer":{},"want_error":"trap"},
				{"hook":"classify","channel":"failing","want_error":"bad_result"}]}`,
			out: "ok: 8 cases passed\n",
		},
		"a decision differs": {
			cases: `{"cases":[{"hook":"classify","channel":"room","want":{"kind":"denied","opinion":false,"colour":"red"}}]}`,
			out:   "FAIL case 1\n\t.colour: want \"red\", got null\n\t.kind: want \"denied\", got \"authenticated\"\n", err: "1 of 1 case failed",
		},
		"an answer differs": {
			cases: `{"cases":[{"hook":"shape","answer":{},"want":{"shaped":true}},
				{"name":"nobody","hook":"members","answer":{"room":[{"id":"ada","email":"a"}]},"want":{"room":[{"id":"ada"}],"more":1}}]}`,
			out: "FAIL case 2 (nobody)\n\t.more: want 1, it is missing\n\t.room: want [{\"id\":\"ada\"}], got []\n", err: "1 of 2 cases failed",
		},
		"one of many calls":       {cases: `{"cases":[{"hook":"authorize","channel":"a","times":9,"want":{"allowed":true}}]}`, out: "at call 1 of 9:\n\t.allowed: want true, got false", err: "failed"},
		"no failure":              {cases: `{"cases":[{"hook":"shape","answer":{},"want_error":"trap"}]}`, out: `want the failure trap, got {"shaped":true}`, err: "failed"},
		"another failure":         {cases: `{"cases":[{"hook":"shape","endpoint":"allusers","answer":{},"want_error":"budget"}]}`, out: "want the failure budget, got plugin every", err: "failed"},
		"a failure":               {cases: `{"cases":[{"hook":"shape","endpoint":"allusers","answer":{},"want":{}}]}`, out: "shape: trap", err: "failed"},
		"a hook it does not have": {args: "classify.wasm", cases: `{"cases":[{"hook":"shape","answer":{},"want":{}}]}`, out: "the plugin has no hook shape: it exports classify", err: "failed"},
		"no marker": {
			cases: `{"cases":[{"hook":"members","endpoint":"events","answer":{},"want":{}}]}`, out: "does not export rollcall_members_live, so members is not called for events", err: "failed",
		},
		"for events": {
			args: "live.wasm", out: "ok: 2 cases passed",
			cases: `{"cases":[{"hook":"members","endpoint":"events","answer":{"room":[{"id":"x","email":"a"}]},"want":{"room":[{"id":"x","email":"a"}]}},
				{"hook":"members","endpoint":"browsers","show":["email"],"answer":{"room":[{"id":"x","email":"a"},{"id":"ada","email":"a"}]},"want":{"room":[{"id":"ada","email":"a"}]}}]}`,
		},
		"logins and messages": {
			args: "consulted.wasm", out: "ok: 4 cases passed",
			cases: `{"cases":[{"hook":"connect","user":{"id":"a?","info":{ "n": 1 }},"want":{"refused":false,"info":{"seen":1}}},
				{"hook":"connect","user":{"id":"a"},"claims":{"a":"!"},"want":{"refused":true}},
				{"hook":"message","channel":"a","backend":true,"message":{"b": "!"},"want":{"refused":true}},
				{"hook":"message","channel":"a","message":{"b": 1},"after":"1m","want":{"message":{"b":1}}}]}`,
		},
		"the config of the file": {cases: `{"config":{"open":"lobby-"},"cases":[{"hook":"shape","answer":{},"want":{"shaped":true}}]}`, out: "ok: 1 case passed"},
		"two configs": {
			args: "every.wasm --config config.json", cases: `{"config":{},"cases":[{"hook":"shape","answer":{},"want":{"shaped":true}}]}`, err: "--config and the config in cases.json contradict each other",
		},
		"no file":             {args: "every.wasm none.json", err: "none.json: open none.json: no such file"},
		"one file":            {args: "-", err: "two files are needed: the plugin and the cases"},
		"no JSON":             {cases: "{\n\"cases\": [\n}", err: "cases.json: line 3: invalid character '}'"},
		"no cases":            {cases: `{}`, err: "there is no case: write"},
		"an unknown key":      {cases: `{"cases":[{"hook":"shape"},{"hook":"shape","chanel":"a"}]}`, err: `case 1: one of "want" and "want_error" is needed`},
		"a misspelt key":      {cases: `{"cases":[{"name":"x","hook":"shape","chanel":"a"}]}`, err: `case 1 (x): json: unknown field "chanel"`},
		"nothing is wanted":   {cases: `{"cases":[{"hook":"authorize","channel":"a"}]}`, err: `one of "want" and "want_error" is needed`},
		"a want of no object": {cases: `{"cases":[{"hook":"authorize","channel":"a","want":true}]}`, err: `"want" must be an object`},
		"no channel":          {cases: `{"cases":[{"hook":"authorize","want":{}}]}`, err: `case 1: no channel is given: add "channel" NAME`},
		"no answer":           {cases: `{"cases":[{"hook":"members","want":{}}]}`, err: `"answer" is missing`},
		"no message":          {cases: `{"cases":[{"hook":"message","channel":"a","message":[],"want":{}}]}`, err: `"message" must be a JSON object`},
		"a bad time":          {cases: `{"cases":[{"hook":"authorize","channel":"a","after":"soon","want":{}}]}`, err: `"after" "soon" is not a duration like 30s or 1m`},
		"too often":           {cases: `{"cases":[{"hook":"authorize","channel":"a","times":1000000,"want":{}}]}`, err: `"times" 1000000 is out of range`},
		"an unknown hook":     {cases: `{"cases":[{"hook":"clasify","want":{}}]}`, err: `case 1: unknown hook "clasify": use connect, classify`},
		"a backend with a user": {
			cases: `{"cases":[{"hook":"message","channel":"a","backend":true,"user":{"id":"a"},"message":{},"want":{}}]}`, err: `"backend" and "user" contradict each other`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile("cases.json", []byte(test.cases), 0o600); err != nil {
				t.Fatal(err)
			}
			args := strings.Fields(test.args)
			switch {
			case test.args == "":
				args = []string{"every.wasm", "cases.json"}
			case test.args == "-":
				args = []string{"every.wasm"}
			case !strings.Contains(test.args, ".json") || strings.Contains(test.args, "--config"):
				args = append([]string{args[0], "cases.json"}, args[1:]...)
			}
			out, _, err := runPlugin(t, "", append([]string{"test"}, args...)...)
			switch {
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Errorf("want the error %q, got %v", test.err, err)
			case test.err == "" && err != nil:
				t.Error(err)
			}
			if !strings.Contains(out, test.out) {
				t.Errorf("%q is not in\n%s", test.out, out)
			}
		})
	}
}

// slowGuest has a function that takes many steps.
const slowGuest = `(module
  (memory (export "memory") 1)
  (func (export "rollcall_abi_v1"))
  (func (export "rollcall_buffer") (param i32) (result i32) (i32.const 1024))
  (func $slow (param i32)
    (loop $again (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func $fast)
  (func $kind (export "rollcall_classify") (param i32 i32) (result i64)
    (call $fast) (call $fast) (call $slow (i32.const 10000)) (i64.const 1)))`

func TestPluginProfileNamesTheSlowFunctionFirst(t *testing.T) {
	t.Chdir(t.TempDir())
	wat.Compile(t, "slow.wasm", slowGuest, "--debug-names")
	wat.Compile(t, "stripped.wasm", slowGuest)
	out, log, err := runPlugin(t, "", "profile", "slow.wasm", "classify", "--channel", "a")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out, "\n")
	if !strings.Contains(lines[0], "own steps") || !strings.HasSuffix(lines[1], " 1  slow") || !strings.HasSuffix(lines[3], "  kind") {
		t.Errorf("got\n%s", out)
	}
	folded, err := os.ReadFile("slow.folded")
	if err != nil || !strings.Contains(string(folded), "kind;slow ") || !strings.Contains(log, "Wrote slow.folded") {
		t.Errorf("%s, %v; log %s", folded, err, log)
	}
	out, log, err = runPlugin(t, "", "profile", "stripped.wasm", "classify", "--channel", "a", "--folded", "x")
	if _, missing := os.Stat("x"); err != nil || missing != nil || !strings.Contains(strings.Split(out, "\n")[1], "function 2") || !strings.Contains(log, "has no names") {
		t.Errorf("without names: %v, %v\n%s%s", err, missing, out, log)
	}
	if _, _, err = runPlugin(t, "", "profile", "slow.wasm"); err == nil || !strings.Contains(err.Error(), "no hook is given") {
		t.Errorf("no hook: %v", err)
	}
	if _, _, err = runPlugin(t, "", "profile", "slow.wasm", "classify", "--channel", "a", "--folded", "no/folder"); err == nil || !strings.Contains(err.Error(), "--folded") {
		t.Errorf("no folder: %v", err)
	}
}

func FuzzPluginCases(f *testing.F) {
	f.Add(`{"cases":[{"hook":"classify","channel":"a","want":{"kind":"denied"}}]}`)
	f.Add("{\n\"cases\": [\n}")
	f.Fuzz(func(t *testing.T, text string) {
		t.Chdir(t.TempDir())
		if err := os.WriteFile("cases.json", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := runPlugin(t, "", "test", "no.wasm", "cases.json")
		if err == nil {
			t.Error("a plugin that does not exist passes")
		}
		if !json.Valid([]byte(text)) && !strings.Contains(err.Error(), "cases.json") {
			t.Errorf("%q: the error does not name the file: %v", text, err)
		}
	})
}
