package presence

import (
	"slices"
	"strings"
	"time"
)

// MaxWatchlist is the maximum number of users in the watchlist of a connection.
const MaxWatchlist = 100

// WatchlistEncoder is a [FrameEncoder] of connections that can watch users, see [Conn.WatchUsers].
type WatchlistEncoder interface {
	// Watchlist builds the frame for users who have come online and users who have gone.
	Watchlist(online, offline []string) []byte
}

// watchlist is the users whom a connection watches.
type watchlist struct {
	conn    *Conn
	users   []string
	waiting int // number of shards that wait for other pods; the first frame is sent at 0
}

// watchedUser is a user in a watchlist of this pod.
type watchedUser struct {
	online  bool // as watchlists have been told
	lists   map[*watchlist]struct{}
	leaving *time.Timer // end of the grace period; nil if there is none
}

// WatchUsers makes c watch users instead of those before: at most the first [MaxWatchlist]. A user
// is online with a connection that is signed in, on any pod, and in the grace period of the [Rules]
// after it was lost. c receives a frame with all users as soon as other pods have answered, and one
// for each change.
//
// It returns ErrClosed. If the rules have no watchlists, it does nothing.
func (c *Conn) WatchUsers(users []string) error {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	h.unwatchUsers(c)
	if len(users) == 0 || !h.rules().Watchlist {
		return nil
	}
	list := &watchlist{conn: c}
	for _, id := range users[:min(len(users), MaxWatchlist)] {
		if !slices.Contains(list.users, id) && CheckUserID(id) == nil {
			list.users = append(list.users, id)
		}
	}
	if h.watchlists == nil {
		h.watchlists = make(map[*Conn]*watchlist)
	}
	h.watchlists[c] = list
	for _, id := range list.users {
		h.watchUser(list, id)
	}
	if list.waiting == 0 {
		h.pushWatchlist(list)
	}
	return nil
}

func (h *Host) watchUser(list *watchlist, id string) {
	r := h.roster(rosterName(id))
	if h.relay != nil && !r.relayed {
		h.watchRoster(r)
	}
	if r.syncing && !r.waiting[list] {
		r.waiting[list] = true
		list.waiting++
	}
	w := r.watched[id]
	if w == nil {
		w = &watchedUser{online: h.isOnline(r, id), lists: make(map[*watchlist]struct{})}
		r.watched[id] = w
	}
	w.lists[list] = struct{}{}
}

// watchRoster notifies the relay that a shard is watched.
func (h *Host) watchRoster(r *roster) {
	if !r.relayed {
		r.relayed, r.syncing = true, true
		r.parts, r.pods = make(map[string]*rosterPart), make(map[string]int32)
	}
	h.relay.Watched(h.name, r.name)
}

// unwatchUsers drops the watchlist of a connection, if there is one.
func (h *Host) unwatchUsers(c *Conn) {
	list := h.watchlists[c]
	if list == nil {
		return
	}
	delete(h.watchlists, c)
	for _, id := range list.users {
		r := h.rosters[rosterName(id)]
		delete(r.waiting, list)
		w := r.watched[id]
		if delete(w.lists, list); len(w.lists) > 0 {
			continue
		}
		w.stay()
		delete(r.watched, id)
		if len(r.watched) == 0 && r.relayed {
			r.relayed, r.syncing, r.parts, r.pods = false, false, nil, nil
			h.relay.Unwatched(h.name, r.name)
		}
	}
}

// stay ends the grace period.
func (w *watchedUser) stay() {
	if w.leaving != nil {
		w.leaving.Stop()
		w.leaving = nil
	}
}

// isOnline reports whether the user is signed in on a pod.
func (h *Host) isOnline(r *roster, id string) bool {
	return r.pods[id] > 0 || h.users[id].signedIn(nil)
}

// rosterReady sends the first frames of the watchlists that have waited for other pods.
func (h *Host) rosterReady(r *roster) {
	r.syncing = false
	for list := range r.waiting {
		if list.waiting--; list.waiting == 0 {
			h.pushWatchlist(list)
		}
	}
	clear(r.waiting)
}

// pushWatchlist sends the first frame of a watchlist.
func (h *Host) pushWatchlist(list *watchlist) {
	var online, offline []string
	for _, id := range list.users {
		if h.rosters[rosterName(id)].watched[id].online {
			online = append(online, id)
		} else {
			offline = append(offline, id)
		}
	}
	to, ok := list.conn.frames().(WatchlistEncoder)
	if ok && len(list.users) > 0 {
		list.conn.push(to.Watchlist(online, offline))
	}
}

// watchNews has the changes that connections are told together.
type watchNews map[*Conn]*change

// change is the users who have come and those who have gone.
type change struct{ online, offline []string }

func (n *watchNews) add(w *watchedUser, id string) {
	for list := range w.lists {
		if list.waiting > 0 {
			continue // its first frame has it
		}
		if *n == nil {
			*n = make(watchNews)
		}
		of := (*n)[list.conn]
		if of == nil {
			of = new(change)
			(*n)[list.conn] = of
		}
		if w.online {
			of.online = append(of.online, id)
		} else {
			of.offline = append(of.offline, id)
		}
	}
}

// pushNews sends changes. Equal ones are encoded once.
func (h *Host) pushNews(news watchNews) {
	type key struct {
		online, offline string
		encoding        Encoding
	}
	frames := make(map[key][]byte, 1)
	for c, of := range news {
		to, ok := c.frames().(WatchlistEncoder)
		if !ok {
			continue
		}
		k := key{strings.Join(of.online, "\x00"), strings.Join(of.offline, "\x00"), c.encoding}
		if frames[k] == nil {
			frames[k] = to.Watchlist(of.online, of.offline)
		}
		c.push(frames[k])
	}
}

// updateWatched adds what has changed of a user to the news. lost reports whether a connection was
// lost.
func (h *Host) updateWatched(news *watchNews, r *roster, id string, lost bool) {
	w := r.watched[id]
	if w == nil {
		return
	}
	switch grace := h.rules().Grace; {
	case h.isOnline(r, id):
		w.stay()
		if !w.online {
			w.online = true
			news.add(w, id)
		}
	case !w.online:
	case lost && grace > 0:
		if w.leaving == nil {
			w.leaving = time.AfterFunc(grace, func() { h.endLeaving(r, id, w) })
		}
	default:
		w.stay()
		w.online = false
		news.add(w, id)
	}
}

// endLeaving ends the grace period of a user.
func (h *Host) endLeaving(r *roster, id string, w *watchedUser) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w.leaving == nil || r.watched[id] != w || h.isOnline(r, id) {
		return // ended meanwhile
	}
	w.leaving, w.online = nil, false
	var news watchNews
	news.add(w, id)
	h.pushNews(news)
}
