package presence

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// presence is what watchers see of a channel.
type presence struct {
	users map[string]string // knownText by user; nil if the channel lists no users
	count int
}

func (m *model) presence(channel string) presence {
	class, users, conns, userless := m.active[channel], make(map[string]string), 0, 0
	for _, c := range m.clients {
		if _, ok := c.joined[channel]; ok {
			conns++
			if id := c.who(channel); id != "" {
				users[id] = knownText(m.seen(channel, id))
			} else {
				userless++
			}
		}
	}
	switch {
	case class.Kind == Anonymous:
		return presence{nil, conns}
	case class.CountOnly:
		return presence{nil, len(users) + userless}
	}
	return presence{users, len(users)}
}

// check compares host, model and views after everything was flushed.
func (m *model) check() {
	t := m.w.t
	seen := make(map[string]presence)
	for channel := range m.active {
		seen[channel] = m.presence(channel)
		if m.beyond != nil {
			seen[channel] = m.beyond(channel, seen[channel])
		}
	}
	for _, c := range m.clients {
		c.apply(c.in.take())
		m.complain(c)
		if len(c.owed) > 0 {
			t.Errorf("answers %q did not come", c.owed)
		}
		for channel, watch := range c.joined {
			v, want := c.views[channel], seen[channel]
			if v != nil && watch != WatchNone && v.kind != m.active[channel].Kind {
				t.Errorf("%s: a client has the kind %v, want %v", channel, v.kind, m.active[channel].Kind)
			}
			if v == nil || v.watch != watch || !v.shows(want) {
				t.Errorf("%s: a client with watch %d has %+v, want %+v", channel, watch, v, want)
			}
		}
		if len(c.views) != len(c.joined) {
			t.Errorf("a client has views of %v, but listens to %v", c.views, c.joined)
		}
		if t.Failed() {
			return // the others are much the same
		}
	}
	m.checkNames(seen)
	m.checkListings()
	m.checkEncoded()
	m.checkNothingIsKept()
}

// checkNames checks that channels have names by the number of their members, and that watchers
// know.
func (m *model) checkNames(seen map[string]presence) {
	t, h := m.w.t, m.w.reg.Host(m.w.name)
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for channel, class := range m.active {
		if ch := h.channels[channel]; len(ch.watchers) == 0 { // what other pods have is not known
			continue
		}
		nameless, count, limit := h.channels[channel].nameless, seen[channel].count, m.rules.MaxNames
		if class.Kind == Authenticated && !class.CountOnly {
			if limit > 0 && count > limit && !nameless || (limit == 0 || 2*count < limit) && nameless {
				t.Errorf("%s: with %d members and a limit of %d, nameless is %v", channel, count, limit, nameless)
			}
		}
		for _, c := range m.clients {
			if v := c.views[channel]; v != nil && v.watch != WatchNone && v.unnamed != nameless {
				t.Errorf("%s: a client believes that names are hidden: %v, want %v", channel, v.unnamed, nameless)
			}
		}
	}
}

// checkNothingIsKept finds state that should have been dropped.
func (m *model) checkNothingIsKept() {
	t, h := m.w.t, m.w.reg.Host(m.w.name)
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.byID) != len(h.conns) {
		t.Errorf("%d IDs with %d there", len(h.byID), len(h.conns))
	}
	members := 0
	for name, ch := range h.channels {
		if len(ch.members) != int(ch.visible) {
			t.Errorf("%s: %d members, %d there", name, len(ch.members), ch.visible)
		}
		if b := ch.overlay; b != nil && (b.losses != nil || b.syncing) {
			t.Errorf("%s: %+v is left", name, b)
		}
		if ch.overlay != nil && len(ch.watchers) == 0 {
			t.Errorf("%s: %+v is kept without a watcher", name, ch.overlay)
		}
		if len(ch.dirty)+len(ch.joiners) > 0 || ch.timer != nil {
			t.Errorf("%s: %d changes, %d joiners and timer %v are left", name, len(ch.dirty), len(ch.joiners), ch.timer)
		}
		for _, mem := range ch.members {
			if mem.user.in(ch) != mem {
				t.Errorf("%s: %s has another member", name, mem.user.ID)
			}
			if mem.overlay != nil && mem.overlay.pods == 0 {
				t.Errorf("%s: %+v of %s is left", name, mem.overlay, mem.user.ID)
			}
		}
		members += len(ch.members)
	}
	for id, u := range h.users {
		if members -= len(u.members.all()); u.conns == 0 && u.members.isEmpty() {
			t.Errorf("%s has no connection", id)
		}
	}
	if !reflect.ValueOf(*noExtras).IsZero() {
		t.Errorf("channels without extras share %+v", noExtras)
	}
	if *elsewhere != (login{}) {
		t.Errorf("users without a login share %+v", elsewhere)
	}
	if members != 0 {
		t.Errorf("channels have %d more members than users know of", members)
	}
}

func (m *model) checkListings() {
	t, h := m.w.t, m.w.reg.Host(m.w.name)
	if (h == nil) != (len(m.clients) == 0) {
		t.Fatalf("host %v with %d connections", h, len(m.clients))
	}
	if h == nil {
		return
	}
	var deduped, raw, users, rawUsers []string
	anonymous := 0
	for _, c := range m.clients {
		text := "1"
		if c.user == "" {
			anonymous++
		} else {
			text = fmt.Sprint(m.texts(c.user))
			rawUsers = append(rawUsers, m.texts(c.user)...)
		}
		line := c.ID().PrivateChannel() + " " + text
		deduped, raw = append(deduped, line), append(raw, line)
	}
	for channel, class := range m.active {
		if class.Hidden {
			continue
		}
		var all []string
		for _, c := range m.clients {
			if _, ok := c.joined[channel]; ok {
				all = append(all, c.who(channel))
			}
		}
		if p := m.presence(channel); p.users != nil {
			deduped = append(deduped, fmt.Sprintf("%s %s", channel, m.textsIn(channel, slices.Collect(maps.Keys(p.users)))))
			raw = append(raw, fmt.Sprintf("%s %s", channel, m.textsIn(channel, all)))
		} else {
			deduped = append(deduped, fmt.Sprintf("%s %d", channel, p.count))
			raw = append(raw, fmt.Sprintf("%s %d", channel, len(all)))
		}
	}
	users = m.texts(slices.Collect(maps.Keys(m.emails))...)

	var names []Listing
	for _, l := range h.Channels(PerUser) {
		if l.Kind != Private {
			names = append(names, Listing{Channel: l.Channel, Kind: l.Kind, CountOnly: l.CountOnly})
		}
	}
	equalLines(t, "names", namesTexts(h.ActiveChannels()), namesTexts(names))
	m.same("channels", listingTexts(h.Channels(PerUser)), deduped)
	m.same("raw channels", listingTexts(h.Channels(PerConnection)), raw)
	gotUsers, stats := h.Users(PerUser)
	m.same("users", userTexts(gotUsers), users)
	gotUsers, _ = h.Users(PerConnection)
	m.same("raw users", userTexts(gotUsers), rawUsers)
	m.checkDetails(h)
	want := Stats{len(m.clients), anonymous, len(m.clients) - anonymous, len(m.emails), len(m.active), 0}
	if stats != want {
		t.Errorf("stats %+v, want %+v", stats, want)
	}
}

// checkDetails checks what listings have of users besides the e-mail addresses. What several pods
// know is in no model of one.
func (m *model) checkDetails(h *Host) {
	if m.beyond != nil {
		return
	}
	var want []User
	for id := range m.emails {
		want = append(want, m.known(id))
	}
	users, _ := h.Users(PerUser | WithInfo)
	m.same("known users", userTexts(users), userTexts(want))
	members, _ := m.w.reg.Pods().Members(h.Name(), PerConnection|WithInfo)
	m.same("merged users", userTexts(MergeMembers(PerUser|WithInfo, members)), userTexts(want))
	for _, l := range MergeListings(PerUser|WithInfo, m.w.reg.Pods().Listings(h.Name(), PerUser|WithInfo)) {
		for _, u := range l.Users {
			if u != m.seen(l.Channel, u.ID) {
				m.w.t.Errorf("%s has %+v, want %+v", l.Channel, u, m.seen(l.Channel, u.ID))
			}
		}
	}
}

// known returns what the model knows of a user with a connection.
func (m *model) known(id string) User {
	d := m.details[id]
	return User{ID: id, Email: m.emails[id], Info: d.Info, Status: d.Status}
}

// texts formats users, by ID, with their e-mail addresses.
func (m *model) texts(ids ...string) []string {
	users := make([]User, len(ids))
	for i, id := range ids {
		users[i] = User{ID: id, Email: m.emails[id]}
	}
	return userTexts(users)
}

// textsIn is texts for the users of a channel; "" is nobody.
func (m *model) textsIn(channel string, ids []string) []string {
	var users []User
	for _, id := range ids {
		if id != "" {
			users = append(users, User{ID: id, Email: m.seen(channel, id).Email})
		}
	}
	return userTexts(users)
}

func listingTexts(list []Listing) []string {
	lines := make([]string, len(list))
	for i, l := range list {
		lines[i] = listingText(l)
	}
	return lines
}

// namesTexts keeps the order.
func namesTexts(list []Listing) []string {
	lines := make([]string, len(list))
	for i, l := range list {
		lines[i] = fmt.Sprintf("%+v", l)
	}
	return lines
}

func (m *model) same(what string, got, want []string) {
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		m.w.t.Errorf("%s:\n  got  %s\n  want %s", what, strings.Join(got, ", "), strings.Join(want, ", "))
	}
}

func (m *model) complain(c *modelClient) {
	for _, err := range c.errs {
		m.w.t.Error(err)
	}
	c.errs = nil
}
