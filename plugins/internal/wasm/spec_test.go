package wasm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// refusals are the acceptable reasons to refuse a valid module of the core test suite.
var refusals = []string{
	"table.grow is not supported",
	"the limit is",
	"a plugin may import functions only",
	"more than one memory is not supported",
	"only one is allowed",
	"typed function references are not supported",
	"in a constant expression",
}

// specCounts counts the parts of the suite that were compared.
type specCounts struct {
	modules, refused, calls, traps, invalid, unmetered int
	reasons                                            map[string]int
}

// TestMeterKeepsTheMeaning runs the core test suite of WebAssembly 2.0 from wazero. It runs each
// module unmetered and metered, and compares results, traps, memories and refusals.
func TestMeterKeepsTheMeaning(t *testing.T) {
	dir := specDir(t)
	files, err := filepath.Glob(filepath.Join(dir, "v2", "testdata", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.ReadFile(filepath.Join(dir, "testdata", "spectest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	counts := specCounts{reasons: map[string]int{}}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			newSpecRun(t, file, host, &counts).run()
		})
	}
	t.Logf("%d modules metered, %d refused, %d calls, %d traps and %d invalid modules compared, %d calls of refused modules",
		counts.modules, counts.refused, counts.calls, counts.traps, counts.invalid, counts.unmetered)
	for reason, n := range counts.reasons {
		t.Logf("refused %d: %s", n, reason)
	}
	if counts.modules < 1_000 || counts.calls < 20_000 || counts.traps < 1_000 || counts.invalid < 1_000 {
		t.Errorf("too little was compared")
	}
	if counts.refused*20 > counts.modules || counts.unmetered*20 > counts.calls {
		t.Errorf("too much was refused")
	}
}

// specDir finds the test suite in the module cache.
func specDir(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "internal", "integration_test", "spectest")
}

// specCommand is a command in the format of wast2json.
type specCommand struct {
	Type       string `json:"type"`
	Line       int    `json:"line"`
	Name       string `json:"name"`
	Filename   string `json:"filename"`
	As         string `json:"as"`
	ModuleType string `json:"module_type"`
	Action     struct {
		Type   string      `json:"type"`
		Module string      `json:"module"`
		Field  string      `json:"field"`
		Args   []specValue `json:"args"`
	} `json:"action"`
}

type specValue struct {
	Type  string          `json:"type"`
	Lane  string          `json:"lane_type"`
	Value json.RawMessage `json:"value"`
}

// raw appends the value in wazero's encoding.
func (v specValue) raw(to []uint64) ([]uint64, error) {
	if v.Type != "v128" {
		n, err := number(v.Value, v.Type)
		return append(to, n), err
	}
	var lanes []json.RawMessage
	if err := json.Unmarshal(v.Value, &lanes); err != nil {
		return nil, err
	}
	var halves [2]uint64
	width := 128 / len(lanes)
	for i, lane := range lanes {
		n, err := number(lane, "i"+strconv.Itoa(width))
		if err != nil {
			return nil, err
		}
		if width < 64 {
			n &= 1<<width - 1
		}
		halves[i*width/64] |= n << (i * width % 64)
	}
	return append(to, halves[:]...), nil
}

func number(value json.RawMessage, kind string) (uint64, error) {
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return 0, err
	}
	switch {
	case text == "null":
		return 0, nil
	case strings.HasPrefix(text, "-"):
		n, err := strconv.ParseInt(text, 10, 64)
		if strings.HasSuffix(kind, "32") {
			return uint64(uint32(n)), err
		}
		return uint64(n), err
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if kind == "externref" {
		n++ // zero is null
	}
	return n, err
}

// specRun runs one file of the suite.
type specRun struct {
	*testing.T
	counts   *specCounts
	dir      string
	commands []specCommand
	original specSide
	metered  specSide
}

// specSide is one of the two sides that are compared.
type specSide struct {
	wazero.Runtime
	last  api.Module
	named map[string]api.Module
}

// pair holds the two sides' results of one step.
type pair struct {
	original, metered error
}

func newSpecRun(t *testing.T, file string, host []byte, counts *specCounts) *specRun {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var content struct {
		Commands []specCommand `json:"commands"`
	}
	if err := json.Unmarshal(text, &content); err != nil {
		t.Fatal(err)
	}
	s := &specRun{T: t, counts: counts, dir: filepath.Dir(file), commands: content.Commands}
	for _, side := range []*specSide{&s.original, &s.metered} {
		side.named = map[string]api.Module{}
		side.Runtime = wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2))
		t.Cleanup(func() { side.Close(context.Background()) })
		if _, err := side.Instantiate(t.Context(), host); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *specRun) run() {
	// Refused modules run unmetered on both sides, because other modules import them.
	refused := map[api.Module]bool{}
	for i, c := range s.commands {
		switch c.Type {
		case "module":
			as := ""
			if i+1 < len(s.commands) && s.commands[i+1].Type == "register" {
				as = s.commands[i+1].As
			}
			file := s.read(c.Filename)
			rewritten, err := s.meter(file)
			if err != nil {
				s.refuse(c, err)
				rewritten = file
			}
			errs := pair{s.original.instantiate(s, file, as, c.Name), s.metered.instantiate(s, rewritten, as, c.Name)}
			if errs.original != nil || errs.metered != nil {
				s.Fatalf("line %d: %v; metered: %v", c.Line, errs.original, errs.metered)
			}
			refused[s.metered.last] = err != nil
			if err == nil {
				s.counts.modules++
			}
		case "assert_return", "action", "assert_trap", "assert_exhaustion":
			trapped := s.action(c)
			switch {
			case refused[s.metered.module(c)]:
				s.counts.unmetered++
			case trapped:
				s.counts.traps++
			default:
				s.counts.calls++
			}
			if wanted := c.Type == "assert_trap" || c.Type == "assert_exhaustion"; wanted != trapped {
				s.Errorf("line %d: %s: trapped is %t", c.Line, c.Type, trapped)
			}
		case "assert_invalid", "assert_malformed", "assert_unlinkable", "assert_uninstantiable":
			if c.ModuleType != "text" {
				s.invalid(c)
			}
		case "register":
		default:
			s.Fatalf("line %d: unknown command %s", c.Line, c.Type)
		}
	}
}

func (s *specRun) read(name string) []byte {
	s.Helper()
	file, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.Fatal(err)
	}
	return file
}

func (s *specRun) meter(file []byte) ([]byte, error) {
	m, err := check(file, Limits{MemoryPages: 1 << 16}, true)
	if err != nil {
		return nil, err
	}
	return m.Meter(), nil
}

func (s *specRun) refuse(c specCommand, err error) {
	s.Helper()
	i := slices.IndexFunc(refusals, func(reason string) bool { return strings.Contains(err.Error(), reason) })
	if i < 0 {
		s.Errorf("line %d: %s is refused: %v", c.Line, c.Filename, err)
		return
	}
	s.counts.refused++
	s.counts.reasons[refusals[i]]++
}

func (s *specSide) instantiate(t *specRun, file []byte, as, name string) error {
	m, err := s.InstantiateWithConfig(t.Context(), file, wazero.NewModuleConfig().WithName(as).WithStartFunctions())
	if err != nil {
		return err
	}
	if steps, ok := m.ExportedGlobal(StepsGlobal).(api.MutableGlobal); ok {
		steps.Set(1 << 50)
	}
	if start := m.ExportedFunction(StartFunction); start != nil {
		if _, err := start.Call(t.Context()); err != nil {
			return errors.Join(err, m.Close(t.Context()))
		}
	}
	s.last = m
	if name != "" {
		s.named[name] = m
	}
	return nil
}

func (s *specSide) module(c specCommand) api.Module {
	if c.Action.Module != "" {
		return s.named[c.Action.Module]
	}
	return s.last
}

// action runs an action on both sides and compares the results. It reports whether the action
// trapped.
func (s *specRun) action(c specCommand) bool {
	s.Helper()
	original, metered := s.original.module(c), s.metered.module(c)
	if c.Action.Type == "get" {
		a, b := original.ExportedGlobal(c.Action.Field), metered.ExportedGlobal(c.Action.Field)
		if a.Type() != api.ValueTypeI32 && a.Type() != api.ValueTypeI64 && a.Type() != api.ValueTypeF32 && a.Type() != api.ValueTypeF64 {
			return false
		}
		if a.Get() != b.Get() {
			s.Errorf("line %d: global %s is %d, metered %d", c.Line, c.Action.Field, a.Get(), b.Get())
		}
		return false
	}
	var args []uint64
	for _, v := range c.Action.Args {
		var err error
		if args, err = v.raw(args); err != nil {
			s.Fatalf("line %d: %v", c.Line, err)
		}
	}
	f := original.ExportedFunction(c.Action.Field)
	a, errA := f.Call(s.Context(), args...)
	b, errB := metered.ExportedFunction(c.Action.Field).Call(s.Context(), args...)
	// The meter ends infinite recursion before the stack overflows.
	deep := c.Type == "assert_exhaustion" && strings.Contains(reason(errB), "unreachable")
	if reason(errA) != reason(errB) && !deep {
		s.Errorf("line %d: %s: %q, metered %q", c.Line, c.Action.Field, reason(errA), reason(errB))
	}
	at := 0
	for _, kind := range f.Definition().ResultTypes() {
		for range width(kind) {
			if at < len(a) && at < len(b) && !same(kind, a[at], b[at]) {
				s.Errorf("line %d: %s returns %#x, metered %#x", c.Line, c.Action.Field, a, b)
			}
			at++
		}
	}
	if len(a) != len(b) {
		s.Errorf("line %d: %s returns %d values, metered %d", c.Line, c.Action.Field, len(a), len(b))
	}
	s.memories(c, original.Memory(), metered.Memory())
	return errA != nil
}

// width returns the number of 64-bit words of a value: 2 for v128, which wazero's public API does
// not name.
func width(kind api.ValueType) int {
	if kind == api.ValueType(V128) {
		return 2
	}
	return 1
}

// same compares values. References to functions are addresses: only null is comparable.
func same(kind api.ValueType, a, b uint64) bool {
	if kind == api.ValueType(FuncRef) {
		return (a == 0) == (b == 0)
	}
	return a == b
}

// reason returns an error without its trace, which differs between the sides.
func reason(err error) string {
	if err == nil {
		return ""
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

func (s *specRun) memories(c specCommand, a, b api.Memory) {
	s.Helper()
	if reflect.ValueOf(a).IsNil() || reflect.ValueOf(b).IsNil() {
		return // a module without memory returns a typed nil
	}
	if a.Size() != b.Size() {
		s.Errorf("line %d: memory of %d bytes, metered %d", c.Line, a.Size(), b.Size())
		return
	}
	// Some memories grow to 4 GiB; the suite writes to the first MiB.
	n := min(a.Size(), 1<<20)
	x, _ := a.Read(0, n)
	y, _ := b.Read(0, n)
	if !bytes.Equal(x, y) {
		s.Errorf("line %d: memories differ", c.Line)
	}
}

// invalid compares the refusals of a file. Check may refuse a file that wazero accepts against the
// suite.
func (s *specRun) invalid(c specCommand) {
	s.Helper()
	file := s.read(c.Filename)
	lastA, lastB := s.original.last, s.metered.last
	errA := s.original.instantiate(s, file, "", "")
	rewritten, errB := s.meter(file)
	if errB == nil {
		errB = s.metered.instantiate(s, rewritten, "", "")
	}
	s.original.last, s.metered.last = lastA, lastB
	if errA == nil || malformedNames(errA) {
		return
	}
	if errB == nil {
		s.Errorf("line %d: %s is refused (%v), but not metered", c.Line, c.Filename, errA)
	}
	s.counts.invalid++
}

// malformedNames reports whether a file was refused for the content of a custom section, which
// Meter omits.
func malformedNames(err error) bool {
	return strings.Contains(err.Error(), "section custom") || strings.Contains(err.Error(), "custom section")
}
