package hostile

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// storing are behaviours in message that use the store. The first bytes of the memory are zero.
var storing = []behaviour{
	{name: "kv_add of one key", do: `(loop $l (drop (call $kv_add (i32.const 0) (i32.const 4) (i64.const 1) (i64.const 1000))) (br $l))`},
	{name: "kv_add of new keys", do: `(loop $l (i32.store (i32.const 0) (local.get $i)) (local.set $i (i32.add (local.get $i) (i32.const 1)))
		(drop (call $kv_add (i32.const 0) (i32.const 128) (i64.const 1) (i64.const 1))) (br $l))`},
	{name: "kv_set of 4 KiB", do: `(loop $l (drop (call $kv_set (i32.const 0) (i32.const 128) (i32.const 4096) (i32.const 4096) (i64.const 86400000))) (br $l))`},
	{name: "kv_set and its removal", do: `(loop $l (drop (call $kv_set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0) (i64.const 1)))
		(drop (call $kv_set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0) (i64.const 0))) (br $l))`},
	{name: "kv_get of 4 KiB", do: `(drop (call $kv_set (i32.const 0) (i32.const 1) (i32.const 4096) (i32.const 4096) (i64.const 86400000)))
		(loop $l (drop (call $kv_get (i32.const 0) (i32.const 1) (i32.const 8192) (i32.const -1))) (br $l))`},
	{name: "kv_get of nothing", do: `(loop $l (drop (call $kv_get (i32.const 0) (i32.const 1) (i32.const -1) (i32.const 0))) (br $l))`},
	{name: "count", do: `(loop $l (call $count (i32.const 4096) (i32.const 1) (i64.const 0x7fffffffffffffff)) (br $l))`, fields: `(data (i32.const 4096) "a")`},
	{name: "count of many names", do: `(loop $l (i32.store8 (i32.const 4096) (i32.add (i32.const 97) (i32.rem_u (local.get $i) (i32.const 26))))
		(i32.store8 (i32.const 4097) (i32.add (i32.const 97) (i32.rem_u (i32.div_u (local.get $i) (i32.const 26)) (i32.const 26))))
		(local.set $i (i32.add (local.get $i) (i32.const 1)))
		(call $count (i32.const 4096) (i32.const 2) (i64.const 1)) (br $l))`},
}

func TestEndlessUseOfTheStoreEnds(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for _, b := range storing {
		t.Run(b.name, func(t *testing.T) {
			contained(t, e, plugins.HookMessage, b.in(plugins.HookMessage), stepLimits, budget)
			contained(t, e, plugins.HookMessage, b.in(plugins.HookMessage), clockLimits, timeout)
			for _, h := range hooks {
				if b.name != "count" && b.name != "count of many names" && h != plugins.HookMessage {
					contained(t, e, h, b.in(h), stepLimits, budget, trap)
				}
			}
		})
	}
	settled(t, e)
}

// badArguments are calls that end the hook.
var badArguments = map[string]string{
	"kv_get: no key":                     `(drop (call $kv_get (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))`,
	"kv_get: a key of 4 GiB":             `(drop (call $kv_get (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 0)))`,
	"kv_get: a key beyond the end":       `(drop (call $kv_get (i32.const -1) (i32.const 2) (i32.const 0) (i32.const 0)))`,
	"kv_get: a key out of memory":        `(drop (call $kv_get (i32.const 0x7fffff00) (i32.const 128) (i32.const 0) (i32.const 0)))`,
	"kv_get: a value beyond the end":     `(drop (call $kv_add (i32.const 0) (i32.const 1) (i64.const 1) (i64.const 1000))) (drop (call $kv_get (i32.const 0) (i32.const 1) (i32.const -4) (i32.const -1)))`,
	"kv_set: a value of 4 GiB":           `(drop (call $kv_set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const -1) (i64.const 1000)))`,
	"kv_set: a value of 4 KiB and 1":     `(drop (call $kv_set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 4097) (i64.const 1000)))`,
	"kv_set: a value beyond the end":     `(drop (call $kv_set (i32.const 0) (i32.const 1) (i32.const 0x1fffff) (i32.const 4096) (i64.const 1000)))`,
	"kv_set: a removal beyond the end":   `(drop (call $kv_set (i32.const 0) (i32.const 1) (i32.const -1) (i32.const 4096) (i64.const 0)))`,
	"kv_set: a time to live of -1":       `(drop (call $kv_set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1) (i64.const -1)))`,
	"kv_set: the least time to live":     `(drop (call $kv_set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1) (i64.const 0x8000000000000000)))`,
	"kv_set: the largest time to live":   `(drop (call $kv_set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1) (i64.const 0x7fffffffffffffff)))`,
	"kv_set: a nanosecond overflow":      `(drop (call $kv_set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1) (i64.const 9223372036855)))`,
	"kv_add: a time to live of 0":        `(drop (call $kv_add (i32.const 0) (i32.const 1) (i64.const 1) (i64.const 0)))`,
	"kv_add: a time to live of -1":       `(drop (call $kv_add (i32.const 0) (i32.const 1) (i64.const 1) (i64.const -1)))`,
	"kv_add: a day and 1 ms":             `(drop (call $kv_add (i32.const 0) (i32.const 1) (i64.const 1) (i64.const 86400001)))`,
	"kv_add: a key of 129 bytes":         `(drop (call $kv_add (i32.const 0) (i32.const 129) (i64.const 1) (i64.const 1)))`,
	"count: no name":                     `(call $count (i32.const 4096) (i32.const 0) (i64.const 1))`,
	"count: a name of zeros":             `(call $count (i32.const 4096) (i32.const 4) (i64.const 1))`,
	"count: a name of 4 GiB":             `(call $count (i32.const 4096) (i32.const -1) (i64.const 1))`,
	"count: a name beyond the end":       `(call $count (i32.const -1) (i32.const 4) (i64.const 1))`,
	"count: a line of its own in a page": `(i64.store (i32.const 4096) (i64.const 0x0a7d22617b0a2261)) (call $count (i32.const 4096) (i32.const 8) (i64.const 1))`,
	"count: the least number":            `(i32.store8 (i32.const 4096) (i32.const 97)) (call $count (i32.const 4096) (i32.const 1) (i64.const 0x8000000000000000))`,
}

func TestBadArgumentsOfTheStoreEndTheCall(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for name, do := range badArguments {
		t.Run(name, func(t *testing.T) {
			contained(t, e, plugins.HookMessage, behaviour{do: do}.in(plugins.HookMessage), stepLimits, trap)
		})
	}
	settled(t, e)
}

// millions stores n keys, one after the other in as many calls as it takes, without a limit that
// would end a call.
func millions(n int, ttl string) (guest, plugins.Limits) {
	g := guest{fields: `(global $next (mut i32) (i32.const 0))`, message: `
		(loop $l
			(i32.store (i32.const 0) (global.get $next))
			(global.set $next (i32.add (global.get $next) (i32.const 1)))
			(drop (call $kv_add (i32.const 0) (i32.const 4) (i64.const 1) (i64.const ` + ttl + `)))
			(br_if $l (i32.ne (global.get $next) (i32.const ` + decimal(int32(n)) + `))))`}
	l := clockLimits
	l.MessageTimeout = time.Minute
	return g, l
}

// TestTenMillionKeysStayWithinTheQuota fills a store again and again, while another host is called.
// Neither its memory nor the time of the other's calls follow.
func TestTenMillionKeysStayWithinTheQuota(t *testing.T) {
	const largest = 1 << 20
	for name, test := range map[string]struct {
		keys int
		ttl  string
	}{
		"for a day": {10_000_000, "86400000"},
		"for 1 ms":  {1_000_000, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, plugins.EngineConfig{})
			g, l := millions(int(fewer(int64(test.keys))), test.ttl)
			l.KV = largest
			p := load(t, e, plugins.Spec{Path: g.file(t), Limits: l, Name: "bad"})
			good := load(t, e, plugins.Spec{
				Path: guest{message: nothing}.file(t), Name: "good", Limits: plugins.Limits{MessageTimeout: patience},
			})
			before := othersCalls(t, good, func(wait func()) { wait() })
			heap := heapInUse()
			during := othersCalls(t, good, func(func()) {
				if got := ask(t, p.chain, plugins.HookMessage, host, true); got.err != nil || got.text != touched[plugins.HookMessage] {
					t.Errorf("got %q, %v", got.text, got.err)
				}
			})
			bytes, entries := stored(e)
			if bytes > largest || entries > largest/(64+4+8) {
				t.Errorf("%d bytes in %d entries are stored, the quota is %d", bytes, entries, largest)
			}
			if n := heapInUse() - heap; n > 16<<20 {
				t.Errorf("the heap grew by %d KiB", n>>10)
			}
			t.Logf("p99 of another host: %v before, %v during %d keys", before, during, test.keys)
			if during > grace {
				t.Errorf("another host waited %v", during)
			}
		})
	}
}

// othersCalls calls another host's message until f returns, and returns the 99th percentile of the
// time. f may wait for enough calls to compare with.
func othersCalls(t *testing.T, good *loaded, f func(wait func())) time.Duration {
	t.Helper()
	var (
		wg      sync.WaitGroup
		stop    = make(chan struct{})
		enough  = make(chan struct{})
		elapsed []time.Duration
	)
	wg.Go(func() { // ends when stop is closed
		for {
			select {
			case <-stop:
				return
			default:
			}
			start := time.Now()
			if got := ask(t, good.chain, plugins.HookMessage, "other.example.com", true); got.err != nil || got.text != touched[plugins.HookMessage] {
				t.Errorf("another host: got %q, %v", got.text, got.err)
				close(enough)
				return
			}
			if elapsed = append(elapsed, time.Since(start)); len(elapsed) == 10_000 {
				close(enough)
			}
		}
	})
	f(func() { <-enough })
	close(stop)
	wg.Wait()
	if len(elapsed) == 0 {
		return 0
	}
	slices.Sort(elapsed)
	return elapsed[len(elapsed)*99/100]
}

func heapInUse() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// stored returns the size of all stores.
func stored(e *plugins.Engine) (bytes int64, entries int) {
	for _, r := range e.Report() {
		for _, h := range r.Hosts {
			bytes += h.StoreBytes
			entries += h.StoreEntries
		}
	}
	return bytes, entries
}

// TestStoresOfManyHostsStayWithinTheEngine has each host fill its store, although the engine has
// room for few. Another plugin still gets its instance.
func TestStoresOfManyHostsStayWithinTheEngine(t *testing.T) {
	const most = 24 << 20
	e := newEngine(t, plugins.EngineConfig{Memory: most})
	g, l := millions(20_000, "86400000")
	l.KV = 4 << 20
	p := load(t, e, plugins.Spec{Path: g.file(t), Limits: l})
	from := plugins.Sender{Backend: true}
	for i := range 100 {
		if _, err := p.chain.Message(fmt.Sprintf("h%d.example.com", i), "room", plugins.Authenticated, from, []byte("{} "), 100); err != nil {
			// Without memory for an instance, the call fails.
			break
		}
	}
	bytes, entries := stored(e)
	if bytes == 0 || bytes > most {
		t.Errorf("%d bytes in %d entries are stored, the engine has %d", bytes, entries, most)
	}
	p.Release()
	settled(t, e)
	q := load(t, e, plugins.Spec{Path: guest{message: nothing}.file(t), Limits: stepLimits})
	await(t, q.chain, plugins.HookMessage)
	if bytes, _ := stored(e); bytes != 0 {
		t.Errorf("%d bytes are stored after the release", bytes)
	}
}

// TestMessagesThatCrashStopNoJoin has messages trap until the breaker stops them, under load. Joins
// and logins of the same host go on, and so do messages of another.
func TestMessagesThatCrashStopNoJoin(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	l := stepLimits
	l.Instances = 4
	p := load(t, e, plugins.Spec{
		Path:   guest{classify: nothing, authorize: nothing, connect: nothing, message: `(unreachable)`}.file(t),
		Limits: l,
	})
	const calls = 300
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range calls {
				if got := ask(t, p.chain, plugins.HookMessage, host, true); got.err == nil {
					t.Error("a message that crashes gets through")
				}
			}
		})
	}
	for range calls {
		for _, h := range []plugins.Hook{plugins.HookClassify, plugins.HookAuthorize, plugins.HookConnect} {
			if got := ask(t, p.chain, h, host, false); got.err != nil || got.text != touched[h] {
				t.Fatalf("%s: got %q, %v", h, got.text, got.err)
			}
		}
		if got := ask(t, p.chain, plugins.HookMessage, "other.example.com", false); got.err != nil {
			t.Fatalf("another host's message: %v", got.err)
		}
	}
	wg.Wait()
	if n := p.counters.failed(plugins.HookMessage, plugins.ReasonBreaker); n < calls {
		t.Errorf("the breaker answered %d of %d messages", n, 2*calls)
	}
	await(t, p.chain, plugins.HookMessage)
}

func TestMessageRefusesWhatIsNotOneObject(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	bad := map[string]string{
		"an array": "[]", "a text": `"a"`, "null": "null", "an array behind a space": " []",
		"256 KiB": `{"a":"` + strings.Repeat("x", 256<<10) + `"}`, "one byte too much": `{"a":"` + strings.Repeat("x", 64<<10-7) + `"}`,
		"a text that is not UTF-8": "{\"a\":\"\xff\"}", "a lone surrogate in bytes": "{\"a\":\"\xed\xa0\x80\"}",
	}
	maps.Copy(bad, badDocuments)
	for name, document := range bad {
		t.Run(name, func(t *testing.T) {
			g := guest{message: returns(slice(dataAddress, uint32(len(document)))), fields: data([]byte(document))}
			contained(t, e, plugins.HookMessage, g, stepLimits, badness)
		})
	}
	for name, result := range map[string]uint64{
		"2": 2, "a length without an address": 0xffffffff, "-1": 1<<64 - 1, "the end of memory": slice(0x1fffff, 2),
		"beyond the end": slice(0xfffffffe, 0xffffffff), "an address of 0 and more": slice(1, 0xfffffffe),
	} {
		t.Run(name, func(t *testing.T) {
			for _, h := range []plugins.Hook{plugins.HookConnect, plugins.HookMessage} {
				g := guest{}
				*g.hook(h) = returns(result)
				contained(t, e, h, g, stepLimits, badness)
			}
		})
	}
	settled(t, e)
}

func TestConnectRefusesWhatTheContractDoesNotAllow(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	bad := map[string]string{
		"no key": "{}", "an unknown key": `{"info":{},"id":"bob"}`, "an e-mail address": `{"email":"bob@` + domain + `"}`,
		"the same key twice": `{"info":{},"info":null}`, "the same key in another case": `{"Info":{}}`, "an array": `{"info":[]}`, "a text": `{"info":"x"}`,
		"info over 2 KiB": `{"info":{"a":"` + strings.Repeat("x", 2<<10) + `"}}`, "256 KiB": `{"info":{"a":"` + strings.Repeat("x", 256<<10) + `"}}`,
		"grants without grants": `{"channels":["a"]}`, "grants that are null": `{"channels":null}`, "a list": "[]",
	}
	maps.Copy(bad, badDocuments)
	for name, document := range bad {
		t.Run(name, func(t *testing.T) {
			g := guest{connect: returns(slice(dataAddress, uint32(len(document)))), fields: data([]byte(document))}
			contained(t, e, plugins.HookConnect, g, stepLimits, badness)
		})
	}
	settled(t, e)
}
