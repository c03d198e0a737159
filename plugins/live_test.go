package plugins

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

const (
	marker = `(func (export "rollcall_members_live"))`
	// trapping traps if the ID of the first user starts with "x".
	trapping = `(func (export "rollcall_members") (param i32 i32 i32) (result i64)
		(if (i32.eq (i32.load8_u (i32.add (local.get 1) (i32.const 12))) (i32.const 120)) (then unreachable))
		(i64.const 0))`
)

// people returns a user with everything for each ID.
func people(ids ...string) (list []User) {
	for _, id := range ids {
		list = append(list, User{ID: id, Email: id + "@example.com", Info: `{"name":"N"}`, Status: `{"away":true}`})
	}
	return list
}

// records returns the record of each user, "-" for one that nobody sees, with "!" after a failure.
func records(shown []Shown) (list []string) {
	for _, s := range shown {
		text := s.Record
		if text == "" {
			text = "-"
		}
		if s.Failed {
			text += "!"
		}
		list = append(list, text)
	}
	return list
}

// Files that were built before there was the marker know nothing of endpoint 4.
func TestPluginsWithoutTheMarkerAreNotCalledForBrowsers(t *testing.T) {
	withoutTheMarker(t, "hidden-staff", `{"domains":"staff.example"}`, `{"id":"ada","email":"ada@example.com"} -`)
}

// withoutTheMarker checks what a plugin makes of users, and that it is not asked what browsers see.
func withoutTheMarker(t *testing.T, name, config, users string) {
	t.Helper()
	e := newEngine(t, EngineConfig{})
	counters := new(Counters)
	core, logs := observer.New(zapcore.WarnLevel)
	p := load(t, e, Spec{
		Path: filepath.Join("testdata", "unmarked", name+".wasm"), Config: json.RawMessage(config), Logger: zap.New(core),
		Counters: func(string) *Counters { return counters },
	})
	c := NewChain(p)
	if !c.Has(HookMembers) || c.Has(HookMembersLive) {
		t.Errorf("hooks %v", p.Hooks().Names())
	}
	if got := logs.All(); len(got) != 1 || got[0].Message != "plugin hides and masks nothing for browsers: build it again" {
		t.Errorf("logged %v", got)
	}
	people := []User{{ID: "ada", Email: "ada@example.com"}, {ID: "sam", Email: "sam@staff.example"}}
	left := slices.Clone(people)
	listed, err := collect(c.Members(t.Context(), EndpointUsers, "h", nil, func() (u User, ok bool) {
		if ok = len(left) > 0; ok {
			u, left = left[0], left[1:]
		}
		return u, ok
	}))
	if got := strings.Join(listed, " "); err != nil || got != users {
		t.Errorf("/message/users: got %s, %v", got, err)
	}
	for _, endpoint := range []Endpoint{EndpointLive, EndpointEvents} {
		shown, err := c.Show(endpoint, "h", []string{"email"}, people)
		want := `{"id":"ada","email":"ada@example.com"} {"id":"sam","email":"sam@staff.example"}`
		if got := strings.Join(records(shown), " "); err != nil || got != want {
			t.Errorf("endpoint %d: got %s, %v", endpoint, got, err)
		}
	}
	s := counters.Read()
	if s.OK[HookMembers] != 1 || s.OK[HookMembersLive] != 0 || s.Failed[HookMembersLive] != [reasonCount]uint64{} {
		t.Errorf("calls: %v, failures: %v", s.OK, s.Failed)
	}
}

func TestTheMarkerAloneIsNoHook(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	p := load(t, e, Spec{Path: wat(t, classifier(`(i64.const 0)`+")"+strings.TrimSuffix(marker, ")")))})
	if got := p.Hooks().Names(); !slices.Equal(got, []string{"classify"}) || len(p.Info().Unknown) != 0 {
		t.Errorf("hooks %v, unknown %v", got, p.Info().Unknown)
	}
	_, err := e.Load(t.Context(), Spec{Path: wat(t, guest(`(func (export "rollcall_members_live") (param i32))`+unchanged))})
	if err == nil || !strings.Contains(err.Error(), "rollcall_members_live has the type") {
		t.Errorf("another type: %v", err)
	}
}

func TestShowKeepsTheIDAndTheShownKeys(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	badge := answers(`\22\00\00\00\05badge\02\01\00\00\001\05email\01\02\00\00\00x@\02id\01\01\00\00\00z`, 38)
	for name, test := range map[string]struct {
		guest          string
		show           []string
		record, sender string
	}{
		"nothing more":        {unchangedLive, nil, `{"id":"ada"}`, `{"id":"ada"}`},
		"info and status":     {unchangedLive, []string{"info", "status"}, `{"id":"ada","info":{"name":"N"},"status":{"away":true}}`, `{"id":"ada"}`},
		"email":               {unchangedLive, []string{"email"}, `{"id":"ada","email":"ada@example.com"}`, `{"id":"ada","email":"ada@example.com"}`},
		"all":                 {unchangedLive, []string{"email", "info", "status"}, `{"id":"ada","email":"ada@example.com","info":{"name":"N"},"status":{"away":true}}`, `{"id":"ada","email":"ada@example.com"}`},
		"a key that is not":   {unchangedLive, []string{"badge"}, `{"id":"ada"}`, `{"id":"ada"}`},
		"another id":          {live(badge), nil, `{"id":"z"}`, `{"id":"z"}`},
		"a key of the plugin": {live(badge), []string{"badge", "email"}, `{"badge":1,"email":"x@","id":"z"}`, `{"email":"x@","id":"z"}`},
		"an empty record":     {live(answers(`\00\00\00\00`, 4)), []string{"email"}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, e, Spec{Path: wat(t, test.guest)})
			shown, err := NewChain(p).Show(EndpointLive, "h", test.show, people("ada"))
			id := ""
			if test.record != "" {
				id = "ada"
			}
			if strings.Contains(test.record, `"id":"z"`) {
				id = "z"
			}
			if want := (Shown{ID: id, Record: test.record, Sender: test.sender}); err != nil || len(shown) != 1 || shown[0] != want {
				t.Errorf("got %+v, %v", shown, err)
			}
		})
	}
}

var unchangedLive = guest(marker + unchanged)

// live adds the marker to the text of a guest.
func live(text string) string { return strings.TrimSuffix(text, ")") + marker + ")" }

func TestShowPassesManyUsers(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	first := load(t, e, Spec{Path: wat(t, live(guest(emptied)))})
	second := load(t, e, Spec{Path: wat(t, unchangedLive)})
	ids := make([]string, 3*batchRecords+5)
	want := make([]string, len(ids))
	for i := range ids {
		ids[i], want[i] = "x", "-"
		if i%3 == 0 {
			ids[i], want[i] = "ada", `{"id":"ada"}`
		}
	}
	for name, c := range map[string]*Chain{"one": NewChain(first), "two": NewChain(first, second), "swapped": NewChain(second, first)} {
		shown, err := c.Show(EndpointLive, "h", nil, people(ids...))
		if got := records(shown); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %d records, %v", name, len(got), err)
		}
	}
	if shown, err := NewChain(first).Show(EndpointLive, "h", nil, nil); err != nil || len(shown) != 0 {
		t.Errorf("nobody: got %v, %v", shown, err)
	}
}

func TestShowAfterAFailure(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	rename := live(answers(`\09\00\00\00\02id\01\01\00\00\00z`, 13))
	// 21 such users are one batch. The next one starts with the user that makes the plugin trap.
	ids := append(slices.Repeat([]string{"ada"}, 21), "x", "bob")
	long := people(ids...)
	for i := range long {
		long[i].Info = `"` + strings.Repeat("i", 3000) + `"`
	}
	for name, test := range map[string]struct {
		before, text string
		policy       Policy
		users        []User
		want         []string
	}{
		"deny":                {"", live(guest(trapping)), Deny, people("x", "bob"), []string{"-!", "-!"}},
		"pass":                {"", live(guest(trapping)), Pass, people("x", "bob"), []string{`{"id":"x"}!`, `{"id":"bob"}!`}},
		"deny, second plugin": {rename, live(guest(`(func (export "rollcall_members") (param i32 i32 i32) (result i64) unreachable)`)), Deny, people("ada"), []string{"-!"}},
		"pass, second plugin": {rename, live(guest(`(func (export "rollcall_members") (param i32 i32 i32) (result i64) unreachable)`)), Pass, people("ada"), []string{`{"id":"z"}!`}},
		"one batch of two":    {"", live(guest(trapping)), Deny, long, append(slices.Repeat([]string{`{"id":"ada"}`}, 21), "-!", "-!")},
	} {
		t.Run(name, func(t *testing.T) {
			var list []*Plugin
			if test.before != "" {
				list = append(list, load(t, e, Spec{Path: wat(t, test.before)}))
			}
			list = append(list, load(t, e, Spec{Path: wat(t, test.text), OnFailure: test.policy}))
			shown, err := NewChain(list...).Show(EndpointLive, "h", nil, test.users)
			failure, ok := errors.AsType[*Error](err)
			if !ok || failure.Hook != HookMembersLive || failure.Reason != ReasonTrap {
				t.Errorf("got the error %v", err)
			}
			if got := records(shown); !slices.Equal(got, test.want) {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestShowRefusesRecordsThatCannotBeShown(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	for name, test := range map[string]struct{ text, says string }{
		"no id":       {answers(`\09\00\00\00\02ix\01\01\00\00\00z`, 13), "no id that is a text"},
		"id is JSON":  {answers(`\09\00\00\00\02id\02\01\00\00\001`, 13), "no id that is a text"},
		"too few":     {answers(``, 0), "0 records for 1 user"},
		"not JSON":    {answers(`\11\00\00\00\02id\01\01\00\00\00z\01a\02\01\00\00\00}`, 21), "not a JSON value"},
		"more than 4": {answers(`\13\10\00\00\02id\01\01\00\00\00z\04info\01\00\10\00\00`+strings.Repeat("i", 4096), 4+9+10+4096), "at most 4096 are allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, e, Spec{Path: wat(t, live(test.text))})
			shown, err := NewChain(p).Show(EndpointLive, "h", []string{"info"}, people("ada"))
			failure, ok := errors.AsType[*Error](err)
			if !ok || failure.Reason != ReasonBadResult || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %q", err, test.says)
			}
			if len(shown) != 1 || shown[0] != (Shown{Failed: true}) {
				t.Errorf("got %+v", shown)
			}
		})
	}
}

func TestAGuestSeesNoRequestForBrowsers(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	p := load(t, e, Spec{Path: wat(t, live(guest(`(func (export "rollcall_members") (param i32 i32 i32) (result i64)
		(if (i32.or (i32.ne (local.get 0) (i32.const 4)) (call $request (i32.const 0) (i32.const 0))) (then unreachable))
		(i64.const 0))`)))})
	if _, err := NewChain(p).Show(EndpointLive, "h", nil, people("ada")); err != nil {
		t.Error(err)
	}
}

// A plugin that fails for browsers still decides about joins and answers.
func TestEachHookHasItsOwnBreaker(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	counters := new(Counters)
	p := load(t, e, Spec{
		Path: wat(t, live(guest(trapping+`
		(func (export "rollcall_classify") (param i32 i32) (result i64) (i64.const 1))`))),
		Counters: func(string) *Counters { return counters },
	})
	c := NewChain(p)
	for range 10 {
		for range 20 { // its failures are few among all calls
			if _, err := c.Classify("h", "c", Authenticated); err != nil {
				t.Fatal(err)
			}
		}
		c.Show(EndpointLive, "h", nil, people("x"))
	}
	_, err := c.Show(EndpointLive, "h", nil, people("ada"))
	if failure, ok := errors.AsType[*Error](err); !ok || failure.Reason != ReasonBreaker {
		t.Errorf("for browsers: got %v, want the breaker", err)
	}
	if _, err := c.Classify("h", "c", Authenticated); err != nil {
		t.Errorf("classify: %v", err)
	}
	if got, err := collect(c.Members(t.Context(), EndpointUsers, "h", nil, users(1, func(int) string { return "a" }))); err != nil || len(got) != 1 {
		t.Errorf("members: %v, %v", got, err)
	}
	if s := counters.Read(); s.Failed[HookMembersLive][reasonIndex(ReasonTrap)] != 5 || s.OK[HookClassify] != 201 {
		t.Errorf("counters: %v, %v", s.Failed, s.OK)
	}
	if got := e.Report()[0].Hosts[0].Breaker; got != "open" {
		t.Errorf("the breaker is reported as %s", got)
	}
}

// Events have all keys, whatever browsers see. The guest learns which endpoint it is.
func TestEventsKeepAllKeys(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	c := NewChain(load(t, e, Spec{Path: wat(t, live(guest(`(func (export "rollcall_members") (param i32 i32 i32) (result i64)
		(if (i32.ne (local.get 0) (i32.const 5)) (then unreachable))
		(i64.const 0))`)))}))
	user := User{ID: "ada", Email: "ada@example.com", Info: `{"name":"N"}`}
	shown, err := c.Show(EndpointEvents, "h", nil, []User{user})
	if want := `{"id":"ada","email":"ada@example.com","info":{"name":"N"}}`; err != nil || records(shown)[0] != want {
		t.Errorf("got %v, %v, want %s", records(shown), err, want)
	}
	if _, err := c.Show(EndpointLive, "h", nil, []User{user}); err == nil {
		t.Error("the guest takes endpoint 4 for endpoint 5")
	}
}
