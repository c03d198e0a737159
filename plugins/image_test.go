package plugins

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// bothWays calls f with an engine whose plugins all have images, where the system has them, and with
// one whose plugins have none. It compares the results.
func bothWays(t *testing.T, f func(e *Engine) string) {
	t.Helper()
	with := newEngine(t, EngineConfig{})
	with.imageFrom = 1
	without := newEngine(t, EngineConfig{WithoutImages: true})
	want := f(without)
	if got := f(with); got != want {
		t.Errorf("with an image: %s\nwithout: %s", got, want)
	}
}

// digestOf calls the hooks of a plugin for several hosts and returns a digest of what it said, and a
// part of that.
func digestOf(t *testing.T, p *Plugin) string {
	t.Helper()
	c := NewChain(p)
	digest := sha256.New()
	first := ""
	note := func(what any, err error) {
		if err != nil {
			t.Error(err)
		}
		line := fmt.Sprintf("%+v\n", what)
		if first == "" {
			first = line
		}
		digest.Write([]byte(line))
	}
	const body = `{"room":[{"id":"ada","email":"ada@acme.test","user":"ada"},{"id":"sam","email":"sam@staff.example"}]}`
	for i := range 120 {
		host := fmt.Sprintf("host%d.example.com", i%3)
		for _, channel := range []string{"lobby-1", "vip-secret", "x-closed", "big-webinar", strings.Repeat("long-", i%40)} {
			d, err := c.Classify(host, channel, Authenticated)
			note(d, err)
			ok, err := c.Authorize(host, channel, Authenticated, &User{ID: "ada", Email: "ada@staff.example"})
			note(ok, err)
		}
		note(collect(c.Members(t.Context(), EndpointUsers, host, nil, users(i, func(n int) string { return fmt.Sprint("u", n) }))))
		shaped, err := c.Shape(t.Context(), EndpointUsers, host, []byte(`{}`), []byte(body))
		note(string(shaped), err)

		claims := fmt.Sprintf(`{"role":%q}`, []string{"host", "guest"}[i%2])
		connected, err := c.Connect(host, Login{ID: "C0", User: &User{ID: "ada"}, Claims: claims})
		note(connected, err)
		for _, channel := range []string{"townhall", "lobby"} {
			sent, err := c.Message(host, channel, Authenticated, Sender{User: &User{ID: "ada"}, Connection: "C0"}, []byte(`{"text":"hello"}`), 1000)
			if errors.Is(err, ErrRefused) {
				sent, err = []byte("refused"), nil
			}
			note(string(sent), err)
		}
	}
	return first + hex.EncodeToString(digest.Sum(nil))
}

// With the race detector on a busy machine, a plugin compiles for a minute.
func init() { compileTimeout = 10 * time.Minute }

func TestExamplesAnswerTheSameWithAnImage(t *testing.T) {
	files, err := filepath.Glob("../examples/*/*.wasm")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	configs := map[string]string{
		"roles":        `{"opens":{"host":"stage-*"}}`,
		"word-filter":  `{"mask":"heck"}`,
		"quiet-room":   `{"rooms":["townhall"]}`,
		"mask-email":   `{"keep":"1","except":"example.org"}`,
		"hidden-staff": `{"domains":"staff.example","ids":"admin","mark":true}`,
		"naming-rules": `{"denied":"*-closed","authenticated":["vip-*","staff-*"],"anonymous":"lobby-*","hidden":"*-secret*","count_only":"*-webinar"}`,
		"team-totals":  `{"team_from":"email","other":"guests","teams":{"acme":["acme.test"]}}`,
	}
	limits := Limits{
		Instances: 1, InitBudget: maxBudget, ClassifyBudget: maxBudget, MembersBudget: maxBudget, ShapeBudget: maxBudget,
		ClassifyTimeout: time.Minute, ShapeTimeout: time.Minute, MessageTimeout: time.Minute,
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".wasm")
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(e *Engine) string {
				p := load(t, e, Spec{
					Path: file, Config: json.RawMessage(configs[name]), Limits: limits,
					CheckGrants: func([]byte) error { return nil },
				})
				if err := p.Try(t.Context(), "host0.example.com"); err != nil {
					if configs[name] != "" {
						t.Error(err)
					}
					return err.Error() // it needs a configuration: the same is said about that
				}
				return digestOf(t, p)
			})
		})
	}
}

// TestHostileDataIsTheSameWithAnImage gives each of two hosts its own memory, and damages it.
func TestHostileDataIsTheSameWithAnImage(t *testing.T) {
	// Classify returns whether the sum of all bytes is the same as before the last call, which
	// wrote to all of them.
	const sums = `(global $last (mut i32) (i32.const 0))
		(func $sum (result i32) (local $at i32) (local $sum i32)
			(loop $l
				(local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (i32.load8_u (local.get $at))))
				(br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 196608))))
			(local.get $sum))
		(func (export "rollcall_classify") (param i32 i32) (result i64) (local $sum i32)
			(memory.fill (i32.const 8192) (i32.const 0) (i32.const 57344)) %s
			(local.set $sum (call $sum))
			(call $log (i32.const 2) (i32.const 0) (i32.const 16))
			(memory.fill (i32.const 0) (i32.const 88) (i32.const 196608))
			(i64.extend_i32_u (i32.and (local.get $sum) (i32.const 3))))`
	for name, test := range map[string]struct{ data, code string }{
		"overlapping":           {`(data (i32.const 4) "abcdef") (data (i32.const 6) "XY") (data (i32.const 2) "zzz")`, ""},
		"the last bytes":        {`(data (i32.const 196605) "end") (data (i32.const 0) "begin")`, ""},
		"sparse":                {`(data (i32.const 100000) "a") (data (i32.const 150000) "b") (data (i32.const 3) "c")`, ""},
		"empty":                 {`(data (i32.const 196608) "") (data (i32.const 7) "a")`, ""},
		"out of range":          {`(data (i32.const 196606) "end") (data (i32.const 0) "begin")`, ""},
		"far out of range":      {`(data (i32.const -1) "x")`, ""},
		"passive":               {`(data "nobody names it") (data (i32.const 1) "a")`, ""},
		"passive, copied":       {`(data $p "passive") (data (i32.const 1) "a")`, `(memory.init $p (i32.const 20) (i32.const 0) (i32.const 7))`},
		"active, copied again":  {`(data $p (i32.const 1) "a")`, `(memory.init $p (i32.const 20) (i32.const 0) (i32.const 1))`},
		"dropped":               {`(data $p (i32.const 1) "a")`, `(data.drop $p)`},
		"as many as 200 little": {strings.Repeat(`(data (i32.const 70000) "q") (data (i32.const 5) "r")`, 100), ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := wat(t, guest(fmt.Sprintf(sums, test.code)+test.data))
			bothWays(t, func(e *Engine) string {
				said := ""
				p, err := e.Load(t.Context(), Spec{Path: file, Limits: Limits{Instances: 1, ClassifyBudget: maxBudget, ClassifyTimeout: time.Minute}})
				if err != nil {
					return strings.ReplaceAll(err.Error(), file, "FILE")
				}
				defer p.Release()
				c := NewChain(p)
				for i := range 4 {
					d, err := c.Classify(fmt.Sprint("h", i%2), "c", Authenticated)
					said += fmt.Sprintf("%+v %v\n", d, err)
				}
				return said
			})
		})
	}
}

// An image is the memory before any code has run. Otherwise, all hosts would have the same random
// numbers.
func TestInstancesOfAnImageRunTheirOwnStart(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	e.imageFrom = 1
	p := load(t, e, Spec{Path: wat(t, guest(`(data (i32.const 64) "image") (start $start)
		(func $start (i32.store8 (i32.const 69) (i32.const 33)) (drop (call $random (i32.const 80) (i32.const 16))))
		(func (export "rollcall_classify") (param i32 i32) (result i64) (i64.const 1))`,
		`(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))`))})
	seen := make(map[string]bool)
	for i := range 5 {
		pool := p.anchor.pool(fmt.Sprint("h", i))
		s, f := pool.tryAcquire(t.Context())
		if f != nil {
			t.Fatal(f)
		}
		if got := string(s.instance.linear.Bytes()[64:70]); got != "image!" {
			t.Errorf("the memory of host %d has %q", i, got)
		}
		seen[string(s.instance.linear.Bytes()[80:96])] = true
		pool.freeSlot(s, slotIdle)
	}
	if len(seen) != 5 {
		t.Errorf("%d random numbers for 5 hosts", len(seen))
	}
}

func TestAnImageIsChargedOnce(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	e.imageFrom = 1
	file := wat(t, guest(`(data (i32.const 64) "image") (func (export "rollcall_classify") (param i32 i32) (result i64) (i64.const 1))`))
	a, b := load1(t, e, Spec{Path: file, Name: "a"}), load1(t, e, Spec{Path: file, Name: "b"})
	image := e.Report()[0].Image // none, except on Linux
	if e.memory.Used() != image || e.Report()[1].Image != image {
		t.Errorf("%d bytes are in use, the image has %d", e.memory.Used(), image)
	}
	if err := a.Try(t.Context(), "h"); err != nil || e.memory.Used() != image+3*pageSize {
		t.Errorf("%d bytes are in use, %v", e.memory.Used(), err)
	}
	a.Release()
	b.Release()
	await(t, "the image to be freed", func() bool {
		runtime.GC()
		return e.memory.Used() == 0
	})
}

func TestAGoGuestHasAnImage(t *testing.T) {
	file, err := filepath.Abs("../examples/mask-email/mask-email.wasm")
	if err != nil {
		t.Fatal(err)
	}
	charged := func(e *Engine) (image, memory int64) {
		p := load(t, e, Spec{Path: file, Limits: Limits{Instances: 1}})
		for i := range 3 {
			if err := p.Try(t.Context(), fmt.Sprint("h", i)); err != nil {
				t.Fatal(err)
			}
		}
		r := e.Report()[0]
		for _, h := range r.Hosts {
			memory += h.Memory
		}
		return r.Image, memory
	}
	image, with := charged(newEngine(t, EngineConfig{}))
	none, without := charged(newEngine(t, EngineConfig{WithoutImages: true}))
	_, err = os.Stat("/proc/self/pagemap")
	linux := err == nil
	if none != 0 || linux != (image > 0) || linux != (with*2 < without) {
		t.Errorf("image %d and %d bytes, without %d and %d", image, with, none, without)
	}
	t.Logf("3 hosts: image %d and %d bytes, without %d", image, with, without)
}
