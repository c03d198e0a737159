package presence

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Shower decides what other connections see of users.
type Shower interface {
	// Show returns what is shown of each user, in order. It is called without a lock, from one
	// goroutine of a host at a time, and may take a while. Its results are kept: they must depend
	// on the user and on the configuration alone.
	Show(host HostName, users []User) []Shown
	// Version identifies what the results depend on besides the user. If another Shower has the
	// same version, results are not asked for again.
	Version() string
}

// Shown is what other connections see of a user, by the decision of a [Shower]. If Record is empty,
// no frame names the user, but it counts.
type Shown struct {
	ID     string // ID of the user for clients; a Shower can change it
	Record string // JSON object for members and presence frames
	Sender string // JSON object for messages of the user
	Failed bool   // this is not a decision: the Shower is asked again later
	Time   int64  // Unix time in milliseconds, if it replaced another one; set by package presence
}

// undecided is Shown before the first decision about a user.
var undecided = new(Shown)

func (s *Shown) equal(t *Shown) bool {
	return s == t || s != nil && t != nil && s.ID == t.ID && s.Record == t.Record && s.Sender == t.Sender
}

// newer reports whether a applies and not b, if two pods have the user. nil stands for a pod
// without a Shower.
func (s *Shown) newer(t *Shown) bool {
	switch {
	case s == nil || t == nil:
		return s != nil
	case s.Time != t.Time:
		return s.Time > t.Time
	}
	return s.Record > t.Record // all pods choose the same one
}

// without returns s without the fields, if it has one: another pod may show them.
func (s *Shown) without(hide Fields) *Shown {
	if s == nil {
		return nil
	}
	is := Shown{ID: s.ID, Record: withoutKeys(s.Record, hide), Sender: withoutKeys(s.Sender, hide), Failed: s.Failed, Time: s.Time}
	if is == *s {
		return s
	}
	return &is
}

// withoutKeys returns a JSON object without the keys of the fields. Nearly always it has none,
// which is cheap to see.
func withoutKeys(object string, hide Fields) string {
	named := func(key string) bool { return ParseField(key)&hide != 0 && strings.Contains(object, `"`+key+`"`) }
	if hide == 0 || !slices.ContainsFunc(fieldKeys[:], named) {
		return object
	}
	var values map[string]json.RawMessage
	if json.Unmarshal([]byte(object), &values) != nil {
		return ""
	}
	before := len(values)
	maps.DeleteFunc(values, func(key string, _ json.RawMessage) bool { return ParseField(key)&hide != 0 })
	if len(values) == before { // the key is one of an inner object
		return object
	}
	rest, _ := json.Marshal(values) // never fails
	return string(rest)
}

// View is a user as frames show it.
type View struct {
	User
	Shown *Shown // if not nil, it is used in place of the user
	// Own says that Info is that of a membership, see [Identity]: frames of its channel show it,
	// whatever fields of users they hide.
	Own bool
}

// Hide returns the fields of the user that frames do not have, if they are to hide these.
func (v *View) Hide(hide Fields) Fields {
	if v.Own {
		hide &^= FieldInfo
	}
	return hide
}

// hidden reports whether no frame names the user.
func (v *View) hidden() bool { return v.Shown != nil && v.Shown.Record == "" }

// id returns the ID of the user for clients.
func (v *View) id() string {
	if v.Shown != nil {
		return v.Shown.ID
	}
	return v.ID
}

// setShown changes what is shown of a user. The caller calls flushMembers.
func (h *Host) setShown(u *user, s *Shown) {
	defer func() { u.restated = false }()
	if u.shown.equal(s) {
		return
	}
	if s != nil {
		s.Time = h.time()
		if u.shown != nil {
			s.Time = max(s.Time, u.shown.Time+1)
		}
	}
	u.shown = s
	h.updateMembers(u, true, u.restated)
}

// lastView returns the user of a member as watchers have seen it.
func (m *member) lastView() View {
	v := m.view()
	v.Shown = m.channel.seen[m]
	return v
}

// keepView remembers what watchers have seen of a member.
func (ch *channel) keepView(m *member, v *View) {
	switch {
	case m.seen == seenUser && v.Shown != nil:
		if ch.seen == nil {
			ch.ensureExtras().seen = make(map[*member]*Shown)
		}
		ch.seen[m] = v.Shown
	case ch.seen != nil:
		delete(ch.seen, m)
	}
}
