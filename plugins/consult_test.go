package plugins

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// consultant is a guest with the hooks connect and message, whose bodies are given. Texts are at 16,
// 64, and so on.
func consultant(connect, message string, texts ...string) string {
	data := ""
	for i, text := range texts {
		data += fmt.Sprintf("(data (i32.const %d) %q)", textAt(i), text)
	}
	return guest(strings.ReplaceAll(data, `\"`, `\22`) +
		`(func (export "rollcall_connect") (param i32 i32) (result i64) ` + connect + `)
		(func (export "rollcall_message") (param i32 i32) (result i64) ` + message + `)`)
}

func textAt(i int) int { return 16 + 48*i }

// slice is the result for the text with the number.
func slice(i int, text string) string {
	return fmt.Sprintf("(i64.const %d)", uint64(textAt(i))<<32|uint64(len(text)))
}

const noChange = "(i64.const 0)" // a result

var ada = &User{ID: "ada", Email: "a@x", Info: `{"name":"Ada"}`}

func wantReason(t *testing.T, err error, h Hook, want Reason) {
	t.Helper()
	var failure *Error
	if !errors.As(err, &failure) || failure.Reason != want || failure.Hook != h {
		t.Errorf("got %v, want %s of %s", err, want, h)
	}
}

func TestMessageResults(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	const object = `{"text":"instead"}`
	for _, tt := range []struct {
		name, body, text string
		want             string // "" for a failure
		reason           Reason
	}{
		{"no change", noChange, "", `{"a":1}`, ""},
		{"refused", "(i64.const 1)", "", "refused", ""},
		{"two", "(i64.const 2)", "", "", ReasonBadResult},
		{"the largest without an address", "(i64.const 0xffffffff)", "", "", ReasonBadResult},
		{"an error", "(i64.const -1)", "", "", ReasonBadResult},
		{"another object", slice(0, object), object, object, ""},
		{"white space around it", slice(0, " {}\r\n\t"), " {}\r\n\t", "{}", ""},
		{"an array", slice(0, "[1]"), "[1]", "", ReasonBadResult},
		{"two objects", slice(0, "{}{}"), "{}{}", "", ReasonBadResult},
		{"half an object", slice(0, "{"), "{", "", ReasonBadResult},
		{"nothing", slice(0, ""), "", "", ReasonBadResult},
		{"no UTF-8", `(i32.store8 (i32.const 21) (i32.const 0xff))` + slice(0, `{"a":"x"}`), `{"a":"x"}`, "", ReasonBadResult},
		{"as large as it may be", slice(0, `{"a":"0123456789012"}`), `{"a":"0123456789012"}`, `{"a":"0123456789012"}`, ""},
		{"too large", slice(0, `{"a":"01234567890123"}`), `{"a":"01234567890123"}`, "", ReasonBadResult},
		{"outside of the memory", "(i64.const 0x7fffffff00000010)", "", "", ReasonBadResult},
		{"a trap", "unreachable", "", "", ReasonTrap},
		{"no end", "(loop $again (br $again)) " + noChange, "", "", ReasonBudget},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, policy := range []Policy{Deny, Pass} {
				p := load(t, e, Spec{Path: wat(t, consultant(noChange, tt.body, tt.text)), OnFailure: policy, Limits: Limits{MessageTimeout: time.Minute}})
				given := []byte(`{"a":1}`)
				got, err := NewChain(p).Message("a.example.com", "room", Authenticated, Sender{User: ada}, given, 21)
				switch {
				case tt.want == "refused":
					var refused *RefusedError
					if !errors.Is(err, ErrRefused) || !errors.As(err, &refused) || refused.Plugin != p.Name() {
						t.Errorf("%s: got %s, %v", policy, got, err)
					}
				case tt.want == "" && policy == Deny:
					wantReason(t, err, HookMessage, tt.reason)
				case tt.want == "":
					if err != nil || string(got) != string(given) {
						t.Errorf("passed over: got %s, %v", got, err)
					}
				case err != nil || string(got) != tt.want:
					t.Errorf("%s: got %s, %v", policy, got, err)
				}
			}
		})
	}
}

// The input of message: the request with its length, then the message.
func TestMessageInput(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	// The guest logs its input as bytes of the result: here it compares with what the test has written.
	for _, tt := range []struct {
		name  string
		site  Kind
		from  Sender
		kind  byte
		flags byte
		texts string // after the header
	}{
		{"a user", Authenticated, Sender{User: ada, Connection: "C0"}, 1, 0, "a.example.comroomadaa@x\x01\x00\x02\x00C0"},
		{"anonymous", Anonymous, Sender{Connection: "C0"}, 2, 1, "a.example.comroom\x01\x00\x02\x00C0"},
		{"the backend", Granted, Sender{Backend: true}, 1, 2 | 4, "a.example.comroom"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			header := make([]byte, 16)
			header[0], header[1], header[2] = 1, tt.kind, tt.flags
			binary.LittleEndian.PutUint16(header[4:], 13)
			binary.LittleEndian.PutUint16(header[6:], 4)
			if tt.from.User != nil {
				binary.LittleEndian.PutUint16(header[8:], 3)
				binary.LittleEndian.PutUint16(header[10:], 3)
			}
			if tt.from.Connection != "" {
				binary.LittleEndian.PutUint32(header[12:], 6)
			}
			want := slices.Concat(binary.LittleEndian.AppendUint32(nil, uint32(16+len(tt.texts))), header, []byte(tt.texts), []byte(`{"m":1}`))
			escaped := ""
			for _, b := range want {
				escaped += fmt.Sprintf(`\%02x`, b)
			}
			p := load(t, e, Spec{Path: wat(t, guest(`(data (i32.const 16) "`+escaped+`")
				(func (export "rollcall_message") (param $p i32) (param $n i32) (result i64) (local $i i32)
					(if (i32.ne (local.get $n) (i32.const `+fmt.Sprint(len(want))+`)) (then (return (i64.const 1))))
					(loop $next
						(if (i32.ne (i32.load8_u (i32.add (local.get $p) (local.get $i))) (i32.load8_u offset=16 (local.get $i))) (then (return (i64.const 1))))
						(local.set $i (i32.add (local.get $i) (i32.const 1)))
						(br_if $next (i32.lt_u (local.get $i) (local.get $n))))
					(i64.const 0))`))})
			if _, err := NewChain(p).Message("a.example.com", "room", tt.site, tt.from, []byte(`{"m":1}`), 100); err != nil {
				t.Errorf("the input differs from %q: %v", want, err)
			}
		})
	}
}

func TestConnectResults(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	errCheck := errors.New("not like this")
	accept := func(channels []byte) error {
		if string(channels) == `["bad"]` {
			return errCheck
		}
		return nil
	}
	long := `{"a":"` + strings.Repeat("x", maxInfo-8) + `"}`
	for _, tt := range []struct {
		name, text string
		grants     bool
		anonymous  bool
		want       string // "" for an invalid result
	}{
		{name: "info", text: `{"info":{"a": 1}}`, want: `info {"a":1}`},
		{name: "null", text: `{"info":null}`, want: "info "},
		{name: "info of an anonymous connection", text: `{"info":{}}`, anonymous: true},
		{name: "an empty object of an anonymous connection", text: `{}`, anonymous: true},
		{name: "the longest info", text: `{"info":` + long + `}`, want: "info " + long},
		{name: "long info", text: `{"info":` + strings.Replace(long, "x", "xx", 1) + `}`},
		{name: "info of another type", text: `{"info":[1]}`},
		{name: "info twice", text: `{"info":{},"info":{}}`},
		{name: "an empty object", text: `{}`},
		{name: "an unknown key", text: `{"info":{},"email":"b"}`},
		{name: "a key in capitals", text: `{"Info":{}}`},
		{name: "no object", text: `[]`},
		{name: "two values", text: `{"info":{}} 1`},
		{name: "channels", text: `{"channels":["team-*"]}`, grants: true, want: `channels ["team-*"]`},
		{name: "both", text: `{"channels":{"a":["join"]},"info":null}`, grants: true, want: `info channels {"a":["join"]}`},
		{name: "channels that are not allowed", text: `{"channels":[]}`},
		{name: "channels that are wrong", text: `{"channels":["bad"]}`, grants: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Spec{Path: wat(t, consultant(slice(0, tt.text), noChange, tt.text))}
			if tt.grants {
				s.CheckGrants = accept
			}
			l := Login{ID: "C0", User: ada}
			if tt.anonymous {
				l.User = nil
			}
			c, err := NewChain(load(t, e, s)).Connect("a.example.com", l)
			if tt.want == "" {
				wantReason(t, err, HookConnect, ReasonBadResult)
				return
			}
			got := ""
			if c.HasInfo {
				got = "info " + c.Info
			}
			for _, g := range c.Grants {
				got += "channels " + string(g.Channels)
			}
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestConnectInput(t *testing.T) {
	for _, tt := range []struct {
		l    Login
		want string
	}{
		{Login{ID: "C0"}, `{"host":"a","connection":"C0","user":null,"claims":null}`},
		{Login{ID: "C0", User: &User{ID: `"`}}, `{"host":"a","connection":"C0","user":{"id":"\"","email":"","info":null},"claims":null}`},
		{Login{ID: "C0", User: ada, Claims: `{"sub":"ada"}`}, `{"host":"a","connection":"C0","user":{"id":"ada","email":"a@x","info":{"name":"Ada"}},"claims":{"sub":"ada"}}`},
	} {
		if got := string(appendLogin(nil, "a", &tt.l)); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// Each plugin gets what the one before it made, and the first refusal ends the chain.
func TestConsultationsAreChained(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	const info, message = `{"info":{"by":"first"}}`, `{"by":"first"}`
	first := load(t, e, Spec{Path: wat(t, consultant(slice(0, info), slice(1, message), info, message)), Name: "first"})
	// Refuses an input that ends like what the first plugin made.
	second := load(t, e, Spec{Name: "second", Path: wat(t, consultant(
		`(i64.extend_i32_u (i32.gt_u (local.get 1) (i32.const 100)))`,
		`(i64.extend_i32_u (i32.eq (i32.load offset=0 (i32.sub (i32.add (local.get 0) (local.get 1)) (i32.const 4))) (i32.const 0x7d227473)))`))})
	third := load(t, e, Spec{Path: wat(t, consultant("unreachable", "unreachable")), Name: "third"})
	short := Login{ID: "C0", User: &User{ID: "a"}}
	for _, tt := range []struct {
		name    string
		plugins []*Plugin
		refuses string
	}{
		{"the second alone", []*Plugin{second}, ""},
		{"in order", []*Plugin{first, second, third}, "second"},
		{"in another order", []*Plugin{second, first}, ""},
	} {
		c := NewChain(tt.plugins...)
		_, errConnect := c.Connect("a.example.com", short)
		_, errMessage := c.Message("a.example.com", "room", Authenticated, Sender{}, []byte("{}"), 100)
		for hook, err := range map[string]error{"connect": errConnect, "message": errMessage} {
			var refused *RefusedError
			errors.As(err, &refused)
			if tt.refuses == "" && err != nil || tt.refuses != "" && (refused == nil || refused.Plugin != tt.refuses) {
				t.Errorf("%s, %s: got %v", tt.name, hook, err)
			}
		}
	}
	failing := load(t, e, Spec{Path: wat(t, consultant("unreachable", "unreachable")), Name: "failing", OnFailure: Pass})
	c, err := NewChain(failing, first).Connect("a.example.com", short)
	if err != nil || !c.Failed || c.Info != `{"by":"first"}` {
		t.Errorf("behind a failure that passes: %+v, %v", c, err)
	}
}

// Messages that make a plugin fail do not stop joins, nor logins.
func TestEachHookHasABreaker(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	text := strings.Replace(consultant(noChange, "unreachable"), `(func (export "rollcall_connect")`,
		`(func (export "rollcall_classify") (param i32 i32) (result i64) (i64.const 1)) (func (export "rollcall_connect")`, 1)
	c := NewChain(load(t, e, Spec{Path: wat(t, text), Limits: Limits{ClassifyTimeout: time.Minute, MessageTimeout: time.Minute}}))
	var last error
	for range 40 {
		_, last = c.Message("a.example.com", "room", Authenticated, Sender{User: ada}, []byte("{}"), 100)
	}
	wantReason(t, last, HookMessage, ReasonBreaker)
	if d, err := c.Classify("a.example.com", "room", Authenticated); err != nil || d.Kind != Authenticated {
		t.Errorf("a join: %+v, %v", d, err)
	}
	if _, err := c.Connect("a.example.com", Login{ID: "C0"}); err != nil {
		t.Errorf("a login: %v", err)
	}
	r := e.Report()[0]
	if e.ResetBreakers(r.Name, "b.example.com") || e.ResetBreakers("another", "a.example.com") {
		t.Error("a breaker was reset that does not exist")
	}
	if !e.ResetBreakers(r.Name, "a.example.com") || e.Report()[0].Hosts[0].Breaker != "closed" {
		t.Error("the breaker was not reset")
	}
	_, last = c.Message("a.example.com", "room", Authenticated, Sender{User: ada}, []byte("{}"), 100)
	wantReason(t, last, HookMessage, ReasonTrap)
}

// A login that is too large for the plugin says nothing of the plugin.
func TestLargeLoginIsNoFailureOfTheGuest(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	c := NewChain(load(t, e, Spec{Path: wat(t, consultant(noChange, noChange))}))
	for range 30 {
		_, err := c.Connect("a.example.com", Login{ID: "C0", User: ada, Claims: `{"x":"` + strings.Repeat("x", maxLogin) + `"}`})
		wantReason(t, err, HookConnect, ReasonTooLarge)
	}
	if _, err := c.Connect("a.example.com", Login{ID: "C0", User: ada}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestConnectLeavesAnInstanceForJoins(t *testing.T) {
	for _, tt := range []struct {
		instances, busy int
		want            bool
	}{
		{1, 0, true}, {1, 1, false}, {2, 0, true}, {2, 1, false}, {3, 1, true}, {3, 2, false},
	} {
		e := newEngine(t, EngineConfig{})
		p := load(t, e, Spec{Path: wat(t, consultant(noChange, noChange)), Limits: Limits{Instances: tt.instances, MessageTimeout: 2 * time.Millisecond}})
		pool := p.anchor.pool("a.example.com")
		var taken []*slot
		for range tt.busy {
			s, f := pool.tryAcquire(t.Context())
			if f != nil {
				t.Fatal(f)
			}
			taken = append(taken, s)
		}
		s, f := pool.acquireSpare(2 * time.Millisecond)
		if (s != nil) != tt.want || !tt.want && (f == nil || f.reason != ReasonBusy) {
			t.Errorf("%d of %d instances in use: got %v, %v", tt.busy, tt.instances, s != nil, f)
		}
		if s != nil {
			taken = append(taken, s)
		}
		for _, s := range taken {
			pool.freeSlot(s, slotIdle)
		}
	}
}

// A login waits for an instance for longer than the call may take.
func TestConnectWaitsForAnInstance(t *testing.T) {
	file := wat(t, consultant(noChange, noChange))
	synctest.Test(t, func(t *testing.T) {
		e, _ := NewEngine(EngineConfig{})
		defer e.Close()
		p := load1(t, e, Spec{Path: file, Limits: Limits{Instances: 2}})
		defer p.Release()
		c := NewChain(p)
		pool := p.anchor.pool("a.example.com")
		taken, f := pool.tryAcquire(t.Context())
		if f != nil {
			t.Fatal(f)
		}
		login := make(chan error)
		connect := func() {
			_, err := c.Connect("a.example.com", Login{ID: "C0", User: ada})
			login <- err
		}
		go connect()
		time.Sleep(DefaultShapeTimeout - time.Millisecond)
		pool.freeSlot(taken, slotIdle)
		if err := <-login; err != nil {
			t.Error(err)
		}
		if taken, f = pool.tryAcquire(t.Context()); f != nil {
			t.Fatal(f)
		}
		go connect()
		wantReason(t, <-login, HookConnect, ReasonBusy)

		const crowd = 200 // few of them look for an instance
		for range crowd {
			go connect()
		}
		synctest.Wait()
		if n := len(pool.polling); n != maxPolling {
			t.Errorf("%d logins look for an instance, want %d", n, maxPolling)
		}
		pool.freeSlot(taken, slotIdle)
		for range crowd {
			if err := <-login; err != nil {
				t.Error(err)
			}
		}
		time.Sleep(2 * watchQuiet * watchTick) // the watchdog ends
	})
}

// A message has 100 steps for each byte besides the budget.
func TestMessageBudgetGrowsWithTheMessage(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	steps := func(n int) string {
		return fmt.Sprintf(`(local $i i32) (local.set $i (i32.const %d))
			(loop $next (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if $next (local.get $i))) (i64.const 0)`, n)
	}
	s := Spec{Path: wat(t, consultant(noChange, steps(50_000))), Limits: Limits{MessageBudget: 1000, MessageTimeout: time.Minute}}
	c := NewChain(load(t, e, s))
	large := []byte(`{"x":"` + strings.Repeat("x", 1000) + `"}`)
	if _, err := c.Message("a.example.com", "room", Authenticated, Sender{}, large, 2000); err != nil {
		t.Errorf("a large message: %v", err)
	}
	_, err := c.Message("a.example.com", "room", Authenticated, Sender{}, []byte("{}"), 2000)
	wantReason(t, err, HookMessage, ReasonBudget)
	if !strings.Contains(err.Error(), "message_budget") {
		t.Errorf("the error does not name the option: %v", err)
	}
}

func TestRefusalsAreCounted(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	counters := new(Counters)
	c := NewChain(load(t, e, Spec{Path: wat(t, consultant("(i64.const 1)", noChange)), Counters: func(string) *Counters { return counters }}))
	for range 3 {
		_, _ = c.Connect("a.example.com", Login{ID: "C0"})
		_, _ = c.Message("a.example.com", "room", Authenticated, Sender{}, []byte("{}"), 10)
	}
	if got := counters.Read(); got.OK[HookConnect] != 3 || got.Refused[HookConnect] != 3 || got.OK[HookMessage] != 3 || got.Refused[HookMessage] != 0 {
		t.Errorf("%d logins of which %d refused, %d messages of which %d refused",
			got.OK[HookConnect], got.Refused[HookConnect], got.OK[HookMessage], got.Refused[HookMessage])
	}
}

func FuzzConnected(f *testing.F) {
	for _, text := range []string{`{"info":{"a":1},"channels":["a"]}`, `{"info":null}`, `{}`, `{"channels":{}}`, "{", ""} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, result []byte) {
		c, err := parseConnected(result, func([]byte) error { return nil })
		if err != nil {
			return
		}
		if !c.HasInfo && c.channels == nil {
			t.Error("neither key")
		}
		if c.HasInfo && c.Info != "" && (len(c.Info) > maxInfo || c.Info[0] != '{') {
			t.Errorf("info %q", c.Info)
		}
	})
}
