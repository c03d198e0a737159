package presence

import (
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// A roster is who is signed in on the host, see [Conn.SignedIn], for watchlists. It is divided by
// user into rosterShards parts, which pods exchange like channels, by names that no channel can
// have: a pod with a watchlist asks for the shards of its users alone.
const (
	rosterPrefix = PrivatePrefix + "online|"
	rosterShards = 64
)

// roster is one shard. The host's lock guards it.
type roster struct {
	name    string
	local   int      // number of users who are signed in on this pod
	changes *changes // changes for other pods; nil without a relay, and before the first sign-in
	relayed bool     // the relay knows that the shard is watched
	waiting map[*watchlist]bool
	syncing bool // the watchlists in waiting wait for Pods.Ready

	parts   map[string]*rosterPart // parts of other pods by name, if the shard is watched
	pods    map[string]int32       // number of other pods that have the user
	watched map[string]*watchedUser
}

// rosterPart is another pod's part of a shard.
type rosterPart struct {
	clock uint64 // clock of the last merged delta; 0 before the first
	users map[string]bool
}

func isRoster(channelName string) bool { return strings.HasPrefix(channelName, rosterPrefix) }

func rosterName(user string) string {
	return rosterPrefix + strconv.FormatUint(xxhash.Sum64String(user)%rosterShards, 16)
}

// roster returns the shard with the name, which it creates if necessary.
func (h *Host) roster(name string) *roster {
	r := h.rosters[name]
	if r == nil {
		if h.rosters == nil {
			h.rosters = make(map[string]*roster)
		}
		r = &roster{name: name, waiting: make(map[*watchlist]bool), watched: make(map[string]*watchedUser)}
		h.rosters[name] = r
	}
	return r
}

// signedIn reports whether the user has connections on this pod that are signed in, besides one.
func (u *user) signedIn(besides *Conn) bool {
	if u == nil {
		return false
	}
	for c := u.first; c != nil; c = c.next {
		if c != besides && c.signedIn() {
			return true
		}
	}
	return false
}

// noteSignIn records that a connection has signed in.
func (h *Host) noteSignIn(c *Conn) {
	if h.watchable && !c.user.signedIn(c) {
		h.noteRoster(c.user.ID, 1, false)
	}
}

// noteSignOut records that a connection, which may have been signed in as the user, is so no
// longer.
func (h *Host) noteSignOut(c *Conn, u *user, lost bool) {
	if h.watchable && !c.identified && !u.signedIn(c) {
		h.noteRoster(u.ID, -1, lost)
	}
}

// noteRoster records that a user has signed in on this pod, or is no longer signed in.
func (h *Host) noteRoster(user string, n int, lost bool) {
	r := h.roster(rosterName(user))
	r.local += n
	h.recordRoster(r, user, lost)
	var news watchNews
	h.updateWatched(&news, r, user, lost)
	h.pushNews(news)
}

func (h *Host) recordRoster(r *roster, user string, lost bool) {
	if h.relay == nil {
		return
	}
	c := r.changes
	if c == nil {
		c = &changes{full: true}
		if last := h.registry.lastChanges.pop(h.name, r.name); last != nil {
			c.users = last.users
		}
		r.changes = c
	}
	switch {
	case c.full && h.users[user].signedIn(nil):
		delete(c.users, user) // the whole part has it
	case len(c.users) >= max(maxChanges, len(h.online)):
		c.full, c.users = true, nil // users recorded before are missing in it, so they count as lost
	default:
		if c.users == nil {
			c.users = make(map[string]bool)
		}
		c.users[user] = lost
	}
	if !c.notified {
		c.notified = true
		h.relay.Changed(h.name, r.name)
	}
}

// restartRosters records everybody who is signed in, for a new relay, or because the rules have
// begun to want it.
func (h *Host) restartRosters() {
	for _, r := range h.rosters {
		r.changes, r.local = nil, 0
		switch {
		case len(r.watched) == 0:
		case h.relay == nil:
			h.forgetRoster(r)
		default:
			h.watchRoster(r)
		}
	}
	if !h.watchable {
		return
	}
	var news watchNews
	for _, u := range h.online {
		if u.signedIn(nil) {
			r := h.roster(rosterName(u.ID))
			r.local++
			h.recordRoster(r, u.ID, false)
			h.updateWatched(&news, r, u.ID, false)
		}
	}
	h.pushNews(news)
}

// updateRosters follows the rules.
func (h *Host) updateRosters(rules *Rules) {
	if rules.Watchlist != h.watchable {
		if h.watchable = rules.Watchlist; h.watchable {
			h.restartRosters()
			var news watchNews
			for _, r := range h.rosters {
				for id := range r.watched {
					h.updateWatched(&news, r, id, false) // users who left while nobody was told
				}
			}
			h.pushNews(news)
		}
	}
}

// localRoster returns the users of a shard who are signed in on this pod.
func (h *Host) localRoster(r *roster) (list []Member) {
	if r.local == 0 { // most often
		return nil
	}
	for _, u := range h.online {
		if u.signedIn(nil) && rosterName(u.ID) == r.name {
			list = append(list, Member{User: User{ID: u.ID}})
		}
	}
	return list
}

// rosterDelta returns what has changed in this pod's part of a shard, see [Pods.Changes].
func (h *Host) rosterDelta(r *roster) (Delta, bool) {
	c := r.changes
	if c == nil || !c.notified {
		return Delta{}, false
	}
	full, users := c.full, c.users
	d := c.next(h.registry.clock.Add(1))
	if full {
		d.Joined = h.localRoster(r)
	}
	for id, lost := range users {
		if h.users[id].signedIn(nil) {
			d.Joined = append(d.Joined, Member{User: User{ID: id}})
		} else {
			d.Left = append(d.Left, Departure{id, lost})
		}
	}
	return d, true
}

// rosterState returns this pod's part of a shard. It returns false if its clock is known, or if
// nothing is known and it is empty, unless always is set.
func (r *Registry) rosterState(host HostName, name string, known uint64, always bool) (d Delta, ok bool) {
	r.withHost(host, func(h *Host) {
		var shard *roster
		if h != nil {
			shard = h.rosters[name]
		}
		has := shard != nil && shard.changes != nil
		if has {
			d.Clock = shard.changes.clock
		} else {
			d.Clock = r.lastChanges.clock(host, name)
		}
		if d.Clock == 0 {
			d.Clock = r.clock.Load()
		}
		if d.Clock == known && !always {
			return
		}
		if has {
			d.Joined = h.localRoster(shard)
		}
		ok = always || known != 0 || len(d.Joined) > 0
	})
	if !ok {
		return Delta{}, false
	}
	return d, true
}

// withRoster calls f with a shard that is watched.
func (r *Registry) withRoster(host HostName, name string, f func(h *Host, shard *roster)) {
	r.withHost(host, func(h *Host) {
		if h == nil {
			return
		}
		if shard := h.rosters[name]; shard != nil && shard.relayed {
			f(h, shard)
		}
	})
}

// mergeRoster merges a delta of another pod, see [Pods.MergeDelta].
func (h *Host) mergeRoster(r *roster, pod string, d Delta) MergeResult {
	p := r.parts[pod]
	if p == nil {
		p = &rosterPart{users: make(map[string]bool)}
	}
	switch {
	case d.Clock <= p.clock:
		return Stale
	case d.Base != 0 && d.Base != p.clock:
		return Gap
	}
	p.clock, r.parts[pod] = d.Clock, p
	left := d.Left
	if d.Base == 0 {
		left = slices.Clip(left)
		listed := make(map[string]bool, len(d.Joined)+len(d.Left))
		for i := range d.Joined {
			listed[d.Joined[i].ID] = true
		}
		for _, gone := range d.Left {
			listed[gone.ID] = true
		}
		for id := range p.users {
			if !listed[id] {
				left = append(left, Departure{ID: id, Lost: true})
			}
		}
	}
	var news watchNews
	for _, gone := range left {
		if p.users[gone.ID] {
			delete(p.users, gone.ID)
			if r.pods[gone.ID]--; r.pods[gone.ID] == 0 {
				delete(r.pods, gone.ID)
			}
		}
		h.updateWatched(&news, r, gone.ID, gone.Lost) // even if it came back to that pod in between, and left
	}
	for i := range d.Joined {
		if id := d.Joined[i].ID; !p.users[id] && rosterName(id) == r.name {
			id = strings.Clone(id) // it can be a part of a payload
			p.users[id] = true
			r.pods[id]++
			h.updateWatched(&news, r, id, false)
		}
	}
	h.pushNews(news)
	return Merged
}

// forgetRosterPart removes the part of a pod, whose users count as lost.
func (h *Host) forgetRosterPart(r *roster, pod string) {
	if p := r.parts[pod]; p != nil {
		p.clock = 0
		h.mergeRoster(r, pod, Delta{Clock: 1})
		delete(r.parts, pod)
	}
}

// forgetRoster removes the parts of all pods.
func (h *Host) forgetRoster(r *roster) {
	gone := r.pods
	r.relayed, r.parts, r.pods = false, nil, nil
	var news watchNews
	for id := range gone {
		h.updateWatched(&news, r, id, false)
	}
	h.pushNews(news)
	h.rosterReady(r)
}
