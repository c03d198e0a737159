package presence

import (
	"slices"
	"strings"
)

// Permissions is a set of what a connection may do in a channel.
type Permissions uint8

// Permissions. Without MayJoin, the others are worth nothing.
const (
	MayJoin Permissions = 1 << iota // listen
	MaySend                         // send messages
	MaySee                          // watch presence: the list or the number of members

	MayAll = MayJoin | MaySend | MaySee
)

// ParsePermission returns the permission that a token names: "join", "send" or "see". It returns 0
// for any other word.
func ParsePermission(s string) Permissions {
	switch s {
	case "join":
		return MayJoin
	case "send":
		return MaySend
	case "see":
		return MaySee
	}
	return 0
}

// Granter grants permissions in channels that need a grant.
type Granter interface {
	// Granted returns the permissions of a user in the named channel of a host. It is called with
	// the host's lock held, so it must not block or call this package.
	Granted(host HostName, channel string, user User) Permissions
}

// Grants is what a login grants by itself: the claim of its token, and what plugins have added. It
// must not be changed after its first use. A nil *Grants grants nothing.
type Grants struct {
	// Claim is the name of the claim with the patterns. If [Rules].GrantsClaim is another one, the
	// patterns grant nothing.
	Claim    string
	Patterns []Grant
	Plugins  []PluginGrants
}

// PluginGrants is what a plugin grants a login. Once [Rules].GrantPlugins does not have its name,
// the patterns grant nothing, even if later rules have it again.
type PluginGrants struct {
	Plugin   string
	Patterns []Grant
}

// Grant grants permissions in the channels whose names match a pattern, in which '*' matches any
// number of bytes.
type Grant struct {
	Pattern string
	May     Permissions
}

// granted returns the union of the permissions in a channel.
func (g *Grants) granted(rules *Rules, channel string) (may Permissions) {
	if g == nil {
		return 0
	}
	if g.Claim == rules.GrantsClaim {
		may = grantedBy(g.Patterns, channel, may)
	}
	for i := range g.Plugins {
		if p := &g.Plugins[i]; slices.Contains(rules.GrantPlugins, p.Plugin) {
			may = grantedBy(p.Patterns, channel, may)
		}
	}
	return may
}

// dropEnded returns the grants without those of plugins that the rules do not have.
func (g *Grants) dropEnded(rules *Rules) *Grants {
	ended := func(p PluginGrants) bool { return !slices.Contains(rules.GrantPlugins, p.Plugin) }
	if g == nil || !slices.ContainsFunc(g.Plugins, ended) {
		return g
	}
	left := *g
	left.Plugins = slices.DeleteFunc(slices.Clone(g.Plugins), ended)
	return &left
}

// grantedBy returns the permissions and those of patterns in a channel.
func grantedBy(patterns []Grant, channel string, may Permissions) Permissions {
	for i := range patterns {
		p := &patterns[i]
		if may|p.May != may && matchPattern(p.Pattern, channel) {
			may |= p.May
		}
	}
	return may
}

// question is a question about the permissions of a login in a channel.
type question struct {
	rules  *Rules
	host   HostName
	name   string
	class  Class
	user   User    // zero if anonymous; no pointer, which would be allocated for each join
	known  bool    // not anonymous
	grants *Grants // of the login
	asked  Permissions
	proof  bool // see Entry.Proof
}

// permit is the answer to a question: all permissions, and those by an answer of [Rules].Kept,
// which holds until [Conn.SetAsked] or another user replaces it.
type permit struct{ may, asked Permissions }

// answer never blocks. The host's lock is held.
func (q question) answer() permit {
	if !q.class.Grant && !q.class.Quiet {
		return permit{may: MayAll}
	}
	if q.class.IsOwn() {
		if q.known && strings.HasSuffix(q.name, q.user.ID) && len(q.name)-len(q.user.ID) == int(q.class.OwnerAt) {
			return permit{may: MayAll}
		}
		return permit{}
	}
	if q.proof {
		return permit{may: MayAll}
	}
	var v permit
	if !q.class.Grant {
		v.may = MayJoin | MaySee
	}
	if !q.known {
		return v
	}
	v.may |= q.grants.granted(q.rules, q.name)
	if q.class.Grant && v.may != MayAll && q.rules.Grants != nil {
		v.may |= q.rules.Grants.Granted(q.host, q.name, q.user)
	}
	if q.class.Grant && q.rules.Kept != nil {
		v.asked = q.asked
		if (v.may|v.asked)&MayJoin == 0 {
			v.asked = q.rules.Kept.Granted(q.host, q.name, q.user)
		}
		v.may |= v.asked
	}
	if v.may&MayJoin == 0 {
		return permit{}
	}
	return v
}

// mayAsk reports whether an answer of authorize could still give the permission to join.
func (q question) mayAsk() bool {
	return q.rules.Kept != nil && q.class.Grant && !q.class.IsOwn() && q.known
}

// question returns the question about c itself.
func (c *Conn) question(rules *Rules, name string, class Class, asked Permissions) question {
	q := question{rules: rules, host: c.host.name, name: name, class: class, grants: c.grants, asked: asked}
	if c.user != nil {
		q.user, q.known = c.user.known(), true
	}
	return q
}

// question returns the question about the permissions that the membership has.
func (m *membership) question(rules *Rules) question {
	q := m.conn.question(rules, m.channel.name, m.channel.class, m.asked)
	q.proof = m.proof
	return q
}

// checkMay returns the error that refuses a join with the permissions, or nil.
func (q question) checkMay(may Permissions, watch Watch) error {
	switch {
	case may&MayJoin == 0 && q.mayAsk():
		return ErrGrantNeeded
	case may&MayJoin == 0 && q.class.IsOwn():
		return errNotOwner
	case may&MayJoin == 0:
		return errMayNotJoin
	case watch != WatchNone && may&MaySee == 0:
		return errMayNotSee
	}
	return nil
}

// judge asks again for the permissions of a listener, after something that decides them has
// changed. It reports whether the listener may stay. With wait, a listener for which authorize can
// be asked stays as it is, see [Conn.Asked].
func (h *Host) judge(m *membership, q question, wait bool) bool {
	v := q.answer()
	if v.may == 0 && wait && q.mayAsk() {
		m.unsure = true
		return true
	}
	m.unsure = false
	h.setMay(m, v)
	return v.may != 0
}

// setMay changes the permissions of a listener that stays. Without MaySee it no longer watches; the
// caller calls dropOverlay.
func (h *Host) setMay(m *membership, v permit) {
	m.may, m.asked = v.may, v.asked
	if v.may&MayJoin == 0 || v.may&MaySee != 0 || m.watch == WatchNone {
		return
	}
	h.stopWatching(m)
}

// stopWatching ends the presence frames of a listener. An unanswered join is answered without
// members.
func (h *Host) stopWatching(m *membership) {
	m.watch = WatchNone
	if m.joining {
		h.answerEarly(m)
	}
	h.unwatch(m)
}

// judgeAll judges all listeners of a channel by the rules of the host, and removes those that may
// not stay. wait is that of judge; a listener that waits already goes on waiting.
func (h *Host) judgeAll(ch *channel, rules *Rules, wait bool) {
	var out []*membership
	for _, m := range ch.listeners {
		if m.conn.checkClass(ch.class, m.proof) != nil || !h.judge(m, m.question(rules), wait || m.unsure) {
			h.stopWatching(m) // it receives no more presence frames, not even about the others
			out = append(out, m)
		}
	}
	for _, m := range out {
		h.expel(m, ReasonDenied)
	}
	if len(ch.listeners) > 0 {
		h.dropOverlay(ch)
	}
}

// expel removes a listener and tells it why.
func (h *Host) expel(m *membership, reason Reason) {
	h.stopWatching(m)
	h.removeListener(m, false)
	m.conn.pushLeft("", m.channel.name, reason)
}

// HasAsked reports whether the connection listens to a channel and has a grant of the backend for
// it, also if another grant covers that one at present.
func (c *Conn) HasAsked(channel string) bool {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	for _, m := range c.memberships {
		if m.channel.name == channel {
			return m.asked != 0 || m.unsure
		}
	}
	return false
}

// Asked returns the channels whose listeners wait for an answer of authorize after a change of the
// rules, or in which c stays by an answer that authorize gave earlier.
func (c *Conn) Asked() []string {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for _, m := range c.memberships {
		q := c.question(h.rules(), m.channel.name, m.channel.class, 0)
		if !q.mayAsk() {
			continue
		}
		without := *q.rules
		without.Kept, q.rules = nil, &without
		if m.unsure || m.asked != 0 && q.answer().may == 0 {
			names = append(names, m.channel.name)
		}
	}
	return names
}

// SetAsked replaces what authorize has granted to the user of c in a channel: 0 if the answer was
// no, or has expired. If c has no other grant, it is removed and receives a frame with
// [ReasonDenied]. SetAsked returns false if c is no longer logged in as the user, or does not
// listen to the channel.
func (c *Conn) SetAsked(user, name string, may Permissions) bool {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	ch := h.channels[name]
	if c.closed || ch == nil || !c.hasUserID(user) {
		return false
	}
	m := c.membership(ch)
	if m == nil {
		return false
	}
	rules := *h.rules()
	if rules.Kept != nil {
		rules.Kept = answered(may)
	}
	q := m.question(&rules)
	q.asked = may
	if !h.judge(m, q, false) {
		h.expel(m, ReasonDenied)
		return true
	}
	h.dropOverlay(ch)
	return true
}

// answered is a Granter that grants the same in every channel.
type answered Permissions

// Granted implements [Granter].
func (a answered) Granted(HostName, string, User) Permissions { return Permissions(a) }
