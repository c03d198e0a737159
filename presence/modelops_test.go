package presence

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// verdicts is a Classifier by table, which may also fail.
type verdicts map[string]verdict

func (vs verdicts) Classify(_ HostName, channel string) (Class, error) {
	return vs[channel].class, vs[channel].err
}

// guestList is an Authorizer by table: errors of joins by channel and user, "" for anonymous.
type guestList map[[2]string]error

func (rs guestList) Authorize(_ HostName, channel string, user *User) error {
	id := ""
	if user != nil {
		id = user.ID
	}
	return rs[[2]string{channel, id}]
}

// model does in the simplest way what the host should do, and has the host itself.
type model struct {
	w        *world
	rng      *rand.Rand
	users    []string
	rules    *Rules
	verdicts verdicts  // classifier of the rules
	refusals guestList // authorizer of the rules, or nil
	clients  []*modelClient
	active   map[string]Class
	emails   map[string]string          // e-mail addresses of users with a connection
	details  map[string]User            // their info and status
	own      map[string]map[string]User // what memberships say of users, by channel and ID
	refs     int
	grace    func() time.Duration                      // returns a random grace period for new rules; if nil, there is none
	beyond   func(channel string, p presence) presence // adds the parts of other pods; if nil, there are none
}

// modelClient is a connection, its state in the model, and its view.
type modelClient struct {
	*client
	*replay
	user     string // "" if anonymous
	joined   map[string]Watch
	assigned map[string]bool      // subset of joined
	as       map[string]*Identity // of channels in joined
	proof    map[string]bool      // subset of joined
}

// who returns the ID as which the client counts in a channel; "" for nobody.
func (c *modelClient) who(channel string) string { return c.whoAs(c.as[channel]) }

func (c *modelClient) whoAs(as *Identity) string {
	if as != nil {
		return as.ID
	}
	return c.user
}

// drop forgets a channel.
func (c *modelClient) drop(channel string) {
	delete(c.joined, channel)
	delete(c.assigned, channel)
	delete(c.as, channel)
	delete(c.proof, channel)
}

var (
	modelChannels = []string{"red", "green", "blue", "crowd"}
	errTrapped    = errors.New("plugin trapped")
)

// newModel returns a host without connections, for that many users and anonymous clients.
func newModel(t *testing.T, seed uint64, users int) *model {
	m := &model{
		rng:     rand.New(rand.NewPCG(seed, 1)),
		users:   make([]string, 1, users+1),
		active:  make(map[string]Class),
		emails:  make(map[string]string),
		details: make(map[string]User),
		own:     make(map[string]map[string]User),
	}
	for i := range users {
		m.users = append(m.users, fmt.Sprintf("user%d", i))
	}
	m.roll()
	m.w = newWorld(t, m.rules)
	return m
}

// roll makes random rules. Users can always join the crowd channel.
func (m *model) roll() {
	m.verdicts = make(verdicts)
	for _, channel := range modelChannels {
		v := verdict{class: Class{Kind: Authenticated}}
		switch m.rng.IntN(10) {
		case 0, 1, 2:
			v.class.Kind = Anonymous
		case 3:
			v.class.CountOnly = true
		case 4:
			v.class.Hidden = true
		case 5:
			v.class.Denied = channel != "crowd"
		case 6:
			if channel != "crowd" {
				v.err = errTrapped
			}
		}
		m.verdicts[channel] = v
	}
	m.rules = &Rules{Classifier: m.verdicts, MaxChannels: 3, MaxNames: []int{0, 0, 1, 2, 4, 100}[m.rng.IntN(6)]}
	if m.grace != nil {
		m.rules.Grace = m.grace()
	}
	m.refusals = nil
	if m.rng.IntN(2) == 0 {
		return
	}
	m.refusals = make(guestList)
	for _, channel := range modelChannels {
		for _, user := range m.users {
			switch m.rng.IntN(6) {
			case 0:
				m.refusals[[2]string{channel, user}] = ErrDenied
			case 1:
				m.refusals[[2]string{channel, user}] = errTrapped
			}
			if channel == "crowd" {
				delete(m.refusals, [2]string{channel, user})
			}
		}
	}
	m.rules.Authorizer = m.refusals
}

// user returns a random user, sometimes with an e-mail address; "" is anonymous.
func (m *model) user() string {
	user := m.users[m.rng.IntN(len(m.users))]
	if user != "" && m.rng.IntN(2) == 0 {
		user += fmt.Sprintf("<%s%d@x>", user, m.rng.IntN(3))
	}
	if user != "" && m.rng.IntN(3) == 0 {
		user += fmt.Sprintf(`[{"i":%d}]`, m.rng.IntN(3))
	}
	return user
}

// acquire counts one more connection of the user, which is already in m.clients.
func (m *model) acquire(user string) string {
	if user == "" {
		return ""
	}
	u := parseUser(user)
	if _, known := m.emails[u.ID]; !known || u.Email != "" {
		m.emails[u.ID] = u.Email
	}
	if u.Info != "" {
		m.details[u.ID] = User{Info: u.Info, Status: m.details[u.ID].Status}
	}
	return u.ID
}

// tidy drops users without a connection and channels without a listener.
func (m *model) tidy() {
	users, channels, owned := make(map[string]bool), make(map[string]bool), make(map[[2]string]bool)
	for _, c := range m.clients {
		users[c.user] = true
		for channel := range c.joined {
			channels[channel] = true
			if as := c.as[channel]; as != nil {
				owned[[2]string{channel, as.ID}] = true
			}
		}
	}
	for channel, own := range m.own {
		maps.DeleteFunc(own, func(id string, _ User) bool { return !owned[[2]string{channel, id}] })
	}
	maps.DeleteFunc(m.emails, func(id, _ string) bool { return !users[id] })
	maps.DeleteFunc(m.details, func(id string, _ User) bool { return !users[id] })
	maps.DeleteFunc(m.active, func(channel string, _ Class) bool { return !channels[channel] })
}

func (m *model) connect() *modelClient { return m.connectAs(m.user()) }

func (m *model) connectAs(user string) *modelClient {
	e := Encoding(m.rng.IntN(4) / 3)
	c := &modelClient{
		client: m.w.connectIn(e, user), replay: newReplay(m.w.tape), joined: make(map[string]Watch), assigned: make(map[string]bool),
		as: make(map[string]*Identity), proof: make(map[string]bool),
	}
	c.foreign = e != 0
	c.user = m.acquire(user)
	m.clients = append(m.clients, c)
	return c
}

func (m *model) close(i int) {
	c := m.clients[i]
	c.Close()
	c.apply(c.in.take())
	m.clients = slices.Delete(m.clients, i, i+1)
	m.tidy()
	m.complain(c)
	if err := c.Join("red", WatchNone, ""); !errors.Is(err, ErrClosed) || len(c.in.take()) > 0 {
		m.w.t.Error("a closed connection joined, or received a frame")
	}
}

// reconnect closes a connection and opens a new one.
func (m *model) reconnect(i int) {
	old := m.clients[i]
	m.close(i)
	c := m.connectAs(old.user)
	for _, channel := range modelChannels {
		if watch, ok := old.joined[channel]; ok {
			m.enter(c, channel, watch, old.as[channel], old.proof[channel])
		}
	}
}

func (m *model) authenticate(c *modelClient) {
	user := m.user()
	if user == "" {
		return
	}
	c.authenticate(user)
	c.user = m.acquire(user)
	m.tidy()
}

// setStatus sets a random status, or ends it.
func (m *model) setStatus(c *modelClient) {
	status, want := "", error(nil)
	if n := m.rng.IntN(4); n > 0 {
		status = fmt.Sprintf(`{"s":%d}`, n)
	}
	if c.user == "" {
		want = ErrLoginRequired
	}
	if err := c.SetStatus(status); !errors.Is(err, want) {
		m.w.t.Fatalf("set a status: %v, want %v", err, want)
	}
	if want == nil {
		m.details[c.user] = User{Info: m.details[c.user].Info, Status: status}
	}
}

// mayJoin returns the expected error of entering a channel.
func (m *model) mayJoin(c *modelClient, channel string, as *Identity, proof bool) error {
	_, there := c.joined[channel]
	if there && c.who(channel) == c.whoAs(as) {
		return nil
	}
	if !there && len(c.joined) >= m.rules.MaxChannels {
		return ErrTooManyChannels
	}
	class, ok := m.active[channel]
	if !ok {
		if m.verdicts[channel].err != nil {
			return ErrUnavailable
		}
		class = m.verdicts[channel].class
	}
	if err := mayListen(c, class, proof); err != nil {
		return err
	}
	switch err := m.refusals[[2]string{channel, c.whoAs(as)}]; {
	case errors.Is(err, errTrapped):
		return ErrUnavailable
	default:
		return err
	}
}

func mayListen(c *modelClient, class Class, proof bool) error {
	switch {
	case class.Denied:
		return ErrDenied
	case class.Kind == Authenticated && c.user == "" && !proof:
		return ErrLoginRequired
	}
	return nil
}

func (m *model) join(c *modelClient, channel string, watch Watch) {
	m.enter(c, channel, watch, nil, false)
}

// enterSigned enters a channel with a proof, as a random user, the own one or nobody.
func (m *model) enterSigned(c *modelClient, channel string, watch Watch) {
	var as *Identity
	if id := m.users[m.rng.IntN(len(m.users))]; id != "" {
		as = &Identity{ID: id, Email: fmt.Sprintf("%s@own%d", id, m.rng.IntN(3)), Info: []string{"", "1", `["x"]`}[m.rng.IntN(3)]}
	}
	m.enter(c, channel, watch, as, true)
}

func (m *model) enter(c *modelClient, channel string, watch Watch, as *Identity, proof bool) {
	m.refs++
	ref := strconv.Itoa(m.refs)
	want := m.mayJoin(c, channel, as, proof)
	if want == nil {
		c.owe(channel, "joined "+ref)
	}
	if err := c.Enter(channel, Entry{Watch: watch, Ref: ref, Member: as, Proof: proof}); !errors.Is(err, want) {
		m.w.t.Fatalf("join %q: %v, want %v", channel, err, want)
	}
	if want != nil {
		return
	}
	if _, ok := m.active[channel]; !ok {
		m.active[channel] = m.verdicts[channel].class
	}
	c.joined[channel] = watch
	c.proof[channel] = c.proof[channel] || proof
	if delete(c.as, channel); as != nil {
		c.as[channel] = as
		m.describe(channel, as)
	}
	m.tidy()
}

// describe takes over what a membership says of its user.
func (m *model) describe(channel string, as *Identity) {
	if m.active[channel].Kind != Authenticated {
		return
	}
	if m.own[channel] == nil {
		m.own[channel] = make(map[string]User)
	}
	m.own[channel][as.ID] = User{ID: as.ID, Email: as.Email, Info: as.Info}
}

// describeAll does it for all memberships, in the order of the host, after a change of the kind.
func (m *model) describeAll(channel string, inOrder []*Conn) {
	delete(m.own, channel)
	for _, conn := range inOrder {
		i := slices.IndexFunc(m.clients, func(c *modelClient) bool { return c.Conn == conn })
		if as := m.clients[i].as[channel]; as != nil {
			m.describe(channel, as)
		}
	}
}

// seen returns what others see of a user in a channel.
func (m *model) seen(channel, id string) User {
	u, ok := m.own[channel][id]
	if !ok {
		return m.known(id)
	}
	u.Status = m.details[id].Status
	return u
}

func (m *model) leave(c *modelClient, channel string) {
	m.refs++
	ref := strconv.Itoa(m.refs)
	var want error
	if _, ok := c.joined[channel]; ok {
		c.owe(channel, "left "+ref)
	} else {
		want = ErrNotJoined
	}
	if err := c.Leave(channel, ref); !errors.Is(err, want) {
		m.w.t.Fatalf("leave %q: %v, want %v", channel, err, want)
	}
	c.drop(channel)
	m.tidy()
}

// send sends a message to some channels, and checks that their listeners receive it and no other
// connection.
func (m *model) send(c *modelClient) {
	m.refs++
	text := strconv.Itoa(m.refs)
	var channels []string
	var want error
	for range 1 + m.rng.IntN(3) {
		channel := modelChannels[m.rng.IntN(len(modelChannels))]
		channels = append(channels, channel)
		if _, ok := c.joined[channel]; !ok {
			want = ErrNotJoined
		}
	}
	send, echo := c.Send, m.rng.IntN(2) == 0
	if !echo {
		send = c.SendToOthers
	}
	if err := send(channels, []byte(text)); !errors.Is(err, want) {
		m.w.t.Fatalf("send to %q: %v, want %v", channels, err, want)
	}
	synctest.Wait()
	for _, to := range m.clients {
		to.apply(to.in.take())
		var due []sent
		for _, channel := range Distinct(channels) {
			if _, ok := to.joined[channel]; ok && want == nil && (echo || to != c) {
				from := c.user
				if len(Distinct(channels)) == 1 {
					from = c.who(channel)
				}
				due = append(due, sent{channel, from, text})
			}
		}
		order := func(a, b sent) int { return strings.Compare(a.channel, b.channel) }
		slices.SortFunc(due, order)
		slices.SortFunc(to.messages, order)
		if !slices.Equal(to.messages, due) {
			m.w.t.Errorf("messages %v, want %v", to.messages, due)
		}
		to.messages = nil
	}
}

// assign assigns the client's user, or another user, which has no effect.
func (m *model) assign(c *modelClient, channel string) {
	if c.user == "" || m.rng.IntN(8) == 0 {
		if err := c.Assign("stranger", channel); err != nil {
			m.w.t.Fatalf("assign another user to %q: %v", channel, err)
		}
		return
	}
	want := m.mayJoin(c, channel, c.as[channel], c.proof[channel])
	class, active := m.active[channel]
	if !active {
		class = m.verdicts[channel].class
	}
	if want == nil && class.Kind != Authenticated {
		want = errNotAuthenticated
	}
	_, there := c.joined[channel]
	if want == nil && !there {
		c.owe(channel, "joined ")
	}
	if err := c.Assign(c.user, channel); !errors.Is(err, want) {
		m.w.t.Fatalf("assign %q: %v, want %v", channel, err, want)
	}
	if want != nil {
		return
	}
	m.active[channel] = class
	c.assigned[channel] = true
	if !there {
		c.joined[channel] = WatchNone
	}
}

func (m *model) unassign(c *modelClient, channel string) {
	want := c.assigned[channel] && !c.proof[channel]
	delete(c.assigned, channel)
	if got := c.Unassign(channel); got != want {
		m.w.t.Fatalf("unassign %q: %v, want %v", channel, got, want)
	}
	if want {
		c.drop(channel)
		m.tidy()
	}
}

func (m *model) reload() {
	m.roll()
	inOrder := make(map[string][]*Conn)
	if h := m.w.reg.Host(m.w.name); h != nil {
		for channel := range m.active {
			inOrder[channel] = h.ChannelConns(channel)
		}
		h.SetRules(m.rules)
	}
	m.w.rules = m.rules
	for channel := range m.active {
		v := m.verdicts[channel]
		if v.err != nil {
			continue
		}
		before := m.active[channel].Kind
		m.active[channel] = v.class
		for _, c := range m.clients {
			if _, there := c.joined[channel]; there && mayListen(c, v.class, c.proof[channel]) != nil {
				c.drop(channel)
			}
		}
		if before != v.class.Kind {
			m.describeAll(channel, inOrder[channel])
		}
	}
	m.tidy()
}
