package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

const grantRules = `channels {
	own user-{id}
	granted team-* asked-*
	authenticated news-* chat-*
	anonymous lobby-* open-*
	default granted
	quiet lobby-* news-*
}`

// grantCase is one row of the table: who may do what in a channel. An answer is "yes", or the code
// and a part of the message of the error.
type grantCase struct {
	name     string
	channel  string // %s is the user, or a number without a user
	user     string // "ada" is another user in each row and on each pod; "" is a guest
	owner    bool   // the other listener is the same user: nobody else may join
	claim    string // channels of the token, JSON; "" for none
	assigned bool
	may      string // of joined; "none" if it has none

	join, watch, send string // join, join with presence, send

	change    string // "another user", "unassign", or the claim of a new token: "token CLAIM"
	after     string // "stays", or the reason of left
	watchThen string // after the change, if the connection stays; as before if ""
	sendThen  string
}

const (
	noJoin   = "denied: the permission join is missing: the user has no grant for this channel"
	notOwn   = "denied: the permission join is missing: only the user in its name may join this channel"
	noSend   = "denied: the permission send is missing"
	noSee    = "denied: the permission see is missing"
	noAnswer = "unavailable: try again later"
	login    = "login_required: log in first"
	not      = "not_joined: not joined"
)

var grantCases = []grantCase{
	{name: "own", channel: "user-%s", user: "ada", owner: true, may: "send see", join: "yes", watch: "yes", send: "yes", change: "another user", after: "denied"},
	{name: "own, a new token", channel: "user-%s", user: "ada", owner: true, may: "send see", join: "yes", watch: "yes", send: "yes", change: "token []", after: "stays"},
	{name: "own of another user", channel: "user-x%s", user: "ada", claim: `["*"]`, join: notOwn, watch: notOwn, send: not},
	{name: "own of a guest", channel: "user-%s", join: login, watch: login, send: not},

	{name: "granted, guest", channel: "team-%s", join: login, watch: login, send: not},
	{name: "granted, no grant", channel: "team-%s", user: "ada", join: noJoin, watch: noJoin, send: not},
	{name: "granted, token for others", channel: "team-%s", user: "ada", claim: `["tea","team","chat-*","Team-*"]`, join: noJoin, watch: noJoin, send: not},
	{name: "granted, broken claim", channel: "team-%s", user: "ada", claim: `"*"`, join: noJoin, watch: noJoin, send: not},
	{name: "granted, token", channel: "team-%s", user: "ada", claim: `["team-*"]`, may: "send see", join: "yes", watch: "yes", send: "yes", change: "token null", after: "denied"},
	{name: "granted, token, same again", channel: "team-%s", user: "ada", claim: `["team-*"]`, may: "send see", join: "yes", watch: "yes", send: "yes", change: `token ["*"]`, after: "stays"},
	{name: "granted, token, another user", channel: "team-%s", user: "ada", claim: `["team-*"]`, may: "send see", join: "yes", watch: "yes", send: "yes", change: "another user", after: "denied"},
	{
		name: "granted, token join", channel: "team-%s", user: "ada", claim: `{"team-*":["join"]}`, may: "", join: "yes", watch: noSee, send: noSend,
		change: `token {"team-*":["join","send","see"]}`, after: "stays", watchThen: "yes", sendThen: "yes",
	},
	{
		name: "granted, token join and send", channel: "team-%s", user: "ada", claim: `{"team-*":["join","send","fly"]}`, may: "send", join: "yes", watch: noSee, send: "yes",
		change: `token {"team-*":["join","see"]}`, after: "stays", watchThen: "yes", sendThen: noSend,
	},
	{
		name: "granted, token join and see", channel: "team-%s", user: "ada", claim: `{"team-*":["join"],"*":["see"]}`, may: "see", join: "yes", watch: "yes", send: noSend,
		change: `token {"team-*":["join"]}`, after: "stays", watchThen: noSee, sendThen: noSend,
	},
	{name: "granted, token without join", channel: "team-%s", user: "ada", claim: `{"team-*":["send","see"]}`, join: noJoin, watch: noJoin, send: not},
	{name: "granted, assigned", channel: "team-%s", user: "ada", assigned: true, may: "send see", join: "yes", watch: "yes", send: "yes", change: "unassign", after: "removed"},
	{name: "granted, assigned, another user", channel: "team-%s", user: "ada", assigned: true, may: "send see", join: "yes", watch: "yes", send: "yes", change: "another user", after: "denied"},
	{
		name: "granted, assigned and token", channel: "team-%s", user: "ada", claim: `{"team-*":["join"]}`, assigned: true, may: "send see", join: "yes", watch: "yes", send: "yes",
		change: "unassign", after: "stays", watchThen: noSee, sendThen: noSend,
	},
	{name: "granted by default", channel: "anonymous-%s", user: "ada", join: noJoin, watch: noJoin, send: not},
	{name: "granted by default, guest", channel: "anonymous-%s", join: login, watch: login, send: not},
	{name: "granted by default, token", channel: "anonymous-%s", user: "ada", claim: `["anonymous-*"]`, may: "send see", join: "yes", watch: "yes", send: "yes", change: "token []", after: "denied"},

	{name: "asked", channel: "asked-all-%s", user: "ada", may: "send see", join: "yes", watch: "yes", send: "yes", change: "another user", after: "denied"},
	{name: "asked, a new token", channel: "asked-all-%s", user: "ada", may: "send see", join: "yes", watch: "yes", send: "yes", change: "token []", after: "stays"},
	{name: "asked, removeuser", channel: "asked-all-%s", user: "ada", may: "send see", join: "yes", watch: "yes", send: "yes", change: "unassign", after: "stays"},
	{
		name: "asked, join", channel: "asked-join-%s", user: "ada", may: "", join: "yes", watch: noSee, send: noSend,
		change: `token {"*":["join","send","see"]}`, after: "stays", watchThen: "yes", sendThen: "yes",
	},
	{name: "asked, the token is enough", channel: "asked-no-%s", user: "ada", claim: `["asked-*"]`, may: "send see", join: "yes", watch: "yes", send: "yes", change: "token null", after: "denied"},
	{name: "asked, the token lacks join", channel: "asked-join-%s", user: "ada", claim: `{"asked-*":["see"]}`, may: "see", join: "yes", watch: "yes", send: noSend, change: "token []", after: "stays", watchThen: noSee},
	{name: "asked, no", channel: "asked-no-%s", user: "ada", join: noJoin, watch: noJoin, send: not},
	{name: "asked, no answer", channel: "asked-down-%s", user: "ada", join: noAnswer, watch: noAnswer, send: not},
	{name: "asked, guest", channel: "asked-all-%s", join: login, watch: login, send: not},

	{name: "authenticated", channel: "chat-%s", user: "ada", may: "none", join: "yes", watch: "yes", send: "yes", change: "another user", after: "stays"},
	{name: "authenticated, guest", channel: "chat-%s", join: login, watch: login, send: not},
	{name: "authenticated and quiet", channel: "news-%s", user: "ada", may: "none", join: "yes", watch: "yes", send: noSend, change: `token {"news-*":["send"]}`, after: "stays", sendThen: "yes"},
	{name: "authenticated and quiet, token", channel: "news-%s", user: "ada", claim: `["news-*"]`, may: "none", join: "yes", watch: "yes", send: "yes", change: "another user", after: "stays", sendThen: noSend},
	{name: "anonymous", channel: "open-%s", may: "none", join: "yes", watch: "yes", send: "yes", change: "another user", after: "stays"},
	{name: "anonymous and quiet", channel: "lobby-%s", may: "none", join: "yes", watch: "yes", send: noSend, change: "another user", after: "stays"},
	{name: "anonymous and quiet, token", channel: "lobby-%s", user: "ada", claim: `{"lobby-*":["send"]}`, may: "none", join: "yes", watch: "yes", send: "yes", change: "token null", after: "stays", sendThen: noSend},
}

// signGrants returns a token with a claim of channels.
func signGrants(t testing.TB, user, claim string) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": user}
	if claim != "" {
		claims["channels"] = json.RawMessage(claim)
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// grantClient is a connection of a test of grants.
type grantClient struct{ *ws.Client }

func dialGrants(t *testing.T, p *pod, user, claim string) grantClient {
	t.Helper()
	var header []string
	if user != "" {
		header = []string{"Authorization", "Bearer " + signGrants(t, user, claim)}
	}
	return grantClient{p.site.Dial(t, header...)}
}

// grantFrame has the keys of all frames that these tests read.
type grantFrame struct {
	ID                                   int
	Type, Channel, Reason, Code, Message string
	May                                  []string
}

// next reads frames until the test wants one. Presence frames may come in between.
func (c grantClient) next(t *testing.T, want func(f grantFrame) bool) grantFrame {
	t.Helper()
	for {
		raw := c.Next(t)
		var f grantFrame
		_ = json.Unmarshal([]byte(raw), &f) // the message of a message is no text
		if want(f) {
			return f
		}
		if f.Type == "error" {
			t.Fatalf("got %s", raw)
		}
	}
}

// ask sends a frame and compares the answer with "yes", or the code and a part of the message.
func (c grantClient) ask(t *testing.T, what, frame, want string) grantFrame {
	t.Helper()
	c.Send(t, strings.Replace(frame, "{", `{"id":7,`, 1))
	f := c.next(t, func(f grantFrame) bool { return f.ID == 7 })
	got := "yes"
	if f.Type == "error" {
		got = f.Code + ": " + f.Message
	}
	if want == "yes" && got != want || !strings.HasPrefix(got, want) {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
	return f
}

func (c grantClient) join(t *testing.T, channel, want string) grantFrame {
	t.Helper()
	return c.ask(t, "join", fmt.Sprintf(`{"type":"join","channel":%q}`, channel), want)
}

func (c grantClient) watch(t *testing.T, channel, want string) {
	t.Helper()
	c.ask(t, "join with presence", fmt.Sprintf(`{"type":"join","channel":%q,"presence":"list"}`, channel), want)
}

// send sends a message, which the other listener receives if it is accepted. The test then sends
// one to it from the backend, so that a refused message would come first.
func (c grantClient) send(t *testing.T, channel, want string, p *pod, other grantClient) {
	t.Helper()
	c.ask(t, "send", fmt.Sprintf(`{"type":"send","channels":[%q],"message":{"by":"client"}}`, channel), want)
	expect := func(by string) {
		t.Helper()
		for {
			raw := other.Next(t)
			var f struct {
				Type    string
				Message struct{ By string }
			}
			_ = json.Unmarshal([]byte(raw), &f)
			if f.Type != "message" {
				continue
			}
			if f.Message.By != by {
				t.Errorf("send: the other listener got %s, want the message of the %s", raw, by)
			}
			return
		}
	}
	if want == "yes" {
		expect("client")
	}
	a := p.site.Request(t, http.MethodPost, "/message/sendmessage",
		fmt.Sprintf(`{"channels":[%q],"message":{"by":"backend"}}`, channel), "Content-Type", "application/json", "X-Api-Key", apiKey)
	if a.Status != http.StatusCreated {
		t.Fatalf("sendmessage: %d %s", a.Status, a.Body)
	}
	expect("backend")
}

// authorizeOption starts a backend and returns the option that asks it. Only the users ada... get a
// yes.
func authorizeOption(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var question struct {
			Channel string
			User    struct{ ID string }
		}
		if err := json.NewDecoder(r.Body).Decode(&question); err != nil {
			t.Errorf("the question: %v", err)
		}
		answer := `{"allow":false}`
		is := func(prefix string) bool {
			return strings.HasPrefix(question.User.ID, "ada") && strings.HasPrefix(question.Channel, prefix)
		}
		switch {
		case is("asked-all-"), is("asked-once-") && r.URL.Path == "/may-join":
			answer = `{"allow":true}`
		case is("asked-join-"):
			answer = `{"allow":true,"send":false,"see":false}`
		case is("asked-down-"):
			w.WriteHeader(http.StatusInternalServerError)
		}
		io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	return "\nauthorize " + server.URL + "/may-join {\n\tsecret 0123456789abcdef\n}"
}

// The answers that a pod keeps are forgotten on all pods when removeuser is asked of one, also for
// users without assignments.
func TestRemoveuserForgetsAnswers(t *testing.T) {
	var allow atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"allow":%t}`, allow.Load())
	}))
	t.Cleanup(server.Close)
	d := deploy(t, podNames(1, "us-east-1", "eu-west-1"),
		"channels {\n\tgranted team-*\n}\nauthorize "+server.URL+" {\n\tsecret 0123456789abcdef\n\tcache 1h\n}")
	var all []grantClient
	allow.Store(true)
	rejoin := func(c grantClient, want string) {
		t.Helper()
		c.join(t, "team-a", want)
		if want == "yes" {
			c.ask(t, "leave", `{"type":"leave","channel":"team-a"}`, "yes")
		}
	}
	for _, p := range d {
		for _, user := range []string{"ada", "grace"} {
			c := dialGrants(t, p, user, "")
			rejoin(c, "yes")
			all = append(all, c)
		}
	}
	allow.Store(false)
	assigned(t, d[0].site, "removeuser", `[{"id":"ada"}]`)
	for i, c := range all {
		want := "yes" // kept
		if i%2 == 0 {
			want = noJoin
		}
		rejoin(c, want)
	}
}

// The table: pattern, login, source and permission, and what they mean for a join, a join with
// presence, a message and a connection that is there when something changes.
func TestWhoMayJoin(t *testing.T) {
	asked := authorizeOption(t)
	d := deploy(t, podNames(1, "us-east-1", "eu-west-1"), grantRules+asked)
	for row, tt := range grantCases {
		t.Run(tt.name, func(t *testing.T) {
			for i, here := range d {
				t.Run(here.DC, func(t *testing.T) { tt.run(t, fmt.Sprintf("%dx%d", row, i), here, d[1-i]) })
			}
		})
	}
	t.Run("reload", func(t *testing.T) { checkGrantsAfterReload(t, d, asked) })
}

func (tt grantCase) run(t *testing.T, number string, here, there *pod) {
	user, name := tt.user, number
	if user != "" {
		user += number
		name = user
	}
	channel := fmt.Sprintf(tt.channel, name)
	witness := dialGrants(t, there, "witness", `["*"]`)
	if tt.owner {
		witness = dialGrants(t, there, user, "")
	}
	if !strings.HasPrefix(channel, "user-") || tt.owner {
		witness.join(t, channel, "yes")
	}
	if tt.assigned {
		assigned(t, there.site, "adduser", assignment(channel, user))
	}

	c := dialGrants(t, here, user, tt.claim)
	c.watch(t, channel, tt.watch)
	if tt.join == "yes" && tt.watch != "yes" && !tt.assigned {
		c.ask(t, "leave after a refused join", fmt.Sprintf(`{"type":"leave","channel":%q}`, channel), not)
	}
	if f := c.join(t, channel, tt.join); f.Type == "joined" && tt.may != "none" != (f.May != nil) ||
		f.Type == "joined" && f.May != nil && strings.Join(f.May, " ") != tt.may {
		t.Errorf("joined has may %q, want %q", f.May, tt.may)
	}
	c.watch(t, channel, tt.watch)
	if strings.HasPrefix(channel, "user-") && !tt.owner {
		c.ask(t, "send", fmt.Sprintf(`{"type":"send","channels":[%q],"message":{}}`, channel), tt.send)
		return
	}
	c.send(t, channel, tt.send, there, witness)
	if tt.change != "" {
		tt.end(t, c, channel, user, number, there, witness)
	}
}

// end makes the change and checks what becomes of the connection.
func (tt grantCase) end(t *testing.T, c grantClient, channel, user, number string, there *pod, witness grantClient) {
	switch claim, isToken := strings.CutPrefix(tt.change, "token "); {
	case isToken:
		c.Send(t, fmt.Sprintf(`{"type":"authenticate","token":%q}`, signGrants(t, user, claim)))
	case tt.change == "another user":
		c.Send(t, fmt.Sprintf(`{"type":"authenticate","token":%q}`, signGrants(t, "bob"+number, "")))
	default:
		assigned(t, there.site, "removeuser", assignment(channel, user))
	}
	if tt.after != "stays" {
		f := c.next(t, func(f grantFrame) bool { return f.Type == "left" })
		if f.Channel != channel || f.Reason != tt.after {
			t.Errorf("after %s: left %q with reason %q, want %q", tt.change, f.Channel, f.Reason, tt.after)
		}
		c.send(t, channel, not, there, witness)
		return
	}
	if tt.change == "unassign" {
		// The removal is confirmed by the other pod before the endpoint answers.
		c.ask(t, "leave of another channel", `{"type":"leave","channel":"chat-none"}`, not)
	} else {
		c.next(t, func(f grantFrame) bool { return f.Type == "authenticated" })
	}
	then := func(now, before string) string {
		if now == "" {
			return before
		}
		return now
	}
	c.watch(t, channel, then(tt.watchThen, tt.watch))
	c.send(t, channel, then(tt.sendThen, tt.send), there, witness)
}

// checkGrantsAfterReload reloads both pods with rules that take a channel away and open another
// one.
func checkGrantsAfterReload(t *testing.T, d deployment, asked string) {
	type listener struct {
		grantClient
		channel, after string
	}
	var list []listener
	for i, p := range d {
		add := func(user, claim, channel, after string) {
			l := listener{dialGrants(t, p, user, claim), fmt.Sprintf("%s-reload%d", channel, i), after}
			l.join(t, l.channel, "yes")
			list = append(list, l)
		}
		add("grace", "", "chat", "denied") // needs a grant from now on
		add("grace", `["chat-*"]`, "chat", "")
		add("", "", "open", "denied")
		add("grace", `{"team-*":["join"]}`, "team", "")       // needs no grant any more
		add(fmt.Sprintf("reload%d", i), "", "user", "denied") // was its own
		add("ada", "", "asked-all", "")                       // asked again
		add("ada", "", "asked-once", "denied")
		add("ada", "", "asked-join", "denied") // its owner is another user now
	}
	const after = `channels {
		own asked-join-{id}
		granted chat-* open-* user-* asked-*
		authenticated team-*
	}`
	for _, p := range d {
		next := p.setup
		next.options = after + strings.Replace(asked, "/may-join", "/may-join-now", 1) // so that no kept answer is used
		if status, body, err := p.load(next); err != nil || status != http.StatusOK {
			t.Fatalf("reload: %d %s %v", status, body, err)
		}
	}
	for _, l := range list {
		if l.after != "" {
			f := l.next(t, func(f grantFrame) bool { return f.Type == "left" })
			if f.Channel != l.channel || f.Reason != l.after {
				t.Errorf("%s: left %+v, want the reason %s", l.channel, f, l.after)
			}
			continue
		}
		l.ask(t, "send in "+l.channel, fmt.Sprintf(`{"type":"send","channels":[%q],"message":{}}`, l.channel), "yes")
	}
}
