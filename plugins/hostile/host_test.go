package hostile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/plugins"
)

const (
	// host is the host of the hostile plugin.
	host = "hostile.example.com"
	// domain is part of each address that must not get out.
	domain = "secret.example"
	// patience is the longest wait on a busy machine for anything that no limit ends sooner.
	patience = 20 * time.Second
	// grace is the most by which a call may exceed its timeout on a busy machine.
	grace = 2 * time.Second
)

// stepLimits end an endless call by its budget, long before a timeout.
var stepLimits = plugins.Limits{
	Instances: 2, InitBudget: fewer(1_000_000), ClassifyBudget: fewer(1_000_000), MembersBudget: 1000,
	ShapeBudget: fewer(3_000_000), ConnectBudget: fewer(1_000_000), MessageBudget: fewer(1_000_000),
	ClassifyTimeout: patience, ShapeTimeout: patience, MessageTimeout: patience,
}

// fewer returns n, or a part of it under the race detector, which makes host functions and deep
// stacks several times slower.
func fewer(n int64) int64 {
	if raceEnabled {
		return n / 5
	}
	return n
}

// clockLimits end an endless call by its timeout, long before its budget is spent.
var clockLimits = plugins.Limits{
	Instances: 2, InitBudget: 1e12, ClassifyBudget: 1e12, MembersBudget: 1e12, ShapeBudget: 1e12,
	ConnectBudget: 1e12, MessageBudget: 1e12,
	ClassifyTimeout: 20 * time.Millisecond, ShapeTimeout: 20 * time.Millisecond, MessageTimeout: 20 * time.Millisecond,
}

func newEngine(t testing.TB, c plugins.EngineConfig) *plugins.Engine {
	t.Helper()
	e, err := plugins.NewEngine(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("closing the engine: %v", err)
		}
	})
	return e
}

// loaded is a plugin with its engine, log and counters.
type loaded struct {
	*plugins.Plugin
	chain    *plugins.Chain
	counters *counters
	log      *observer.ObservedLogs
}

// counters holds the counters of a plugin by host.
type counters struct {
	mu     sync.Mutex
	byHost map[string]*plugins.Counters
}

func (c *counters) of(host string) *plugins.Counters {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byHost[host] == nil {
		if c.byHost == nil {
			c.byHost = map[string]*plugins.Counters{}
		}
		c.byHost[host] = new(plugins.Counters)
	}
	return c.byHost[host]
}

// failed returns the number of calls of the hook that failed for the reason.
func (c *counters) failed(h plugins.Hook, r plugins.Reason) int {
	return int(c.of(host).Read().Failed[h][slices.Index(plugins.Reasons[:], r)])
}

// restarts returns the number of discarded instances.
func restarts(s plugins.CountersSnapshot) (n int) {
	for _, r := range s.Restarts {
		n += int(r)
	}
	return n
}

// load loads a plugin, which must succeed. It is released when the test ends.
func load(t testing.TB, e *plugins.Engine, s plugins.Spec) *loaded {
	t.Helper()
	core, log := observer.New(zapcore.DebugLevel)
	l := &loaded{counters: new(counters), log: log}
	s.Logger, s.Counters = zap.New(core), l.counters.of
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := e.Load(ctx, s)
	if err != nil {
		t.Fatalf("loading: %v", err)
	}
	t.Cleanup(p.Release)
	l.Plugin, l.chain = p, plugins.NewChain(p)
	return l
}

// complaints returns the log entries of level warn and above.
func (l *loaded) complaints() []string {
	var texts []string
	for _, e := range l.log.All() {
		if e.Level >= zapcore.WarnLevel {
			texts = append(texts, fmt.Sprint(e.Message, " ", e.ContextMap()))
		}
	}
	return texts
}

// memory returns the bytes of all instances of an engine.
func memory(e *plugins.Engine) int64 {
	n := int64(0)
	for _, r := range e.Report() {
		for _, h := range r.Hosts {
			n += h.Memory
		}
	}
	return n
}

// answer is the result of calling one hook, as text; equal texts mean equal results.
type answer struct {
	text string
	err  error
}

// hooks lists all hooks in order.
var hooks = []plugins.Hook{
	plugins.HookClassify, plugins.HookAuthorize, plugins.HookMembers, plugins.HookShape,
	plugins.HookConnect, plugins.HookMessage,
}

// Answers of the hooks without a plugin, and with a benign one.
var (
	untouched = map[plugins.Hook]string{
		plugins.HookClassify:  "no opinion",
		plugins.HookAuthorize: "true",
		plugins.HookMembers:   `{"id":"ada","email":"ada@secret.example"}`,
		plugins.HookShape:     `{"room":[{"id":"ada","email":"ada@secret.example"}]}`,
		plugins.HookConnect:   "no info",
		plugins.HookMessage:   `{"text":"hello"}`,
	}
	touched = map[plugins.Hook]string{
		plugins.HookClassify:  "anonymous",
		plugins.HookAuthorize: "false",
		plugins.HookMembers:   `{"id":"ada","email":"******************"}`,
		plugins.HookShape:     `{"shaped":true}`,
		plugins.HookConnect:   "info {}",
		plugins.HookMessage:   `{"shaped":true}`,
	}
)

// request is the body of the request that listings answer.
const request = `{"channel":"room"}`

// ask calls a hook for a host. If bad is set, the input ends in a space or an exclamation mark.
func ask(t testing.TB, c *plugins.Chain, h plugins.Hook, host string, bad bool) answer {
	t.Helper()
	mark := ""
	if bad {
		mark = "!"
	}
	switch h {
	case plugins.HookClassify:
		d, err := c.Classify(host, "room"+mark, plugins.Authenticated)
		if d.Hidden || d.CountOnly {
			t.Errorf("classify: %+v, want no flags", d)
		}
		return answer{d.Kind.String(), err}
	case plugins.HookAuthorize:
		user := &plugins.User{ID: "ada", Email: "ada@" + domain + mark}
		ok, err := c.Authorize(host, "room", plugins.Authenticated, user)
		return answer{strconv.FormatBool(ok), err}
	case plugins.HookMembers:
		objects, err := members(t.Context(), c, host, plugins.User{ID: "ada", Email: "ada@" + domain + mark})
		// The marks do not matter.
		return answer{strings.NewReplacer("!", "", "*******************", "******************").
			Replace(strings.Join(objects, "\n")), err}
	case plugins.HookConnect:
		// A claim is not checked: the host has verified the token.
		login := plugins.Login{ID: "C0", User: &plugins.User{ID: "ada", Email: "ada@" + domain}, Claims: "{}" + strings.ReplaceAll(mark, "!", " ")}
		got, err := c.Connect(host, login)
		if !got.HasInfo {
			return answer{"no info", err}
		}
		return answer{"info " + got.Info, err}
	case plugins.HookMessage:
		from := plugins.Sender{User: &plugins.User{ID: "ada", Email: "ada@" + domain}, Connection: "C0"}
		got, err := c.Message(host, "room", plugins.Authenticated, from, []byte(untouched[h]+strings.ReplaceAll(mark, "!", " ")), 64<<10)
		return answer{strings.TrimSpace(string(got)), err}
	default:
		body := untouched[h] + strings.ReplaceAll(mark, "!", " ")
		got, err := c.Shape(t.Context(), plugins.EndpointUsers, host, []byte(request), []byte(body))
		return answer{strings.TrimSpace(string(got)), err}
	}
}

// members lists the users and returns the objects of those that are not left out.
func members(ctx context.Context, c *plugins.Chain, host string, users ...plugins.User) (objects []string, err error) {
	i := 0
	m := c.Members(ctx, plugins.EndpointUsers, host, []byte(request), func() (plugins.User, bool) {
		if i == len(users) {
			return plugins.User{}, false
		}
		i++
		return users[i-1], true
	})
	for {
		object, err := m.Next()
		switch {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return objects, err
		case object != nil:
			objects = append(objects, string(object))
		}
	}
}

// await calls the hook with good input until the plugin answers: a new instance may take a moment,
// and an open breaker a second.
func await(t testing.TB, c *plugins.Chain, h plugins.Hook) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		got := ask(t, c, h, host, false)
		if got.err == nil && got.text == touched[h] {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s with good input: got %q and %v after %s, want %q", h, got.text, got.err, patience, touched[h])
		}
		<-tick.C
	}
}

// failure checks that err is a plugin's error with one of the reasons, and returns the reason.
func failure(t testing.TB, err error, h plugins.Hook, reasons ...plugins.Reason) plugins.Reason {
	t.Helper()
	var failed *plugins.Error
	if !errors.As(err, &failed) {
		t.Fatalf("the error is %v, want a *plugins.Error", err)
	}
	if failed.Hook != h || failed.Host != host || failed.Plugin == "" {
		t.Errorf("the error is of plugin %q, host %q, hook %s; want %q and %s", failed.Plugin, failed.Host, failed.Hook, host, h)
	}
	if !slices.Contains(reasons, failed.Reason) {
		t.Errorf("the reason is %s, want one of %s: %v", failed.Reason, reasons, err)
	}
	return failed.Reason
}

func decimal(n int32) string { return strconv.Itoa(int(n)) }
