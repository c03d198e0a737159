package presence

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

// podPart is another pod's part of a channel.
type podPart struct {
	pod      string // name of the pod
	clock    uint64 // clock of the last merged delta; 0 before the first
	conns    int32
	userless int32
	users    remoteUsers
}

// isEmpty reports whether the pod has no listener of the channel.
func (p *podPart) isEmpty() bool { return p.users.len() == 0 && p.conns == 0 }

// podParts are the parts of a channel by the name of the pod, sorted: most channels have few.
type podParts []podPart

func (l podParts) index(pod string) (int, bool) {
	return slices.BinarySearchFunc(l, pod, func(p podPart, pod string) int { return strings.Compare(p.pod, pod) })
}

// get returns the part of a pod, until the next call of ensure or remove; nil if there is none.
func (l podParts) get(pod string) *podPart {
	if i, ok := l.index(pod); ok {
		return &l[i]
	}
	return nil
}

// ensure returns the part of a pod like get, and creates it if necessary.
func (l *podParts) ensure(pod string) *podPart {
	i, ok := l.index(pod)
	if !ok {
		if n := len(*l); n == cap(*l) { // append would double the capacity, of every channel
			*l = append(make(podParts, 0, n+1+n/4), *l...)
		}
		*l = slices.Insert(*l, i, podPart{pod: pod})
	}
	return &(*l)[i]
}

func (l *podParts) remove(pod string) {
	if i, ok := l.index(pod); ok {
		*l = slices.Delete(*l, i, i+1)
	}
}

// conns returns the number of connections of all parts.
func (l podParts) conns() (n int) {
	for i := range l {
		n += int(l[i].conns)
	}
	return n
}

// userless returns the number of connections of all parts that count as no user.
func (l podParts) userless() (n int) {
	for i := range l {
		n += int(l[i].userless)
	}
	return n
}

// remoteUser is a user in the part of another pod.
type remoteUser struct {
	datedEmail
	shown *Shown // decision of that pod's Shower; nil if it has none
	extra *extra // as in login
}

// fewRemoteUsers is the largest number of users of a part that has no map: the smallest map takes
// as much memory as eight users.
const fewRemoteUsers = 8

// remoteUsers are the users in a part by ID. The zero value has none.
type remoteUsers struct {
	few  []namedUser           // in no order; nil if there is many
	many map[string]remoteUser // nil unless there are or were more than fewRemoteUsers
}

type namedUser struct {
	id string
	remoteUser
}

func (r *remoteUsers) len() int { return len(r.few) + len(r.many) }

func (r *remoteUsers) index(id string) int {
	for i := range r.few {
		if r.few[i].id == id {
			return i
		}
	}
	return -1
}

func (r *remoteUsers) get(id string) (u remoteUser, ok bool) {
	if r.many != nil {
		u, ok = r.many[id]
		return u, ok
	}
	if i := r.index(id); i >= 0 {
		return r.few[i].remoteUser, true
	}
	return remoteUser{}, false
}

// set adds a user or replaces what is known of it.
func (r *remoteUsers) set(id string, u remoteUser) {
	if r.many == nil {
		switch i := r.index(id); {
		case i >= 0:
			r.few[i].remoteUser = u
			return
		case len(r.few) < fewRemoteUsers:
			r.few = append(r.few, namedUser{id, u})
			return
		}
		r.makeMap(fewRemoteUsers + 1)
	}
	r.many[id] = u
}

func (r *remoteUsers) makeMap(size int) {
	r.many = make(map[string]remoteUser, size)
	for _, named := range r.few {
		r.many[named.id] = named.remoteUser
	}
	r.few = nil
}

// reserve makes room for as many users in all.
func (r *remoteUsers) reserve(n int) {
	switch {
	case r.many != nil || n <= cap(r.few):
	case n > fewRemoteUsers:
		r.makeMap(n)
	default:
		r.few = append(make([]namedUser, 0, n), r.few...)
	}
}

// remove removes a user, and reports whether the part had it.
func (r *remoteUsers) remove(id string) bool {
	if r.many == nil {
		i := r.index(id)
		if i < 0 {
			return false
		}
		last := len(r.few) - 1
		r.few[i], r.few[last] = r.few[last], namedUser{}
		if r.few = r.few[:last]; last == 0 {
			r.few = nil
		}
		return true
	}
	before := len(r.many)
	delete(r.many, id)
	if len(r.many) <= fewRemoteUsers/2 { // a map does not shrink
		for id, u := range r.many {
			r.few = append(r.few, namedUser{id, u})
		}
		r.many = nil
	}
	return len(r.many)+len(r.few) < before
}

// ids returns the IDs of the users in no order. The users must not change meanwhile.
func (r *remoteUsers) ids() iter.Seq[string] {
	if r.many != nil {
		return maps.Keys(r.many)
	}
	return func(yield func(string) bool) {
		for i := range r.few {
			if !yield(r.few[i].id) {
				return
			}
		}
	}
}

// remote returns what is kept of a Member that another pod has, and the ID. here is the user, or
// nil, and before what the pod's part had of it. The texts are copies or those that the host has
// already: a text of a payload keeps other texts of the payload in memory.
func (u *Member) remote(here *user, before remoteUser) (id string, r remoteUser) {
	r = remoteUser{datedEmail{u.Email, u.Seen}, u.Shown, u.extra()}
	id = u.ID
	if here != nil {
		id = here.ID
	}
	switch known := here.anyEmail(); {
	case here == nil && u.Email == "":
		id = strings.Clone(id)
	case here == nil: // both in one piece of memory
		both := id + u.Email
		id, r.email = both[:len(id)], both[len(id):]
	case u.Email == before.email:
		r.email = before.email
	case u.Email == known:
		r.email = known
	default:
		r.email = strings.Clone(u.Email)
	}
	if r.extra != nil {
		r.extra.info, r.extra.status = strings.Clone(r.extra.info), strings.Clone(r.extra.status)
	}
	switch s, old := r.shown, before.shown; {
	case s != nil && old != nil && *s == *old:
		r.shown = old
	case s != nil:
		r.shown = &Shown{strings.Clone(s.ID), strings.Clone(s.Record), strings.Clone(s.Sender), s.Failed, s.Time}
	}
	return id, r
}

// anyEmail returns an e-mail address that the host has of the user; "" if it has none.
func (u *user) anyEmail() string {
	switch {
	case u == nil:
		return ""
	case u.Email != "":
		return u.Email
	}
	if all := u.members.all(); len(all) > 0 && all[0].overlay != nil {
		return all[0].overlay.email
	}
	return ""
}
