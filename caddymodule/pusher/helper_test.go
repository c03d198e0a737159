package pusher

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"unique"

	"github.com/rollcall-gateway/rollcall/caddymodule/events"
	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
)

// payloads returns the payloads of unmasked text frames that are joined in one slice.
func payloads(t testing.TB, frames []byte) []string {
	t.Helper()
	var list []string
	for len(frames) > 0 {
		if len(frames) < 2 || frames[0] != 0x81 {
			t.Fatalf("no text frame: %q", frames)
		}
		size, head := int(frames[1]), 2
		switch size {
		case 126:
			size, head = int(frames[2])<<8|int(frames[3]), 4
		case 127:
			size, head = 0, 10
			for _, c := range frames[2:10] {
				size = size<<8 | int(c)
			}
		}
		list, frames = append(list, string(frames[head:head+size])), frames[head+size:]
	}
	return list
}

// event is one frame for a client, with the text of data.
type event struct {
	Event, Channel, Data, UserID string
}

// decode decodes a frame, and checks that its data is there, and that it is a string but in
// pusher:error.
func decode(t testing.TB, payload string) event {
	t.Helper()
	var f struct {
		Event   string          `json:"event"`
		Channel string          `json:"channel"`
		Data    json.RawMessage `json:"data"`
		UserID  string          `json:"user_id"`
	}
	d := json.NewDecoder(strings.NewReader(payload))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		t.Fatalf("%s: %v", payload, err)
	}
	e := event{f.Event, f.Channel, string(f.Data), f.UserID}
	switch {
	case f.Event == eventError && e.Data[0] == '{':
	case f.Event == eventError || json.Unmarshal(f.Data, &e.Data) != nil:
		t.Fatalf("the data of %s has the wrong type", payload)
	}
	return e
}

// hostRules are the rules of a test's host.
type hostRules struct{ rules *presence.Rules }

func (r hostRules) Rules() *presence.Rules { return r.rules }

// room is a host of a site with an app, for connections without sockets.
type room struct {
	t     testing.TB
	reg   *presence.Registry
	site  *site.Site
	rules *presence.Rules
	app   *app.App
}

func newRoom(t testing.TB) *room {
	c := app.Defaults()
	c.ClientEvents = true
	c.Apps = []app.App{
		{ID: "101", Keys: []app.Key{{Key: "key", Secret: []byte("secret-of-the-app-101")}}},
		{ID: "102", Keys: []app.Key{{Key: "other", Secret: []byte("secret-of-the-app-102")}}},
	}
	p := presence.Patterns{Default: presence.Anonymous, Signed: true}
	return &room{
		t: t, reg: presence.NewRegistry(wire.Encoder{}, Encoder{}), site: &site.Site{Pusher: &c},
		rules: &presence.Rules{
			Classifier: p, Signed: true, Hide: presence.FieldEmail | presence.FieldInfo | presence.FieldStatus, // as of a site that says nothing
		}, app: &c.Apps[0],
	}
}

// peer is one client: its connection, and the session that the gateway would make for it.
type peer struct {
	*conn
	*outbox
	room    *room
	refused error // of Admit
	info    string
	on      *presence.Conn
	told    []events.ClientEvent
}

// outbox collects frames.
type outbox struct {
	t      testing.TB
	mu     sync.Mutex
	events []event
}

func (o *outbox) Encoding() presence.Encoding { return Encoding }
func (o *outbox) Push(frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, payload := range payloads(o.t, frame) {
		o.events = append(o.events, decode(o.t, payload))
	}
}

func (o *outbox) Queue(frames []byte, _ int) bool {
	o.Push(frames)
	return false
}
func (*outbox) Flush() {}

// next waits for the next frame and returns it.
func (o *outbox) next() event {
	o.t.Helper()
	var e event
	testkit.Eventually(o.t, "a frame", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		if len(o.events) == 0 {
			return false
		}
		e, o.events = o.events[0], o.events[1:]
		return true
	})
	return e
}

func (o *outbox) want(event, channel, data string) {
	o.t.Helper()
	if got := o.next(); got.Event != event || got.Channel != channel || got.Data != data || got.UserID != "" {
		o.t.Errorf("got %+v\nwant %s in %q with %s", got, event, channel, data)
	}
}

// silent checks that nothing has come, by an answer that must be the next frame.
func (p *peer) silent() {
	p.t.Helper()
	p.send(`{"event":"pusher:ping"}`)
	p.want("pusher:pong", "", "{}")
}

// join connects a peer, as the user if it is not "".
func (r *room) join(user string) *peer {
	r.t.Helper()
	p := &peer{
		conn: &conn{owner: unique.Make(owner{app: r.app.ID}), socket: app.NewSocketID(), client: newClient("js", 7)}, outbox: &outbox{t: r.t}, room: r,
	}
	var as *presence.User
	if user != "" {
		as = &presence.User{ID: user}
	}
	host, err := presence.ParseHostName("pusher.example.com")
	if err != nil {
		r.t.Fatal(err)
	}
	if p.on, err = r.reg.ConnectAs(p.NewID(), host, hostRules{r.rules}, as, p.outbox); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { p.on.Close() })
	return p
}

var _ session = (*peer)(nil)

func (p *peer) Conn() *presence.Conn { return p.on }
func (p *peer) Site() *site.Site     { return p.room.site }
func (p *peer) Answer(frame []byte)  { p.Push(frame) }
func (p *peer) Enter(channel string, e presence.Entry) {
	p.joined(p, channel, p.on.Enter(channel, e))
}

func (p *peer) Leave(channel, ref string) { _ = p.on.Leave(channel, ref) }

func (p *peer) Publish(m gateway.Publishing) error {
	s, err := p.on.Prepare(m.Channels, m.Channels, m.Message)
	if err != nil {
		return err
	}
	if m.Raw {
		s = s.AsRaw()
	}
	if m.ToOthers {
		s = s.ToOthers()
	}
	return s.Commit()
}

func (p *peer) Admit(user presence.User) (site.Login, error) {
	if p.info != "" {
		user.Info = p.info
	}
	return site.Login{User: &user}, p.refused
}

func (p *peer) ToldClientEvent(e events.ClientEvent) { p.told = append(p.told, e) }

func (p *peer) SignIn(who site.Login) error   { return p.on.Authenticate(*who.User, who.Grants) }
func (p *peer) Identify(who site.Login) error { return p.on.Identify(*who.User, who.Grants) }

func (p *peer) Explain(err error) (wire.Code, string) {
	for of, code := range map[error]wire.Code{
		presence.ErrBadChannel: wire.CodeBadChannel, presence.ErrLoginRequired: wire.CodeLoginRequired, presence.ErrDenied: wire.CodeDenied,
		presence.ErrTooManyChannels: wire.CodeTooManyChannels, presence.ErrTooManyMembers: wire.CodeTooManyChannels, presence.ErrNotJoined: wire.CodeNotJoined,
	} {
		if errors.Is(err, of) {
			return code, err.Error()
		}
	}
	return wire.CodeUnavailable, "try again later"
}

// send sends a frame as the client.
func (p *peer) send(format string, args ...any) {
	p.message(p, true, fmt.Appendf(nil, format, args...), true)
}

// auth signs a text that follows the socket_id.
func (p *peer) auth(text string) string {
	key := p.room.app.Keys[0]
	return key.Key + ":" + key.Sign([]byte(p.socket.String()+text))
}

// subscribe subscribes to a channel with a signature that is right.
func (p *peer) subscribe(channel, channelData string) {
	text := ":" + channel
	if channelData != "" {
		text += ":" + channelData
	}
	data, _ := json.Marshal(map[string]string{"channel": channel, "auth": p.auth(text), "channel_data": channelData})
	p.send(`{"event":"pusher:subscribe","data":%s}`, data)
}

// signIn signs in with a signature that is right.
func (p *peer) signInAs(userData string) {
	data, _ := json.Marshal(map[string]string{"auth": p.auth("::user::" + userData), "user_data": userData})
	p.send(`{"event":"pusher:signin","data":%s}`, data)
}

const succeeded = "pusher_internal:subscription_succeeded"

// enter subscribes to a channel, and drops the answer.
func (p *peer) enter(channel, channelData string) *peer {
	p.t.Helper()
	p.subscribe(channel, channelData)
	if e := p.next(); e.Event != succeeded || e.Channel != channel {
		p.t.Fatalf("the subscription to %s is answered with %+v", channel, e)
	}
	return p
}
