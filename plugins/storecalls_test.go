package plugins

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// storeImports are the calls of the store and of counters.
var storeImports = []string{
	`(import "rollcall" "kv_get" (func $get (param i32 i32 i32 i32) (result i64)))`,
	`(import "rollcall" "kv_set" (func $set (param i32 i32 i32 i32 i64) (result i32)))`,
	`(import "rollcall" "kv_add" (func $add (param i32 i32 i64 i64) (result i64)))`,
	`(import "rollcall" "count" (func $count (param i32 i32 i64)))`,
}

// keeper is a guest that stores in the hook message. Its texts are at 16, 64 and so on; 4096 is
// free.
func keeper(body string, texts ...string) string {
	return keeperIn("rollcall_message", body, texts...)
}

func keeperIn(export, body string, texts ...string) string {
	data := ""
	for i, text := range texts {
		escaped := ""
		for _, b := range []byte(text) {
			escaped += fmt.Sprintf(`\%02x`, b)
		}
		data += fmt.Sprintf(`(data (i32.const %d) "%s")`, textAt(i), escaped)
	}
	params := "i32 i32"
	if export == "rollcall_members" || export == "rollcall_shape" {
		params = "i32 i32 i32"
	}
	return guest(data+`(func (export "`+export+`") (param `+params+`) (result i64) `+body+`)`, storeImports...)
}

// want refuses unless an expression has the value.
func want(expression string, value int64) string {
	return fmt.Sprintf("(if (i64.ne %s (i64.const %d)) (then (return (i64.const 1)))) ", expression, value)
}

// Calls with the key "k" at 16, and the value "value" at 64.
const (
	getK    = "(call $get (i32.const 16) (i32.const 1) (i32.const 4096) (i32.const 100))"
	setK    = "(i64.extend_i32_s (call $set (i32.const 16) (i32.const 1) (i32.const 64) (i32.const 5) (i64.const 1000)))"
	removeK = "(i64.extend_i32_s (call $set (i32.const 16) (i32.const 1) (i32.const 64) (i32.const 0) (i64.const 0)))"
	addK    = "(call $add (i32.const 16) (i32.const 1) (i64.const 1) (i64.const 60000))"
)

func send(c *Chain, host string) error {
	_, err := c.Message(host, "room", Authenticated, Sender{User: ada}, []byte(`{}`), 100)
	return err
}

func TestStoreCalls(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	for name, body := range map[string]string{
		"nothing there":     want(getK, -1),
		"set and get":       want(setK, 0) + want(getK, 5) + want("(i64.load32_u (i32.const 4096))", 0x756c6176) + want("(i64.load8_u (i32.const 4100))", 'e'),
		"remove":            want(setK, 0) + want(removeK, 0) + want(getK, -1) + want(removeK, 0),
		"set twice":         want(addK, 1) + want(setK, 0) + want(getK, 5),
		"add":               want(addK, 1) + want(addK, 2) + want(getK, 8) + want("(i64.load (i32.const 4096))", 2),
		"add to a value":    want(setK, 0) + want(addK, 1<<63-1) + want(getK, 5),
		"an empty value":    want("(i64.extend_i32_s (call $set (i32.const 16) (i32.const 1) (i32.const 64) (i32.const 0) (i64.const 1000)))", 0) + want(getK, 0),
		"a key with a zero": want("(call $add (i32.const 0) (i32.const 2) (i64.const 7) (i64.const 1))", 7),
		"the capacity is too small": want(setK, 0) + want("(call $get (i32.const 16) (i32.const 1) (i32.const 4096) (i32.const 4))", 5) +
			want("(i64.load (i32.const 4096))", 0) + want("(call $get (i32.const 16) (i32.const 1) (i32.const -1) (i32.const 4))", 5),
		"a counter that was set": want("(i64.extend_i32_s (call $set (i32.const 16) (i32.const 1) (i32.const 112) (i32.const 8) (i64.const 1000)))", 0) + want(addK, 8),
		"the longest key and value": want("(i64.extend_i32_s (call $set (i32.const 0) (i32.const 128) (i32.const 0) (i32.const 4096) (i64.const 86400000)))", 0) +
			want("(call $get (i32.const 0) (i32.const 128) (i32.const 0) (i32.const 4096))", 4096),
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, e, Spec{Path: wat(t, keeper(body+noChange, "k", "value", "\x07\x00\x00\x00\x00\x00\x00\x00")), Name: t.Name()})
			if err := send(NewChain(p), "a.example.com"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBadArgumentsEndTheCall(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	call := func(name string, args ...any) string {
		text := "(call $" + name
		for i, arg := range args {
			kind := "i32"
			if name == "set" && i == 4 || name == "add" && i >= 2 || name == "count" && i == 2 {
				kind = "i64"
			}
			text += fmt.Sprintf(" (%s.const %v)", kind, arg)
		}
		if text += ")"; name != "count" {
			text = "(drop " + text + ")"
		}
		return text
	}
	for name, tt := range map[string]struct{ body, says string }{
		"get: no key":                 {call("get", 16, 0, 64, 5), "rollcall.kv_get: the key has 0 bytes"},
		"get: a long key":             {call("get", 16, 129, 64, 5), "the key has 129 bytes"},
		"get: a key out of memory":    {call("get", -1, 5, 64, 5), "key of 5 bytes at 4294967295 outside the memory"},
		"get: a negative length":      {call("get", 16, -1, 64, 5), "the key has 4294967295 bytes"},
		"get: a place out of memory":  {call("add", 16, 1, 1, 1000) + call("get", 16, 1, -4, 8), "value of 8 bytes at 4294967292 outside"},
		"set: no key":                 {call("set", 16, 0, 64, 5, 1), "rollcall.kv_set: the key has 0 bytes"},
		"set: a long key":             {call("set", 16, 1<<20, 64, 5, 1), "the key has 1048576 bytes"},
		"set: a long value":           {call("set", 16, 1, 64, 4097, 1), "the value has 4097 bytes, at most 4096"},
		"set: a value out of memory":  {call("set", 16, 1, 196607, 2, 1), "value of 2 bytes at 196607 outside"},
		"set: a negative ttl":         {call("set", 16, 1, 64, 5, -1), "a time to live of -1 ms, want 0 to 86400000"},
		"set: a huge ttl":             {call("set", 16, 1, 64, 5, 86_400_001), "a time to live of 86400001 ms"},
		"set: the largest ttl":        {call("set", 16, 1, 64, 5, "0x7fffffffffffffff"), "a time to live of 9223372036854775807 ms"},
		"add: no key":                 {call("add", 16, 0, 1, 1), "rollcall.kv_add: the key has 0 bytes"},
		"add: a key out of memory":    {call("add", 196608, 1, 1, 1), "outside the memory"},
		"add: no ttl":                 {call("add", 16, 1, 1, 0), "a time to live of 0 ms, want 1 to 86400000"},
		"add: no ttl for one there":   {call("add", 16, 1, 1, 9) + call("add", 16, 1, 1, 0), "a time to live of 0 ms"},
		"add: a negative ttl":         {call("add", 16, 1, 1, -5), "a time to live of -5 ms"},
		"count: no name":              {call("count", 16, 0, 1), "rollcall.count: the name has 0 bytes"},
		"count: a long name":          {call("count", 16, 41, 1), "the name has 41 bytes"},
		"count: another character":    {call("count", 64, 5, 1), `the name "Value" has other characters`},
		"count: a name out of memory": {call("count", -5, 9, 1), "name of 9 bytes at 4294967291 outside"},
		"count: a negative number":    {call("count", 16, 1, -1), "-1 is negative"},
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, e, Spec{Path: wat(t, keeper(tt.body+noChange, "k", "Value")), Name: t.Name()})
			err := send(NewChain(p), "a.example.com")
			wantReason(t, err, HookMessage, ReasonTrap)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

// The store works in the hooks that are called once for each event, and nowhere else. Counters work
// everywhere.
func TestWhereTheStoreWorks(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	const counted = "(call $count (i32.const 16) (i32.const 1) (i64.const 1))"
	for _, tt := range []struct {
		export string
		h      Hook
		works  bool
		call   func(*Chain) error
	}{
		{"rollcall_classify", HookClassify, false, func(c *Chain) error {
			_, err := c.Classify("h", "c", Authenticated)
			return err
		}},
		{"rollcall_authorize", HookAuthorize, true, func(c *Chain) error {
			_, err := c.Authorize("h", "c", Authenticated, nil)
			return err
		}},
		{"rollcall_connect", HookConnect, true, func(c *Chain) error {
			_, err := c.Connect("h", Login{ID: "C0"})
			return err
		}},
		{"rollcall_message", HookMessage, true, func(c *Chain) error { return send(c, "h") }},
		{"rollcall_members", HookMembers, false, func(c *Chain) error {
			left := []User{{ID: "ada"}}
			_, err := collect(c.Members(t.Context(), EndpointUsers, "h", nil, func() (u User, ok bool) {
				if ok = len(left) > 0; ok {
					u, left = left[0], left[1:]
				}
				return u, ok
			}))
			return err
		}},
		{"rollcall_shape", HookShape, false, func(c *Chain) error {
			_, err := c.Shape(t.Context(), EndpointUsers, "h", nil, []byte(`{}`))
			return err
		}},
	} {
		t.Run(tt.export, func(t *testing.T) {
			counts := new(Counts)
			p := load(t, e, Spec{Path: wat(t, keeperIn(tt.export, counted+"(drop "+addK+")"+noChange, "k")), Counts: counts, Name: t.Name()})
			err := tt.call(NewChain(p))
			if tt.works && err != nil {
				t.Error(err)
			}
			if !tt.works {
				wantReason(t, err, tt.h, ReasonTrap)
				if err == nil || !strings.Contains(err.Error(), "rollcall.kv_add works in connect, authorize and message only") {
					t.Errorf("got %v", err)
				}
			}
			if n := counts.Read()["k"]; n != 1 {
				t.Errorf("counted %d times", n)
			}
		})
	}
	for name, extra := range map[string]string{
		"rollcall_configure": `(func (export "rollcall_configure") (param i32 i32) (result i32) (drop ` + addK + `) (i32.const 0))`,
		"_initialize":        `(func (export "_initialize") (drop ` + addK + `))`,
	} {
		text := strings.TrimSuffix(keeper(noChange, "k"), ")") + extra + ")"
		if err := load(t, e, Spec{Path: wat(t, text)}).Try(t.Context(), "h"); err == nil || !strings.Contains(err.Error(), "message only") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASharedPluginHasNoStore(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	path := wat(t, keeper(noChange))
	if _, err := e.Load(t.Context(), Spec{Path: path, Shared: true}); !errors.Is(err, errSharedStore) {
		t.Errorf("got %v", err)
	}
	if len(e.programs) != 0 {
		t.Error("its program is kept")
	}
	counter := wat(t, guest(`(func (export "rollcall_classify") (param i32 i32) (result i64) (i64.const 0))`, storeImports[3]))
	load(t, e, Spec{Path: counter, Shared: true})
}

// limiter refuses more than two messages in a minute of each host.
var limiter = keeper("(i64.extend_i32_u (i64.gt_s "+addK+" (i64.const 2)))", "k")

func TestHostsAndPluginsHaveTheirOwnStore(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	path := wat(t, limiter)
	one, other := NewChain(load(t, e, Spec{Path: path, Name: "one"})), NewChain(load(t, e, Spec{Path: path, Name: "other"}))
	for _, c := range []*Chain{one, other} {
		for _, host := range []string{"a", "b"} {
			for i := range 4 {
				if err := send(c, host); errors.Is(err, ErrRefused) != (i >= 2) {
					t.Errorf("%s, message %d: %v", host, i, err)
				}
			}
		}
	}
}

func TestEntriesExpireByTheClock(t *testing.T) {
	path := wat(t, limiter)
	synctest.Test(t, func(t *testing.T) {
		e, _ := NewEngine(EngineConfig{})
		defer e.Close()
		p := load1(t, e, Spec{Path: path})
		defer p.Release()
		c := NewChain(p)
		for i, refused := range []bool{false, false, true, true} {
			if err := send(c, "h"); errors.Is(err, ErrRefused) != refused {
				t.Errorf("message %d: %v", i, err)
			}
		}
		if r := e.Report()[0].Hosts; len(r) != 1 || r[0].StoreEntries != 1 || r[0].StoreBytes != 1+8+64 {
			t.Errorf("%+v", r)
		}
		time.Sleep(time.Minute)
		if err := send(c, "h"); err != nil {
			t.Errorf("a minute later: %v", err)
		}
		time.Sleep(5 * time.Minute)
		if n := e.memory.Used(); n != 0 {
			t.Errorf("%d bytes are left", n)
		}
	})
}

func TestAnEngineMayHaveItsOwnClock(t *testing.T) {
	now := time.Unix(1000, 0)
	e := newEngine(t, EngineConfig{Now: func() time.Time { return now }})
	c := NewChain(load(t, e, Spec{Path: wat(t, limiter)}))
	for i, refused := range []bool{false, false, true, false} {
		if i == 3 {
			now = now.Add(time.Minute)
		}
		if err := send(c, "h"); errors.Is(err, ErrRefused) != refused {
			t.Errorf("message %d: %v", i, err)
		}
	}
}

// A limiter with a full store refuses: kv_add returns more than any limit. So does one in an engine
// without memory.
func TestAFullStoreRefuses(t *testing.T) {
	const filler = `(local $i i32) (local $full i64)
		(loop $next
			(i32.store (i32.const 4096) (local.get $i))
			(local.set $i (i32.add (local.get $i) (i32.const 1)))
			(br_if $next (i32.and (i32.lt_u (local.get $i) (i32.const 2000))
				(i64.lt_s (call $add (i32.const 4096) (i32.const 4) (i64.const 1) (i64.const 60000)) (i64.const 1000)))))
		(i64.extend_i32_u (i64.gt_s (call $add (i32.const 16) (i32.const 1) (i64.const 1) (i64.const 60000)) (i64.const 1000)))`
	for name, tt := range map[string]struct {
		engine  int64
		kv      int64
		refused bool
	}{
		"room for all":       {0, 1 << 20, false},
		"a full host":        {0, 50_000, true},
		"an engine too full": {3*pageSize + 50_000, 1 << 20, true},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, EngineConfig{Memory: tt.engine})
			c := NewChain(load(t, e, Spec{Path: wat(t, keeper(filler, "k")), Limits: Limits{KV: tt.kv, MessageTimeout: time.Minute}}))
			if err := send(c, "h"); errors.Is(err, ErrRefused) != tt.refused || err != nil && !tt.refused {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What a call stored stays when the call then fails.
func TestAFailedCallKeepsWhatItStored(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	c := NewChain(load(t, e, Spec{Path: wat(t, keeper("(if (i64.eq "+addK+" (i64.const 1)) (then unreachable))"+noChange, "k"))}))
	wantReason(t, send(c, "h"), HookMessage, ReasonTrap)
	if err := send(c, "h"); err != nil {
		t.Error(err)
	}
}

func TestStoreCallsCostSteps(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	steps := func(body string) int64 {
		counters := new(Counters)
		p := load(t, e, Spec{Path: wat(t, keeper(body+noChange, "k", "value")), Name: fmt.Sprint(body), Counters: func(string) *Counters { return counters }})
		if err := send(NewChain(p), "h"); err != nil {
			t.Fatal(err)
		}
		return int64(counters.Read().StepsSum[HookMessage])
	}
	drop := func(call string) string { return "(drop " + call + ")" }
	none := steps("")
	for body, want := range map[string]int64{
		drop(addK): 64 + 1,
		drop("(call $add (i32.const 0) (i32.const 128) (i64.const 1) (i64.const 1))"):                                                                                             64 + 17,
		drop("(call $set (i32.const 0) (i32.const 128) (i32.const 0) (i32.const 4096) (i64.const 1000))"):                                                                         64 + 528,
		drop("(call $set (i32.const 0) (i32.const 8) (i32.const 0) (i32.const 4096) (i64.const 0))"):                                                                              64 + 513,
		drop("(call $get (i32.const 0) (i32.const 8) (i32.const 0) (i32.const 4096))"):                                                                                            64 + 1,
		"(call $count (i32.const 16) (i32.const 1) (i64.const 1))":                                                                                                                64,
		drop("(call $set (i32.const 0) (i32.const 8) (i32.const 0) (i32.const 800) (i64.const 9))") + drop("(call $get (i32.const 0) (i32.const 8) (i32.const 0) (i32.const 0))"): 64 + 101 + 64 + 101,
	} {
		if got := steps(body) - none; got != want {
			t.Errorf("%s: %d steps, want %d", body, got, want)
		}
	}
	// Bytes count: without them, the budget would allow four times as many calls.
	endless := "(loop $l " + drop("(call $set (i32.const 0) (i32.const 128) (i32.const 0) (i32.const 4096) (i64.const 1000))") + " (br $l))"
	p := load(t, e, Spec{Path: wat(t, keeper(endless+noChange)), Limits: Limits{MessageBudget: 100_000, MessageTimeout: time.Minute}})
	wantReason(t, send(NewChain(p), "h"), HookMessage, ReasonBudget)
}

func TestCountsOfAPlugin(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	core, logs := observer.New(zapcore.WarnLevel)
	counts := new(Counts)
	// The name is the channel of a request: 4 bytes of length, 16 of a header, then the host "h".
	name := "(i32.add (local.get 0) (i32.const 21)) (i32.load16_u offset=10 (local.get 0))"
	spec := Spec{Path: wat(t, keeper("(call $count "+name+" (i64.const 2))"+noChange)), Counts: counts, Logger: zap.New(core)}
	var c *Chain
	for i := range 40 {
		if i%10 == 0 { // the names outlive a plugin
			c = NewChain(load1(t, e, spec))
			defer c.Release()
		}
		for range 2 {
			if _, err := c.Message("h", fmt.Sprintf("name_%d", i), Authenticated, Sender{}, []byte("{}"), 100); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := counts.Read()
	if len(got) != 32 || got["name_0"] != 4 || got["name_31"] != 4 {
		t.Errorf("%v", slices.Sorted(maps.Keys(got)))
	}
	if l := logs.All(); len(l) != 1 || l[0].Message != "plugin has too many counters: further names are not counted" {
		t.Errorf("logged %v", l)
	}
	p := c.load()[0].anchor.core
	for range 3 {
		p.count([]byte("name_0"), 1<<63-1)
	}
	if n := counts.Read()["name_0"]; n != 1<<64-1 {
		t.Errorf("the largest counter is %d", n)
	}
}

func TestARehearsalTouchesNeitherStoreNorCounts(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	counts := new(Counts)
	p := load(t, e, Spec{Path: wat(t, keeper("(call $count (i32.const 16) (i32.const 1) (i64.const 1)) (i64.extend_i32_u (i64.gt_s "+addK+" (i64.const 2)))", "k")), Counts: counts})
	err := p.Rehearse(time.Second, func(double *Plugin) error {
		for i := range 3 {
			if err := send(NewChain(double), "h"); errors.Is(err, ErrRefused) != (i == 2) {
				return fmt.Errorf("message %d: %w", i, err)
			}
		}
		return nil
	})
	if err != nil || len(counts.Read()) != 0 || len(e.config.Stores.all()) != 0 {
		t.Errorf("%v, %v", err, counts.Read())
	}
}

// The file changes a hundred times under load. No increment is lost, whatever happens.
func TestSwapsLoseNoIncrement(t *testing.T) {
	stores := NewStores()
	e := newEngine(t, EngineConfig{Stores: stores})
	text := func(i int) string {
		return keeper(fmt.Sprintf("(drop %s) (drop (i32.const %d))", addK, i)+noChange, "k")
	}
	files := []string{wat(t, text(0)), wat(t, text(1))}
	spec := func(i int) Spec {
		return Spec{Path: files[i%2], Name: "counting", Limits: Limits{MessageTimeout: time.Minute}}
	}
	current := load1(t, e, spec(0))
	c := NewChain(current)
	hosts := []string{"a", "b"}
	var (
		wg    sync.WaitGroup
		stop  atomic.Bool
		calls [2]atomic.Uint64
	)
	for i := range 4 {
		wg.Go(func() {
			for !stop.Load() {
				if err := send(c, hosts[i%2]); err != nil {
					t.Error(err)
					return
				}
				calls[i%2].Add(1)
			}
		})
	}
	for i := range 100 {
		next := load1(t, e, spec(i+1))
		if err := next.Try(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		if !c.Replace(current, next) {
			t.Error("the old plugin is not in the chain")
		}
		current.Release()
		current = next
	}
	stop.Store(true)
	wg.Wait()
	for i, host := range hosts {
		s := stores.open("counting", host, e.memory)
		if got, ok := s.get([]byte("k"), e.clock()); !ok || got.number != calls[i].Load() || got.number == 0 {
			t.Errorf("%s: %d after 100 swaps, want %d", host, got.number, calls[i].Load())
		}
	}
	c.Release()
	if n := e.memory.Used(); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}

// A store outlives its engine if a handle on another claims it: plugin_memory can change.
func TestAStoreOutlivesItsEngine(t *testing.T) {
	stores := NewStores()
	path := wat(t, limiter)
	first := newEngine(t, EngineConfig{Stores: stores, Memory: 1 << 20})
	old := load1(t, first, Spec{Path: path})
	for range 2 {
		if err := send(NewChain(old), "h"); err != nil {
			t.Fatal(err)
		}
	}
	second := newEngine(t, EngineConfig{Stores: stores, Memory: 2 << 20})
	fresh := load(t, second, Spec{Path: path})
	old.Release()
	first.Close()
	if err := send(NewChain(fresh), "h"); !errors.Is(err, ErrRefused) {
		t.Errorf("it has forgotten the first messages: %v", err)
	}
	if first.memory.Used() != 0 || second.memory.Used() < 3*pageSize+storeBytes {
		t.Errorf("%d and %d bytes are charged", first.memory.Used(), second.memory.Used())
	}
}

// A host that leaves the configuration loses its store; when it returns, it begins with nothing.
// Calls that are still running cannot store for it.
func TestAHostThatLeavesLosesItsStore(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	spec := Spec{Path: wat(t, limiter)}
	only := func(host string) Spec {
		s := spec
		s.Serves = func(h string) bool { return h == host }
		return s
	}
	both := load1(t, e, spec)
	c := NewChain(both)
	for range 2 {
		for _, host := range []string{"a", "b"} {
			if err := send(c, host); err != nil {
				t.Fatal(err)
			}
		}
	}
	a := load1(t, e, only("a"))
	both.Release()
	for host, refused := range map[string]bool{"a": true, "b": true} { // b: there is no room without a store
		if err := send(c, host); errors.Is(err, ErrRefused) != refused {
			t.Errorf("%s: %v", host, err)
		}
	}
	b := load1(t, e, only("b"))
	a.Release()
	defer b.Release()
	for host, refused := range map[string]bool{"a": true, "b": false} {
		if err := send(c, host); errors.Is(err, ErrRefused) != refused {
			t.Errorf("after b returned, %s: %v", host, err)
		}
	}
}

// The report has each store once, also of a host without instances.
func TestReportOfStores(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	path := wat(t, limiter)
	for _, host := range []string{"a", "b"} {
		p := load(t, e, Spec{
			Path: path, Name: "limit", Config: json.RawMessage(`{"site":"` + host + `"}`),
			Serves: func(h string) bool { return h == host },
		})
		if err := send(NewChain(p), host); err != nil {
			t.Fatal(err)
		}
	}
	count := func() (entries, hosts int) {
		for _, r := range e.Report() {
			for _, h := range r.Hosts {
				hosts++
				entries += h.StoreEntries
			}
		}
		return entries, hosts
	}
	if entries, hosts := count(); entries != 2 || hosts != 2 {
		t.Errorf("%d entries of %d hosts: %+v", entries, hosts, e.Report())
	}
	for c := range e.cores {
		for _, p := range c.pools() {
			p.close()
			c.hosts.Delete(p.host)
		}
	}
	if entries, hosts := count(); entries != 2 || hosts != 2 {
		t.Errorf("idle: %d entries of %d hosts: %+v", entries, hosts, e.Report())
	}
}

func TestStoreCallsAllocateNothing(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	c := NewChain(load(t, e, Spec{Path: wat(t, keeperIn("rollcall_authorize", "(drop "+addK+")(drop "+getK+")"+noChange, "k"))}))
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := c.Authorize("h", "c", Authenticated, nil); err != nil {
			t.Error(err)
		}
	}); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}
