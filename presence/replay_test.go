package presence

import (
	"fmt"
	"maps"
)

// view is what a client knows of one channel that it listens to.
type view struct {
	watch   Watch
	kind    Kind
	seq     uint64
	count   int
	members map[string]string // knownText by ID, with WatchList
	unnamed bool              // the channel has too many members
	stale   bool              // it has names again, and this client has not joined again
	foreign bool              // it may know itself where others know nobody
	self    string            // ID in the last Joined.Self
}

// replay is a client that follows the protocol: it builds its views from answers and presence
// frames alone, and reports contradictions.
type replay struct {
	tape  *tape
	views map[string]*view
	owed  map[string][]string // pending answers by channel, as "joined REF" and "left REF", in order
	errs  []string

	messages []sent
	foreign  bool // its frames are those of the second encoder
}

func newReplay(tp *tape) *replay {
	return &replay{tape: tp, views: make(map[string]*view), owed: make(map[string][]string)}
}

func (r *replay) fail(format string, args ...any) {
	r.errs = append(r.errs, fmt.Sprintf(format, args...))
}

func (r *replay) apply(frames [][]byte) {
	for _, frame := range frames {
		f := r.tape.get(frame)
		if of, ok := f.(foreignFrame); ok == r.foreign {
			if ok {
				f = of.of
			}
		} else {
			r.fail("a frame in another encoding: %s", r.tape.text(frame))
		}
		switch f := f.(type) {
		case Joined:
			r.joined(f)
		case Diff:
			r.presence(f)
		case left:
			r.left(f)
		case sent:
			if r.views[f.channel] == nil && len(r.owed[f.channel]) == 0 {
				r.fail("%s: a message for one who does not listen", f.channel)
			}
			r.messages = append(r.messages, f)
		default:
			r.fail("unexpected frame %#v", f)
		}
	}
}

// owe records that a command was accepted and must be answered.
func (r *replay) owe(channel, answer string) { r.owed[channel] = append(r.owed[channel], answer) }

func (r *replay) answer(channel, got string) {
	owed := r.owed[channel]
	if len(owed) == 0 || owed[0] != got {
		r.fail("%s: answer %q while %q are owed", channel, got, owed)
		return
	}
	if r.owed[channel] = owed[1:]; len(owed) == 1 {
		delete(r.owed, channel)
	}
}

func (r *replay) joined(f Joined) {
	owed, again := r.owed[f.Channel], r.views[f.Channel]
	returned := r.foreign && f.Ref == "" && again != nil && again.unnamed // names are back
	if !returned || len(owed) > 0 && owed[0] == "joined " {
		r.answer(f.Channel, "joined "+f.Ref)
	}
	v := &view{foreign: r.foreign, watch: f.Watch, kind: f.Kind, seq: f.Seq, count: f.Count, unnamed: f.Unnamed, members: make(map[string]string)}
	if f.Unnamed && f.Members != nil {
		r.fail("%s: members of a channel without names", f.Channel)
	}
	for _, u := range r.tape.members(f) {
		if _, twice := v.members[u.ID]; twice {
			r.fail("%s: %s is twice in the snapshot", f.Channel, u.ID)
		}
		v.members[u.ID] = knownText(u)
	}
	if f.Members != nil && (f.Watch != WatchList || len(v.members) != f.Count) {
		r.fail("%s: %d members with watch %d and count %d", f.Channel, len(v.members), f.Watch, f.Count)
	}
	if f.Self != nil {
		if v.self = f.Self.ID; !r.foreign {
			r.fail("%s: a native client hears of itself", f.Channel)
		}
		v.members[v.self] = knownText(f.Self.User)
	}
	r.views[f.Channel] = v
}

func (r *replay) left(f left) {
	switch {
	case f.reason == "":
		r.answer(f.channel, "left "+f.ref)
	case f.ref != "":
		r.fail("%s: taken out with the reference %q", f.channel, f.ref)
	}
	if r.views[f.channel] == nil {
		r.fail("%s: left without being there", f.channel)
	}
	delete(r.views, f.channel)
}

func (r *replay) presence(f Diff) {
	v := r.views[f.Channel]
	if v == nil || v.watch == WatchNone {
		r.fail("%s: a presence frame without a watch", f.Channel)
		return
	}
	// A foreign client does not hear of itself, and then of the others one by one.
	part := r.foreign && f.Seq == v.seq
	if f.Seq != v.seq+1 && (!r.foreign || f.Seq < v.seq) {
		r.fail("%s: number %d after %d", f.Channel, f.Seq, v.seq)
	}
	if f.Kind == v.kind && !part {
		r.fail("%s: a kind that is known", f.Channel)
	}
	if f.Kind != 0 {
		v.kind = f.Kind
	}
	names, stale := r.names(v, f), v.stale
	if f.Kind == Anonymous {
		v.stale = false // there are no members to know
	}
	if f.Kind == 0 && f.Count == v.count && !names && !part && len(f.Joined)+len(f.Left)+len(f.Updated) == 0 {
		r.fail("%s: a presence frame that says nothing", f.Channel)
	}
	v.seq, v.count = f.Seq, f.Count
	if v.watch != WatchList || v.unnamed || stale {
		return
	}
	told := make(map[string]bool)
	for _, u := range f.Joined {
		if _, there := v.members[u.ID]; there && u.ID != v.self || told[u.ID] {
			r.fail("%s: %s joins twice", f.Channel, u.ID)
		}
		told[u.ID], v.members[u.ID] = true, knownText(u.User)
	}
	for _, u := range f.Left {
		if _, there := v.members[u.ID]; !there || told[u.ID] {
			r.fail("%s: %s leaves, but was not there before", f.Channel, u.ID)
		}
		told[u.ID] = true
		delete(v.members, u.ID)
	}
	for _, u := range f.Updated {
		if _, there := v.members[u.ID]; !there && u.ID != v.self || told[u.ID] {
			r.fail("%s: %s is updated, but was not there before", f.Channel, u.ID)
		}
		told[u.ID], v.members[u.ID] = true, knownText(u.User)
	}
	if r.foreign && f.Kind == Anonymous {
		clear(v.members) // it may have been told that others see nobody, but not that it has gone itself
	}
	if len(v.members) > 0 && len(v.members) != f.Count && !r.foreign {
		r.fail("%s: %d members with count %d", f.Channel, len(v.members), f.Count)
	}
}

// names applies what a frame says of names, and reports whether that is new.
func (r *replay) names(v *view, f Diff) (changed bool) {
	was := v.unnamed
	switch f.Names {
	case NamesShown:
		if was && f.Kind == 0 {
			r.fail("%s: names return without a word", f.Channel)
		}
		v.unnamed = false
		return was
	case NamesReturned:
		if !was {
			r.fail("%s: names return that were there", f.Channel)
		}
		v.unnamed, v.stale = false, true
	case NamesHidden:
		v.unnamed, v.stale = true, false
	}
	clear(v.members)
	if len(f.Joined)+len(f.Left)+len(f.Updated) > 0 {
		r.fail("%s: users of a channel without names", f.Channel)
	}
	return was != v.unnamed
}

// shows reports whether the view is what a watcher should see.
func (v *view) shows(p presence) bool {
	switch v.watch {
	case WatchNone:
		return true
	case WatchCount:
		return v.count == p.count
	case WatchList:
	}
	if v.foreign && p.users == nil {
		return v.count == p.count
	}
	if text, there := p.users[v.self]; there && v.members[v.self] != "" {
		v.members[v.self] = text // it was not told of changes while others saw nobody
	} else if !there && v.self != "" {
		delete(v.members, v.self) // it has become another user while others saw nobody
	}
	return v.count == p.count && (v.unnamed || v.stale || maps.Equal(v.members, p.users))
}
