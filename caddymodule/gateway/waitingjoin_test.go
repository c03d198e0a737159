package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/authorize"
	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// judge is a backend in fake time, which answers after a while.
type judge struct {
	mu    sync.Mutex
	texts map[string]string // by channel; a channel without one is answered by a no
	took  time.Duration
	asked []string // user and channel
	first func()   // if not nil, is called before an answer is given
}

func (j *judge) set(channel, text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.texts[channel] = text
}

// questions returns what was asked since the last call.
func (j *judge) questions() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := strings.Join(j.asked, ", ")
	j.asked = nil
	return all
}

func (j *judge) before() func() {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.first
}

func (j *judge) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	between := func(a, b string) string {
		_, text, _ := strings.Cut(string(body), a)
		text, _, _ = strings.Cut(text, b)
		return text
	}
	channel := between(`"channel":"`, `"`)
	j.mu.Lock()
	j.asked = append(j.asked, between(`"user":{"id":"`, `"`)+" "+channel)
	text, ok := j.texts[channel]
	took := j.took
	j.mu.Unlock()
	select {
	case <-time.After(took):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if first := j.before(); first != nil {
		first()
	}
	w := httptest.NewRecorder()
	switch {
	case !ok:
		w.WriteHeader(http.StatusForbidden)
	case text == "down":
		w.WriteHeader(http.StatusInternalServerError)
	default:
		w.WriteString(text)
	}
	return w.Result(), nil
}

// judged is a dialogue with a site that asks a judge, in a bubble.
type judged struct {
	*dialogue
	*judge
	site *site.Site
}

// inCourt runs a test in fake time.
func inCourt(t *testing.T, f func(t *testing.T, d judged)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		j := &judge{texts: make(map[string]string)}
		st := siteWithTokens(t)
		st.Authorize = &authorize.Endpoint{
			URL: "http://app.example.com", Secrets: []backend.Secret{backend.Secret("0123456789abcdef")},
			Timeout: 2 * time.Second, Cache: 30 * time.Second,
		}
		st.Asker = authorize.New(authorize.Config{Label: presence.HostName.String, Logger: zap.NewNop(), Transport: j})
		st.Patterns.Granted = []string{"team-*"}
		st.Ping = site.Pings{Interval: time.Hour, Timeout: 2 * time.Hour} // the tests read only what they want
		st.Bounds.MaxChannels, st.Bounds.MaxName = 0, 0
		st.MakeRules()
		d := talkAfter(t, st, &presence.User{ID: "ada"}, func(s *Session) {
			s.hub.Asker.Close()
			s.hub.Asker = st.Asker
		})
		f(t, judged{d, j, st})
	})
}

// say sends a text.
func (d judged) say(text string) { d.send(0x81, text) }

// wants reads a frame, and compares a part of it.
func (d judged) wants(part string) {
	d.t.Helper()
	if got := d.read(); !strings.Contains(got, part) {
		d.t.Errorf("got %s, want %s", got, part)
	}
}

// wantsAll reads a frame for each part, in any order: those of a message and of sent have none.
func (d judged) wantsAll(parts ...string) {
	d.t.Helper()
	for range len(parts) {
		got := d.read()
		i := slices.IndexFunc(parts, func(part string) bool { return strings.Contains(got, part) })
		if i < 0 {
			d.t.Errorf("got %s, want one of %q", got, parts)
			return
		}
		parts = slices.Delete(parts, i, i+1)
	}
}

func (d judged) login(user string) {
	d.t.Helper()
	d.say(`{"type":"authenticate","token":"` + signed(d.t, jwt.MapClaims{"sub": user}) + `"}`)
}

const yes = `{"allow":true}`

func TestJoinAsksTheBackend(t *testing.T) {
	inCourt(t, func(t *testing.T, d judged) {
		d.set("team-a", yes)
		d.set("team-b", `{"allow":true,"send":false,"see":false}`)
		d.set("team-down", "down")
		d.say(`{"type":"join","channel":"team-a","id":1,"presence":"list"}`)
		d.wants(`"type":"joined","id":1,"channel":"team-a"`)
		d.say(`{"type":"send","channels":["team-a"],"message":{}}`)
		d.wantsAll(`"type":"sent"`, `"type":"message"`)
		if got := d.questions(); got != "ada team-a" {
			t.Errorf("asked %q", got)
		}
		for _, step := range []struct{ sent, want, asked string }{
			{`{"type":"ping"}`, `"type":"pong"`, ""},
			{`{"type":"join","channel":"team-b","id":2,"presence":"list"}`, `"id":2,"code":"denied","message":"the permission see`, "ada team-b"},
			{`{"type":"join","channel":"team-b","id":3}`, `"type":"joined","id":3`, ""},
			{`{"type":"send","channels":["team-b"],"message":{}}`, `"code":"denied","message":"the permission send`, ""},
			{`{"type":"join","channel":"team-no","id":4}`, `"id":4,"code":"denied","message":"the permission join`, "ada team-no"},
			{`{"type":"join","channel":"team-down","id":5}`, `"id":5,"code":"unavailable","message":"try again later"`, "ada team-down"},
			{`{"type":"join","channel":"open","id":6}`, `"type":"joined","id":6`, ""},
		} {
			d.say(step.sent)
			d.wants(step.want)
			if got := d.questions(); got != step.asked {
				t.Errorf("%s: asked %q, want %q", step.sent, got, step.asked)
			}
		}
	})
}

func TestWaitingJoinHoldsUpNothing(t *testing.T) {
	inCourt(t, func(t *testing.T, d judged) {
		d.took = time.Second
		d.set("team-a", yes)
		d.say(`{"type":"join","channel":"team-a","id":1}`)
		d.say(`{"type":"join","channel":"team-a","id":2,"presence":"count"}`)
		d.say(`{"type":"ping","id":3}`)
		d.wants(`{"type":"pong","id":3}`)
		d.say(`{"type":"send","channels":["team-a"],"message":{},"id":4}`)
		d.wants(`"id":4,"code":"not_joined"`)
		d.say(`{"type":"join","channel":"open","id":5}`)
		d.wants(`"type":"joined","id":5`)
		d.wants(`"type":"joined","id":1`)
		d.wants(`"type":"joined","id":2`)
		d.say(`{"type":"leave","channel":"team-a","id":6}`)
		d.wants(`"type":"left","id":6`)
		if got := d.questions(); got != "ada team-a" {
			t.Errorf("asked %s", got)
		}
	})
}

func TestSlowBackendIsUnavailable(t *testing.T) {
	inCourt(t, func(t *testing.T, d judged) {
		d.took = time.Minute
		d.set("team-a", yes)
		start := time.Now()
		d.say(`{"type":"join","channel":"team-a","id":1}`)
		d.wants(`"id":1,"code":"unavailable"`)
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("after %s", took)
		}
	})
}

func TestLeaveCancelsAWaitingJoin(t *testing.T) {
	inCourt(t, func(t *testing.T, d judged) {
		d.took = time.Second
		d.set("team-a", yes)
		d.say(`{"type":"join","channel":"team-a","id":1}`)
		d.say(`{"type":"join","channel":"team-a","id":2}`)
		d.say(`{"type":"leave","channel":"team-a","id":3}`)
		d.wants(`"id":1,"code":"not_joined"`)
		d.wants(`"id":2,"code":"not_joined"`)
		d.wants(`{"type":"left","id":3,"channel":"team-a"}`)
		time.Sleep(time.Minute)
		if names := d.session.conn.Asked(); len(names) != 0 {
			t.Errorf("it listens to %v", names)
		}
		d.say(`{"type":"leave","channel":"team-a","id":4}`)
		d.wants(`"id":4,"code":"not_joined"`)
	})
}

// The server may join a channel while a join of the client waits.
func TestLeaveAfterAnAssignment(t *testing.T) {
	inCourt(t, func(t *testing.T, d judged) {
		d.took = time.Second
		d.say(`{"type":"join","channel":"team-a","id":1}`)
		synctest.Wait()
		d.loginFor("ada", "team-*") // stands for the assignment
		go func() {
			if err := d.session.conn.Assign("ada", "team-a"); err != nil {
				t.Error(err)
			}
		}()
		d.wants(`{"type":"joined","channel":"team-a"`)
		d.say(`{"type":"leave","channel":"team-a","id":2}`)
		d.wants(`"id":1,"code":"not_joined"`)
		d.wants(`{"type":"left","id":2,"channel":"team-a"}`)
		if err := d.session.conn.Leave("team-a", ""); !errors.Is(err, presence.ErrNotJoined) {
			t.Errorf("it still listens: %v", err)
		}
	})
}

func TestAnotherUserCancelsAWaitingJoin(t *testing.T) {
	inCourt(t, func(t *testing.T, d judged) {
		d.took = time.Second
		d.set("team-a", yes)
		d.say(`{"type":"join","channel":"team-a","id":1}`)
		d.login("ada") // changes nothing
		d.wants(`"type":"authenticated"`)
		d.wants(`"type":"joined","id":1`)
		d.say(`{"type":"join","channel":"team-b","id":2}`)
		synctest.Wait() // the question is under way
		d.login("grace")
		d.wants(`"type":"left","channel":"team-a","reason":"denied"`)
		d.wants(`"id":2,"code":"unavailable","message":"the user has changed: join again"`)
		d.wants(`"type":"authenticated"`)
		d.say(`{"type":"join","channel":"team-a","id":3}`)
		d.wants(`"type":"joined","id":3`)
		if got := d.questions(); got != "ada team-a, ada team-b, grace team-a" {
			t.Errorf("asked %s", got)
		}
	})
}

func TestCloseEndsWaitingJoins(t *testing.T) {
	inCourt(t, func(t *testing.T, d judged) {
		d.took = time.Hour
		d.site.Authorize.Timeout = 2 * time.Hour
		for i := range 10 {
			d.say(fmt.Sprintf(`{"type":"join","channel":"team-%d"}`, i))
		}
		synctest.Wait()
		start := time.Now()
		d.Close()
		synctest.Wait()
		d.session.mu.Lock()
		defer d.session.mu.Unlock()
		if n := len(d.session.asking.waits); n != 0 || time.Since(start) != 0 {
			t.Errorf("%d wait after %s", n, time.Since(start))
		}
	})
}

func TestWaitingJoinsAreLimited(t *testing.T) {
	inCourt(t, func(t *testing.T, d judged) {
		d.took = time.Second
		d.set("team-a", yes)
		for range maxWaitingFrames {
			d.say(`{"type":"join","channel":"team-a","id":1}`)
		}
		d.say(`{"type":"join","channel":"team-a","id":2}`)
		d.wants(`"id":2,"code":"rate_limited"`)
		d.say(`{"type":"join","channel":"team-b","id":3}`)
		d.wants(`"id":3,"code":"rate_limited"`)
		for range maxWaitingFrames {
			d.wants(`"type":"joined","id":1`)
		}
		d.say(`{"type":"join","channel":"team-b","id":4}`)
		d.wants(`"id":4,"code":"denied"`)
	})
}

func TestGrantsThatEndAreRenewed(t *testing.T) {
	for _, test := range []struct {
		name, then string // answers of the backend after the first one
		stays      bool
		leftAfter  [2]time.Duration
	}{
		{"renewed", `{"allow":true,"expires_in":60}`, true, [2]time.Duration{}},
		{"renewed without end", yes, true, [2]time.Duration{}},
		{"a no", `{"allow":false}`, false, [2]time.Duration{40 * time.Second, time.Minute}},
		{"no answer", "down", false, [2]time.Duration{time.Minute, time.Minute}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inCourt(t, func(t *testing.T, d judged) {
				d.set("team-a", `{"allow":true,"expires_in":60}`)
				d.say(`{"type":"join","channel":"team-a"}`)
				d.wants(`"type":"joined"`)
				start := time.Now()
				d.set("team-a", test.then)
				d.questions()
				if !test.stays {
					d.wants(`{"type":"left","channel":"team-a","reason":"denied"}`)
					if took := time.Since(start); took < test.leftAfter[0] || took > test.leftAfter[1] {
						t.Errorf("left after %s", took)
					}
					if got := d.questions(); got != "ada team-a" {
						t.Errorf("asked %s", got)
					}
					return
				}
				go func() {
					time.Sleep(10 * time.Minute)
					d.say(`{"type":"leave","channel":"team-a"}`)
				}()
				d.wants(`{"type":"left","channel":"team-a"}`)
				n, want := strings.Count(d.questions(), "ada"), 1
				if test.then != yes {
					want = 10
				}
				if n < want || n > want*3/2 {
					t.Errorf("asked %d times in 10 minutes", n)
				}
			})
		})
	}
}

// Joining again changes what is watched, and not the end of the grant.
func TestJoiningAgainKeepsTheEnd(t *testing.T) {
	inCourt(t, func(t *testing.T, d judged) {
		d.set("team-a", `{"allow":true,"expires_in":100}`)
		d.say(`{"type":"join","channel":"team-a"}`)
		d.wants(`"type":"joined"`)
		start := time.Now()
		d.set("team-a", "down")
		time.Sleep(35 * time.Second) // the answer is no longer kept
		d.say(`{"type":"join","channel":"team-a"}`)
		d.wants(`"type":"joined"`)
		d.wants(`"type":"left","channel":"team-a","reason":"denied"`)
		if took := time.Since(start); took != 100*time.Second {
			t.Errorf("left after %s", took)
		}
	})
}

func TestReloadAsksAgain(t *testing.T) {
	inCourt(t, func(t *testing.T, d judged) {
		d.set("team-a", yes)
		d.set("team-b", yes)
		d.set("open", yes)
		for _, channel := range []string{"team-a", "team-b", "open"} {
			d.say(`{"type":"join","channel":"` + channel + `"}`)
			d.wants(`"type":"joined"`)
		}
		time.Sleep(time.Minute)
		d.questions()
		d.set("team-a", "down")
		d.set("team-b", `{"allow":false}`)
		d.site.Patterns.Granted = []string{"*"} // now open needs a grant, too
		d.session.hub.updateSite(d.site)
		d.wants(`{"type":"left","channel":"team-b","reason":"denied"}`)
		synctest.Wait()
		if got := d.questions(); strings.Count(got, "team-a") != 1 || strings.Count(got, "team-b") != 1 || strings.Count(got, "open") != 1 {
			t.Errorf("asked %s", got)
		}
		d.say(`{"type":"send","channels":["team-a","open"],"message":{},"id":1}`) // they stay until there is an answer
		d.wantsAll(`"type":"sent","id":1`, `"type":"message"`, `"type":"message"`)
		d.set("team-a", `{"allow":false}`)
		d.wants(`{"type":"left","channel":"team-a","reason":"denied"}`)
		d.say(`{"type":"leave","channel":"open","id":2}`)
		d.wants(`"type":"left","id":2`)
	})
}

// classifier classifies channels as a plugin that fails until it works.
type classifier struct {
	works           atomic.Bool
	failing, normal presence.Class
}

func (c *classifier) Classify(presence.HostName, string) (presence.Class, error) {
	if c.works.Load() {
		return c.normal, nil
	}
	c.failing.Provisional = true
	return c.failing, nil
}

// reload puts rules into effect.
func (d judged) reload(change func(*presence.Rules)) {
	rules := *d.site.Rules()
	change(&rules)
	d.site.SetRules(&rules)
	d.session.hub.reclassifyHost(d.session.tenant.name)
}

// When a plugin works again and a channel comes to need a grant, the backend is asked about those who
// listen already.
func TestPluginThatWorksAgainDemandsAGrant(t *testing.T) {
	inCourt(t, func(t *testing.T, d judged) {
		c := &classifier{
			failing: presence.Class{Kind: presence.Authenticated}, normal: presence.Class{Kind: presence.Authenticated, Grant: true},
		}
		d.reload(func(r *presence.Rules) { r.Classifier = c })
		for _, channel := range []string{"yes", "no"} {
			d.say(`{"type":"join","channel":"` + channel + `"}`)
			d.wants(`"type":"joined"`)
		}
		d.set("yes", yes)
		c.works.Store(true)
		start := time.Now()
		d.wants(`{"type":"left","channel":"no","reason":"denied"}`)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("left after %s", took)
		}
		time.Sleep(10 * time.Minute)
		if got := d.questions(); strings.Count(got, "ada yes") != 1 || strings.Count(got, "ada no") != 1 {
			t.Errorf("asked %q", got)
		}
		d.say(`{"type":"leave","channel":"yes","id":1}`)
		d.wants(`{"type":"left","id":1,"channel":"yes"}`)
	})
}

// A backend that needs longer than the pause before a retry of classes is waited for.
func TestRetryOfClassesWaitsForTheBackend(t *testing.T) {
	inCourt(t, func(t *testing.T, d judged) {
		d.set("team-a", yes)
		d.loginFor("ada", "team-*")
		d.say(`{"type":"join","channel":"team-a"}`)
		d.wants(`"type":"joined"`)
		d.took = 1500 * time.Millisecond
		class := presence.Class{Kind: presence.Authenticated, Grant: true}
		c := &classifier{failing: class, normal: class}
		d.reload(func(r *presence.Rules) { r.Classifier, r.GrantsClaim = c, "rooms" })
		c.works.Store(true)
		time.Sleep(time.Minute)
		d.say(`{"type":"leave","channel":"team-a","id":1}`)
		d.wants(`{"type":"left","id":1,"channel":"team-a"}`)
		if got := d.questions(); got != "ada team-a" {
			t.Errorf("asked %q", got)
		}
	})
}

// Many changes while the backend is down start no loop each.
func TestOnlyTheLastCallAsksAgain(t *testing.T) {
	inCourt(t, func(t *testing.T, d judged) {
		d.set("team-a", yes)
		d.say(`{"type":"join","channel":"team-a"}`)
		d.wants(`"type":"joined"`)
		time.Sleep(time.Minute)
		d.set("team-a", `{"allow":maybe}`)
		for range 20 {
			d.reload(func(*presence.Rules) {})
			time.Sleep(time.Millisecond)
		}
		d.questions()
		time.Sleep(3 * time.Minute)
		if n := strings.Count(d.questions(), "ada"); n < 4 || n > 12 { // after 1, 3, 7, 15, 31, 61 s and so on
			t.Errorf("asked %d times in three minutes", n)
		}
		d.set("team-a", yes)
		time.Sleep(maxRegrantPause)
	})
}

// A channel can have been anonymous only because a plugin failed.
func TestAssignedUserJoinsWhenThePluginWorksAgain(t *testing.T) {
	inCourt(t, func(t *testing.T, d judged) {
		c := &classifier{
			failing: presence.Class{Kind: presence.Anonymous}, normal: presence.Class{Kind: presence.Authenticated},
		}
		d.reload(func(r *presence.Rules) { r.Classifier = c })
		d.say(`{"type":"join","channel":"room"}`) // it is active, so it is classified again
		d.wants(`"kind":"anonymous"`)
		h := d.session.hub
		_, _ = h.Assignments.Book.Merge([]assignment.Record{{ // there is no file to keep it
			Host: d.session.tenant.name, User: "ada", Channel: "room", Mode: assignment.Listen, Version: assignment.Version{Clock: 1 << 60},
		}})
		synctest.Wait()
		if got := d.session.conn.Assigned(); got != nil {
			t.Errorf("assigned %q to an anonymous channel", got)
		}
		c.works.Store(true)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := d.session.conn.Assigned(); !slices.Equal(got, []string{"room"}) {
			t.Errorf("assigned to %q", got)
		}
	})
}

// An answer of the backend from before a reload opens and refuses nothing after it.
func TestReloadWhileAsking(t *testing.T) {
	inCourt(t, func(t *testing.T, d judged) {
		d.took = time.Second
		d.say(`{"type":"join","channel":"team-a","id":1}`)
		synctest.Wait()
		moved := *d.site.Authorize
		moved.URL = "http://new.example.com"
		d.site.Authorize = &moved
		d.session.hub.updateSite(d.site)
		d.set("team-a", yes)
		d.wants(`"type":"joined","id":1`)
		if got := d.questions(); got != "ada team-a, ada team-a" {
			t.Errorf("asked %s", got)
		}
	})
}

// What is known of the user can change while the backend is asked.
func TestUserChangesWhileAsking(t *testing.T) {
	inCourt(t, func(t *testing.T, d judged) {
		d.took = time.Second / 2
		d.site.Show = []string{"status"}
		d.session.hub.updateSite(d.site)
		d.set("team-a", yes)
		d.set("team-b", yes)
		d.say(`{"type":"authenticate","token":"` + signed(t, jwt.MapClaims{"sub": "ada", "info": map[string]any{"name": "Ada"}}) + `"}`)
		d.wants(`"info":{"name":"Ada"}`)
		d.say(`{"type":"join","channel":"team-a","id":1}`)
		synctest.Wait()
		d.say(`{"type":"status","status":{"text":"away"}}`)
		d.wants(`"type":"status"`)
		d.wants(`"type":"joined","id":1`)
		if got := d.questions(); got != "ada team-a" {
			t.Errorf("asked %s", got)
		}
		d.say(`{"type":"join","channel":"team-b","id":2}`)
		synctest.Wait()
		d.say(`{"type":"authenticate","token":"` + signed(t, jwt.MapClaims{"sub": "ada", "info": map[string]any{"name": "Countess"}}) + `"}`)
		d.wants(`"type":"authenticated"`)
		d.wants(`"type":"joined","id":2`)
		if got := d.questions(); got != "ada team-b, ada team-b" {
			t.Errorf("asked %s", got)
		}
	})
}

func TestForgetGrants(t *testing.T) {
	inCourt(t, func(t *testing.T, d judged) {
		d.set("team-a", yes)
		join := func(want, asked string) {
			t.Helper()
			d.say(`{"type":"join","channel":"team-a","id":1}`)
			d.wants(want)
			if got := d.questions(); got != asked {
				t.Errorf("asked %q, want %q", got, asked)
			}
		}
		join(`"type":"joined"`, "ada team-a")
		d.say(`{"type":"leave","channel":"team-a"}`)
		d.wants(`"type":"left"`)
		d.set("team-a", `{"allow":false}`)
		d.session.hub.ForgetGrants(d.session.tenant.name, []string{"grace"})
		join(`"type":"joined"`, "")
		d.say(`{"type":"leave","channel":"team-a"}`)
		d.wants(`"type":"left"`)
		d.session.hub.ForgetGrants(d.session.tenant.name, []string{"grace", "ada"})
		join(`"code":"denied"`, "ada team-a")
	})
}
