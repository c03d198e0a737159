package pusher

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/events"
	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
)

// slowDown answers a frame over the limit of frames_per_second.
const slowDown = "too many frames: slow down"

// Message implements [gateway.Protocol].
func (c *conn) Message(s *gateway.Session, text bool, p []byte, allowed bool) {
	c.message(s, text, p, allowed)
}

func (c *conn) message(s session, text bool, p []byte, allowed bool) {
	if !text {
		s.Answer(errorFrame(noCode, "send JSON in text frames"))
		return
	}
	cmd, err := parse(p)
	if err != nil {
		code := noCode
		if cmd.event == eventSignIn {
			code = codeRefused
		}
		s.Answer(errorFrame(code, err.Error()))
		return
	}
	a := c.appOf(s.Site())
	if a == nil {
		return // a reload is closing the connection
	}
	of := s.Site().Pusher
	switch {
	case cmd.event == eventPing:
		s.Answer(pong) // whatever its rate: a client without an answer comes back as another connection
	case cmd.event == eventUnsubscribe:
		c.unsubscribe(s, cmd.channel)
	case cmd.event == eventSubscribe && !allowed:
		c.refuse(s, cmd.channel, refusal{typeLimit, codeLimit, slowDown})
	case cmd.event == eventSubscribe:
		c.subscribe(s, of, a, cmd)
	case cmd.event == eventSignIn && !allowed:
		s.Answer(errorFrame(codeRefused, slowDown))
	case cmd.event == eventSignIn:
		c.signIn(s, of, a, cmd)
	case strings.HasPrefix(cmd.event, clientPrefix) && !allowed:
		s.Answer(errorFrame(codeTooFast, slowDown))
	case strings.HasPrefix(cmd.event, clientPrefix):
		if r := c.trigger(s, of, cmd); r != nil {
			s.Answer(errorFrame(r.status, r.text))
		}
	}
}

var pong = frame(eventPong, "", noData)

// subscribe enters a channel. Package presence sends the answer if it is allowed.
func (c *conn) subscribe(s session, of *app.Config, a *app.App, cmd command) {
	traits, err := app.ParseChannel(cmd.channel)
	if err != nil {
		c.refuse(s, cmd.channel, refusal{typeChannel, codeRefused, err.Error()})
		return
	}
	if traits.Has(app.ToUser) {
		c.subscribeToUser(s, cmd.channel)
		return
	}
	var e presence.Entry
	if traits.Has(app.Signed) {
		if err := of.VerifySocket(a, c.socket, cmd.channel, cmd.channelData, cmd.auth); err != nil {
			c.refuse(s, cmd.channel, refusal{typeAuth, 401, err.Error()})
			return
		}
		e.Proof = true
	}
	if traits.Has(app.Presence) {
		var r *refusal
		if e.Member, r = c.identity(s, of, cmd.channelData); r != nil {
			c.refuse(s, cmd.channel, *r)
			return
		}
		e.Watch, e.MaxMembers = presence.WatchList, of.PresenceMembers
		st := c.remember()
		st.before = st.memberID(cmd.channel)
		st.setMember(cmd.channel, e.Member.ID)
	}
	s.Enter(cmd.channel, e)
}

// subscribeToUser answers the subscription to the channel of one user. Its messages arrive by the
// sign-in.
func (c *conn) subscribeToUser(s session, channel string) {
	user, _ := s.Conn().User()
	if !s.Conn().SignedIn() || channel != app.UserPrefix+user.ID {
		c.refuse(s, channel, refusal{typeAuth, 401, "only a connection that is signed in as the user can subscribe to this channel"})
		return
	}
	s.Answer(frame(eventSubscribed, channel, noData))
}

// unsubscribe leaves a channel, without an answer.
func (c *conn) unsubscribe(s session, channel string) {
	if _, err := app.ParseChannel(channel); err != nil {
		return // it is not subscribed to
	}
	if c.state != nil {
		c.state.setMember(channel, "")
	}
	s.Leave(channel, "")
}

// setMember remembers as whom the connection subscribes to a presence channel; id is "" if it no
// longer does.
func (st *state) setMember(channel, id string) {
	i := slices.IndexFunc(st.members, func(m member) bool { return m.channel == channel })
	switch {
	case i >= 0 && id == "":
		st.members = slices.Delete(st.members, i, i+1)
	case i >= 0:
		st.members[i].id = id
	case id != "":
		st.members = append(st.members, member{channel, id})
	}
}

// memberID returns as whom the connection subscribes to a channel; "" if it is no presence channel.
func (st *state) memberID(channel string) string {
	if i := slices.IndexFunc(st.members, func(m member) bool { return m.channel == channel }); i >= 0 {
		return st.members[i].id
	}
	return ""
}

// identity returns as whom the connection enters a presence channel. The first one becomes the user
// of a connection that has none.
func (c *conn) identity(s session, of *app.Config, channelData string) (*presence.Identity, *refusal) {
	if channelData == "" {
		return c.signedInIdentity(s)
	}
	user, err := of.ParseMember(channelData)
	if err != nil {
		return nil, &refusal{typeAuth, 401, err.Error()}
	}
	if _, known := s.Conn().User(); !known {
		who, err := c.admit(s, user)
		if err == nil {
			err = s.Identify(who)
		}
		if err != nil {
			return nil, loginRefusal(s, err)
		}
	}
	as := &presence.Identity{ID: user.ID, Email: user.Email, Info: user.Info}
	if said := c.remember().admitted; said != nil && said.id == user.ID {
		as.Info = said.info
	}
	return as, nil
}

// signedInIdentity returns the user that the connection is signed in as.
func (c *conn) signedInIdentity(s session) (*presence.Identity, *refusal) {
	user, _ := s.Conn().User()
	if !s.Conn().SignedIn() {
		return nil, &refusal{typeAuth, 401, "channel_data is missing, and the connection is not signed in"}
	}
	as := &presence.Identity{ID: user.ID, Email: user.Email, Info: user.Info}
	switch st := c.remember(); {
	case st.admitted != nil && st.admitted.id == user.ID:
		as.Info = st.admitted.info
	case st.signedIn != nil && st.signedIn.ID == user.ID:
		as.Info = st.signedIn.Info
	}
	return as, nil
}

// admit asks the plugins about a user, and remembers what they say.
func (c *conn) admit(s session, u app.User) (site.Login, error) {
	user := presence.User{ID: u.ID, Email: u.Email}
	if info, err := presence.CompactInfo([]byte(u.Info)); u.Info != "" && err == nil {
		user.Info = info // the info of a user is an object, that of a member any value
	}
	who, err := s.Admit(user)
	if err != nil {
		return who, err
	}
	c.remember().admitted = nil
	if who.User.Info != user.Info {
		c.state.admitted = &admitted{u.ID, who.User.Info}
	}
	return who, nil
}

// loginRefusal returns the refusal of a subscription whose user is refused.
func loginRefusal(s session, err error) *refusal {
	if errors.Is(err, site.ErrLoginRefused) {
		return &refusal{typeAuth, 403, "refused by a plugin"}
	}
	r, _ := refusalOf(s.Explain(err))
	return &r
}

// signIn makes the user of a signature the user of the connection.
func (c *conn) signIn(s session, of *app.Config, a *app.App, cmd command) {
	if err := c.trySignIn(s, of, a, cmd); err != nil {
		s.Answer(errorFrame(codeRefused, err.Error()))
		return
	}
	s.Answer(signInSuccess(cmd.userData))
	if of.Watchlist {
		c.watch(s)
	}
}

func (c *conn) trySignIn(s session, of *app.Config, a *app.App, cmd command) error {
	if cmd.userData == "" {
		return errors.New("user_data is missing")
	}
	if err := of.VerifySignIn(a, c.socket, cmd.userData, cmd.auth); err != nil {
		return err
	}
	user, err := of.ParseUser(cmd.userData)
	if err != nil {
		return err
	}
	now, _ := s.Conn().User()
	switch signedIn := s.Conn().SignedIn(); {
	case signedIn && now.ID != user.ID:
		return errors.New("the connection is signed in as another user")
	case signedIn:
		c.remember().signedIn = &user
		return nil
	}
	who, err := c.admit(s, user)
	if err == nil {
		err = s.SignIn(who)
	}
	switch {
	case errors.Is(err, site.ErrLoginRefused):
		return errors.New("refused by a plugin")
	case err != nil:
		_, text := s.Explain(err)
		return errors.New(text)
	}
	c.remember().signedIn = &user
	return nil
}

func signInSuccess(userData string) []byte {
	b := appendQuoted([]byte(`{"user_data":`), userData)
	return frame("pusher:signin_success", "", string(append(b, '}')))
}

// watch watches the users of the watchlist.
func (c *conn) watch(s session) {
	list := c.state.signedIn.Watchlist
	c.state.signedIn.Watchlist = nil // presence has it
	if len(list) > app.MaxWatched {
		list = list[:app.MaxWatched]
		s.Answer(errorFrame(codeWatchlist, fmt.Sprintf("the watchlist has more than %d users: the first %d are watched", app.MaxWatched, app.MaxWatched)))
	}
	_ = s.Conn().WatchUsers(list) // a connection that has closed is told nothing
}

// trigger delivers a client event to the other subscribers of its channel. It returns why it does
// not.
func (c *conn) trigger(s session, of *app.Config, cmd command) *refusal {
	refused := func(format string, args ...any) *refusal {
		return &refusal{status: noCode, text: fmt.Sprintf(format, args...)}
	}
	traits, err := app.ParseChannel(cmd.channel)
	switch {
	case !of.ClientEvents:
		return refused("client events are not enabled on this site")
	case err != nil:
		return refused("%s", err)
	case !traits.ClientEvents():
		return refused("clients can trigger events in private channels that are not encrypted and in presence channels only")
	case len(cmd.event) > app.MaxEvent:
		return refused("the name of an event has at most %d bytes", app.MaxEvent)
	case len(cmd.data) > of.EventSize:
		return refused("the data of an event has at most %d bytes", of.EventSize)
	case !c.remember().rate.take(of.ClientEventsPerSecond, time.Now()):
		return &refusal{status: codeTooFast, text: fmt.Sprintf("more than %g client events in a second", of.ClientEventsPerSecond)}
	}
	message, raw := body(cmd.event, cmd.data)
	if err := s.Publish(gateway.Publishing{Channels: []string{cmd.channel}, Message: message, ToOthers: true, Raw: raw}); err != nil {
		_, text := s.Explain(err)
		return refused("%s", text)
	}
	s.ToldClientEvent(events.ClientEvent{
		Channel: cmd.channel, Event: cmd.event, Data: cmd.data, SocketID: c.socket.String(), UserID: c.state.memberID(cmd.channel),
	})
	return nil
}
