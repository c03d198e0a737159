package plugins

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	assembler "github.com/rollcall-gateway/rollcall/internal/wat"
)

// evil controls a terminal (ESC, and CSI as one rune), returns to the start of a line, forges a
// line, and reverses the direction of the text. evilName is evil in the text format.
const (
	evil     = "x\x1b[2J\u009b31m\rok\nsha256  0\u202e"
	evilName = `x\1b[2J\c2\9b31m\0dok\0asha256  0\e2\80\ae`
	tame     = `x\x1b[2J\u009b31m\rok\nsha256  0\u202e`
)

func TestPrintableEscapesWhatIsNot(t *testing.T) {
	for text, want := range map[string]string{
		"":                    "",
		"Grüße, \"\\n\" 日本 👋": "Grüße, \"\\n\" 日本 👋",
		evil:                  tame,
		"\x00\t\x7f\u00a0":    `\x00\t\x7f\u00a0`,
		"a\xff\xfeb":          "a\uFFFDb",
		"\u200b\ufeff\u2028":  `\u200b\ufeff\u2028`,
	} {
		if got := printable(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add(evil)
	f.Add("a\xff\u2028")
	f.Fuzz(func(t *testing.T, text string) {
		got := printable(text)
		if unprintable(got) {
			t.Errorf("%q is %q", text, got)
		}
		if !unprintable(text) && got != text {
			t.Errorf("%q is changed to %q", text, got)
		}
	})
}

func unprintable(text string) bool {
	return !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) })
}

// All text of a module reaches a log or a terminal as one line of printable text.
func TestNothingThatAModuleSaysIsPrintedRaw(t *testing.T) {
	data := `(data (i32.const 128) "` + evilName + `") (data (i32.const 32) "\80\00\00\00\22\00\00\00")`
	say := fmt.Sprintf(`(call $log (i32.const 3) (i32.const 128) (i32.const %d))`, len(evil))
	classify := `(func (export "rollcall_classify") (param i32 i32) (result i64) %s (i64.const 0))`
	for name, text := range map[string]string{
		"an unknown import":              guest(fmt.Sprintf(classify, ""), `(import "`+evilName+`" "`+evilName+`" (func))`),
		"an unknown import of ours":      guest(fmt.Sprintf(classify, ""), `(import "rollcall" "`+evilName+`" (func))`),
		"an import of a global":          guest(fmt.Sprintf(classify, ""), `(import "`+evilName+`" "`+evilName+`" (global i32))`),
		"a hook that is misspelt":        guest(`(func (export "rollcall_` + evilName + `"))`),
		"an unknown export":              guest(`(func (export "rollcall_` + evilName + `"))` + fmt.Sprintf(classify, "")),
		"a function that is not valid":   guest(`(func (export "` + evilName + `") (result i32) (i64.const 0))` + fmt.Sprintf(classify, "")),
		"a message":                      guest(data + fmt.Sprintf(classify, say)),
		"a message of a configuration":   guest(data + `(func (export "rollcall_configure") (param i32 i32) (result i32) ` + say + ` (i32.const 1))` + fmt.Sprintf(classify, "")),
		"a message of a start function":  guest(data + `(func $s ` + say + ` unreachable) (start $s)` + fmt.Sprintf(classify, "")),
		"a message before a trap":        guest(data + fmt.Sprintf(classify, say+`unreachable`)),
		"a line of standard error":       guest(data+fmt.Sprintf(classify, `(drop (call $write (i32.const 2) (i32.const 32) (i32.const 1) (i32.const 200)))`), `(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))`),
		"an abort":                       guest(`(data (i32.const 96) "\0c\00\00\00\1b\00[\002\00J\00\0d\00\0a\00")`+fmt.Sprintf(classify, `(call $abort (i32.const 100) (i32.const 100) (i32.const 1) (i32.const 1))`), `(import "env" "abort" (func $abort (param i32 i32 i32 i32)))`),
		"a name in a trace":              guest(`(func $` + stand + ` unreachable)` + fmt.Sprintf(classify, `(call $`+stand+`)`)),
		"a name in a trace of the start": guest(`(func $` + stand + ` unreachable) (start $` + stand + `)` + fmt.Sprintf(classify, ``)),
	} {
		t.Run(name, func(t *testing.T) {
			var console bytes.Buffer
			path := filepath.Join(t.TempDir(), "guest.wasm")
			assembler.Compile(t, path, text, "--no-check", "--debug-names")
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, bytes.ReplaceAll(file, []byte(stand), []byte(evil)), 0o600); err != nil {
				t.Fatal(err)
			}
			logger := zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.AddSync(&console), zap.DebugLevel),
				zap.WithCaller(false), zap.AddStacktrace(zap.DPanicLevel))
			e := newEngine(t, EngineConfig{Logger: logger})
			says := func(what, text string) {
				t.Helper()
				if text == "" || unprintable(text) {
					t.Errorf("%s: %q", what, text)
				}
			}
			p, err := e.Load(t.Context(), Spec{Path: path})
			if err != nil {
				says("error of Load", err.Error())
				return
			}
			defer p.Release()
			for _, line := range append(append(p.Info().Imports, p.Info().Exports...), p.Info().Unknown...) {
				says("info", line)
			}
			if _, err := NewChain(p).Classify("h", "c", Authenticated); err != nil {
				says("error", err.Error())
				says("cause", errors.Unwrap(err).Error())
				says("report", e.Report()[0].Hosts[0].LastFailure)
			}
			for line := range strings.SplitSeq(strings.TrimSpace(console.String()), "\n") {
				says("console", strings.ReplaceAll(line, "\t", " "))
				if strings.HasPrefix(line, "sha256") {
					t.Errorf("a forged line: %q", line)
				}
			}
		})
	}
}

// stand replaces the name of a function until the module is compiled, because the text format
// cannot express evil.
var stand = strings.Repeat("N", len(evil))
