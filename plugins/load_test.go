package plugins

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoadSaysWhatIsWrong(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	good := wat(t, classifier(`(i64.const 0)`))
	for name, test := range map[string]struct {
		spec Spec
		says string
	}{
		"no file":   {Spec{Path: "absent.wasm"}, "open: no such file"},
		"a folder":  {Spec{Path: t.TempDir()}, "not a regular file"},
		"too large": {Spec{Path: good, Limits: Limits{File: 10}}, "larger than its limit of 10 bytes"},
		"pin":       {Spec{Path: good, SHA256: strings.Repeat("0", 64)}, "is configured"},
		"config":    {Spec{Path: good, Config: []byte("{")}, "config is not JSON"},
		"limit":     {Spec{Path: good, Limits: Limits{Memory: 1}}, "memory: 1 is out of range"},
		"text":      {Spec{Path: write(t, "not wasm")}, "check: "},
		"import": {Spec{Path: wat(t, guest(`(func (export "rollcall_classify") (param i32 i32) (result i64) (i64.const 0))`,
			`(import "env" "socket" (func (param i32) (result i32)))`))}, "import env.socket (func (i32) -> i32) is not provided"},
		"import type": {Spec{Path: wat(t, guest(`(func (export "rollcall_classify") (param i32 i32) (result i64) (i64.const 0))`,
			`(import "env" "abort" (func (param i32))) `))}, "has the type func (i32), the contract says func (i32, i32, i32, i32)"},
		"export type": {
			Spec{Path: wat(t, guest(`(func (export "rollcall_classify") (param i32) (result i64) (i64.const 0))`))},
			"has the type func (i32) -> i64, the contract says func (i32, i32) -> i64",
		},
		"export kind": {
			Spec{Path: wat(t, guest(`(global (export "rollcall_classify") i32 (i32.const 0))`))},
			"is a global, the contract says func (i32, i32) -> i64",
		},
		"no hook":   {Spec{Path: wat(t, guest(``))}, "there is no hook"},
		"no marker": {Spec{Path: wat(t, `(module (memory (export "memory") 1))`)}, "export rollcall_abi_v1 is missing"},
		"a command": {Spec{Path: wat(t, `(module (memory (export "memory") 1) (func (export "_start")))`)}, "this is a command"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := e.Load(t.Context(), test.spec)
			if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), test.spec.Path) {
				t.Errorf("got %v, want %q", err, test.says)
			}
		})
	}
}

func TestUnknownExportsAreToldButNotRefused(t *testing.T) {
	e, logs := observed(t)
	spec := Spec{Name: "typo", Path: wat(t, guest(`(func (export "rollcall_clasify")) (table (export "rollcall_more") 1 funcref)
		(func (export "other")) (func (export "rollcall_classify") (param i32 i32) (result i64) (i64.const 2))`))}
	p := load(t, e, spec)
	load(t, e, spec)
	if got := strings.Join(p.Info().Unknown, " "); got != "rollcall_clasify rollcall_more" {
		t.Errorf("unknown exports: %s", got)
	}
	warnings := logs.FilterMessageSnippet("unknown exports").All()
	if len(warnings) != 1 || warnings[0].ContextMap()["plugin"] != "typo" {
		t.Errorf("got %v", warnings)
	}
	if d, err := NewChain(p).Classify("h", "c", Authenticated); err != nil || d.Kind != Anonymous {
		t.Errorf("got %v, %v", d, err)
	}
}

func TestAnErrorOfTryNamesNoHook(t *testing.T) {
	e := newEngine(t, EngineConfig{Memory: pageSize})
	for name, want := range map[string]string{
		"refused configuration":          `plugin p for host "h": configure: rollcall_configure refused`,
		"start function that never ends": `plugin p for host "h": init: start function`,
	} {
		p := load(t, newEngine(t, EngineConfig{}), Spec{Name: "p", Path: wat(t, failures[name].text), Limits: failures[name].limits})
		if err := p.Try(t.Context(), "h"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	p := load(t, e, Spec{Name: "p", Path: wat(t, classifier(`(i64.const 0)`))})
	want := `plugin p for host "h": memory: `
	if err := p.Try(t.Context(), "h"); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "guest.wasm")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCompiledCodeIsKeptInAPrivateFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	e := newEngine(t, EngineConfig{CacheDir: dir})
	load(t, e, Spec{Path: wat(t, classifier(`(i64.const 0)`))})
	if stat, err := os.Stat(dir); err != nil || stat.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", stat.Mode(), err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := NewEngine(EngineConfig{CacheDir: dir}); err == nil {
		t.Error("a folder that others may write to was accepted")
	}
}

func TestHashRefusesWhatLoadDoes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	for _, test := range []struct {
		spec       Spec
		hash, says string
	}{
		{Spec{Path: file}, abc, ""},
		{Spec{Path: file, Limits: Limits{File: 3}}, abc, ""},
		{Spec{Path: file, Limits: Limits{File: 2}}, "", "open: the file is larger than its limit of 2 bytes; raise file"},
		{Spec{Path: dir}, "", "open: it is not a regular file"},
		{Spec{Path: file + ".no"}, "", "open: no such file or directory"},
		{Spec{Path: file, Limits: Limits{File: 1 << 40}}, "", "file: 1099511627776 is out of range"},
	} {
		hash, err := test.spec.Hash()
		if hash != test.hash || (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%+v: %q, %v", test.spec, hash, err)
		}
		if _, loaded := newEngine(t, EngineConfig{}).Load(t.Context(), test.spec); err != nil && !strings.Contains(loaded.Error(), test.says) {
			t.Errorf("%+v: Load says %v", test.spec, loaded)
		}
	}
}
