package hostile

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// TestCallsOfOtherHostsGoOn calls a good plugin for another host, and the hostile one for another
// tenant, all the time. Meanwhile a guest is hostile in every endless way, one after the other, in
// all its instances.
func TestCallsOfOtherHostsGoOn(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	good := load(t, e, plugins.Spec{
		Path: guest{classify: nothing, members: nothing}.file(t), Name: "good",
		Limits: plugins.Limits{ClassifyTimeout: patience, ShapeTimeout: patience},
	})
	var (
		group sync.WaitGroup
		stop  = make(chan struct{})
		calls int
		worst time.Duration
	)
	group.Go(func() { // ends when stop is closed
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			start := time.Now()
			d, err := good.chain.Classify("other.example.com", "room", plugins.Authenticated)
			if err != nil || d.Kind != plugins.Anonymous {
				t.Errorf("another host's call: %+v, %v", d, err)
				return
			}
			if _, err := members(t.Context(), good.chain, "other.example.com", crowd(10)...); err != nil {
				t.Errorf("another host's call: %v", err)
				return
			}
			calls, worst = calls+1, max(worst, time.Since(start))
		}
	})
	l := clockLimits
	l.ClassifyTimeout = 20 * time.Millisecond
	for _, b := range endless {
		p := load(t, e, plugins.Spec{Path: b.in(plugins.HookClassify).file(t), Name: "bad", OnFailure: plugins.Pass, Limits: l})
		var tenants sync.WaitGroup
		for range 4 {
			tenants.Go(func() {
				for range 3 {
					if got := ask(t, p.chain, plugins.HookClassify, host, true); got.err != nil {
						t.Errorf("%s: %v under pass", b.name, got.err)
					}
				}
			})
		}
		tenants.Wait()
		// Another tenant of the same plugin has its own instances and breaker.
		d, err := p.chain.Classify("tenant.example.com", "room", plugins.Authenticated)
		if err != nil {
			t.Errorf("%s: another tenant of the plugin: %+v, %v", b.name, d, err)
		}
		p.Release()
	}
	close(stop)
	group.Wait()
	t.Logf("%d calls of another host, the slowest took %s", calls, worst)
	if calls < 10 || worst > grace {
		t.Errorf("%d calls of another host, the slowest took %s", calls, worst)
	}
}

// TestTheBreakerSparesTheHost calls a plugin that always runs into its timeout. Soon its policy
// applies at once.
func TestTheBreakerSparesTheHost(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	p := load(t, e, plugins.Spec{Path: guest{classify: `(loop $l (br $l))`}.file(t), Limits: clockLimits})
	start := time.Now()
	const calls = 1000
	for range calls {
		if got := ask(t, p.chain, plugins.HookClassify, host, true); got.err == nil {
			t.Fatal("a call succeeds")
		}
	}
	if d := time.Since(start); d > calls*clockLimits.ClassifyTimeout/4 {
		t.Errorf("%d calls took %s", calls, d)
	}
	if n := p.counters.failed(plugins.HookClassify, plugins.ReasonBreaker); n < calls*9/10 {
		t.Errorf("the breaker answered %d of %d calls", n, calls)
	}
	state := ""
	for _, r := range e.Report() {
		for _, h := range r.Hosts {
			state += h.Breaker
		}
	}
	if state != "open" && state != "half-open" {
		t.Errorf("the breaker is reported as %q", state)
	}
	await(t, p.chain, plugins.HookClassify) // good input closes it again
}

// TestOneInstanceIsNotSharedByHosts has a guest that counts its calls. If an instance were shared,
// the counts would continue.
func TestOneInstanceIsNotSharedByHosts(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	g := guest{fields: `(global $n (mut i64) (i64.const 0))`, classify: `(global.set $n (i64.add (global.get $n) (i64.const 1)))
		(if (i64.gt_u (global.get $n) (i64.const 3)) (then (unreachable)))`}
	l := stepLimits
	l.Instances = 1
	p := load(t, e, plugins.Spec{Path: g.file(t), Limits: l})
	for i := range 20 {
		for range 3 {
			if _, err := p.chain.Classify(fmt.Sprintf("h%d.example.com", i), "room!", plugins.Authenticated); err != nil {
				t.Fatalf("host %d: %v", i, err)
			}
		}
	}
}

// TestHostileConfigurationReachesTheGuestAsItIs passes values that are valid JSON and unpleasant.
func TestHostileConfigurationReachesTheGuestAsItIs(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	// The guest checks that its configuration starts and ends as an object.
	g := guest{classify: nothing, configure: must(`(i32.eq (i32.load8_u (local.get $ptr)) (i32.const 0x7b))`) +
		must(`(i32.eq (i32.load8_u (i32.sub (i32.add (local.get $ptr) (local.get $len)) (i32.const 1))) (i32.const 0x7d))`)}
	path := g.file(t)
	for name, config := range map[string]string{
		"null":               `null`,
		"a number":           `1e400`,
		"a large text":       `"` + strings.Repeat("x", 900_000) + `"`,
		"escapes":            `{"\u0000":"\ud800","a":"\u2028</script>"}`,
		"the same key twice": `{"a":1,"a":2,"host":"other.example.com","plugin":"other"}`,
		"deep nesting":       strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"space":              "\n\t {} \n",
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, e, plugins.Spec{Path: path, Config: json.RawMessage(config), Limits: stepLimits})
			await(t, p.chain, plugins.HookClassify)
			p.Release()
		})
	}
	t.Run("more than the guest takes", func(t *testing.T) {
		config := `"` + strings.Repeat("x", 2<<20) + `"`
		p, err := e.Load(t.Context(), plugins.Spec{Path: path, Config: json.RawMessage(config), Limits: stepLimits})
		if err != nil {
			return // refusing it at once is fine too
		}
		defer p.Release()
		if err := p.Try(t.Context(), host); err == nil {
			t.Error("it is configured although it has no room for the configuration")
		}
	})
	settled(t, e)
}

// TestHostileInputIsNoTrouble passes names and addresses of any kind to a good plugin.
func TestHostileInputIsNoTrouble(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	p := load(t, e, plugins.Spec{
		Path:   guest{classify: nothing, authorize: nothing, members: nothing, shape: nothing}.file(t),
		Limits: plugins.Limits{ClassifyTimeout: patience, ShapeTimeout: patience},
	})
	for name, s := range map[string]string{
		"empty": "", "zero bytes": "\x00\x00", "not UTF-8": "\xff\xfe\xc3", "quotes": `"},{"`,
		"64 KiB less 1": strings.Repeat("x", 65535), "64 KiB": strings.Repeat("x", 65536), "900 KiB": strings.Repeat("x", 900<<10),
		"3 MiB": strings.Repeat("x", 3<<20),
	} {
		t.Run(name, func(t *testing.T) {
			// The length of a request's text has 16 bits, and a batch of users is at most 64 KiB.
			if d, err := p.chain.Classify(host, s, plugins.Authenticated); (len(s) < 1<<16) != (err == nil && d.Kind == plugins.Anonymous) {
				t.Errorf("classify: %+v, %v", d, err)
			}
			ok, err := p.chain.Authorize(host, "room", plugins.Authenticated, &plugins.User{ID: s, Email: s})
			if ok || (len(s) < 1<<16) != (err == nil) {
				t.Errorf("authorize: %v, %v", ok, err)
			}
			objects, err := members(t.Context(), p.chain, host, plugins.User{ID: "a" + s, Email: "ada@" + domain + s})
			if strings.Contains(strings.Join(objects, ""), domain) {
				t.Error("members: the address gets out")
			}
			if len(s) < 32_000 {
				if err != nil || len(objects) != 1 || !json.Valid([]byte(objects[0])) {
					t.Errorf("members: %.200q, %v", objects, err)
				}
			} else if err != nil {
				failure(t, err, plugins.HookMembers, plugins.ReasonTooLarge)
			}
			await(t, p.chain, plugins.HookClassify)
		})
	}
}
