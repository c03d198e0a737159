package events

import (
	"container/heap"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// merge merges a part of a source. The lock of the Speaker is held.
func (sh *shard) merge(src *source, p *presence.TapPart, now time.Duration) {
	if p.First {
		src.whole, src.rest, src.stale = false, nil, make(map[*channel]bool)
		for _, ch := range sh.channels {
			if ch.part(src) != nil {
				src.stale[ch] = true
			}
		}
	}
	for i := range p.Changes {
		sh.change(src, &p.Changes[i], now)
	}
	if p.Whole {
		for ch := range src.stale {
			sh.leaveChannel(src, ch, now)
		}
		src.stale, src.whole = nil, true
	}
}

// change merges the present state of a channel on a pod.
func (sh *shard) change(src *source, c *presence.TapChange, now time.Duration) {
	ch := sh.channels[c.Channel]
	gone := c.Class.Kind == 0
	if ch == nil {
		if gone {
			return
		}
		ch = &channel{name: strings.Clone(c.Channel)}
		sh.channels[ch.name] = ch
	}
	delete(src.stale, ch)
	p := ch.part(src)
	if p == nil {
		ch.parts = append(ch.parts, part{source: src})
		p = &ch.parts[len(ch.parts)-1]
	}
	before := ch.conns
	ch.conns += c.Conns - p.conns
	ch.userless += c.Userless - p.userless
	p.conns, p.userless, p.class = c.Conns, c.Userless, c.Class
	ch.updateClass()
	ch.opened = ch.opened || before == 0 && ch.conns > 0 && !sh.muted()
	sh.holdChannel(ch, before, c.Lost, now)
	if c.Full && src.rest == nil {
		src.rest = make(map[*seat]bool, p.users)
		for _, st := range ch.seats {
			if p.users > 0 && st.at.has(src) {
				src.rest[st] = true
			}
		}
	}
	for i := range c.Came {
		st := sh.seat(ch, sh.person(&c.Came[i]))
		delete(src.rest, st)
		st.describe(&c.Came[i])
		sh.come(src, ch, p, st)
	}
	for _, left := range c.Left {
		if st := ch.seats[sh.persons[left.ID]]; st != nil {
			delete(src.rest, st)
			sh.leave(src, ch, p, st, left.Lost, now)
		}
	}
	if c.Full && !c.More {
		for st := range src.rest {
			sh.leave(src, ch, p, st, true, now)
		}
		src.rest = nil
	}
	if gone && !c.More {
		sh.leaveChannel(src, ch, now)
		return
	}
	sh.mark(ch, nil)
}

// leaveChannel removes a source from a channel: its connections are lost.
func (sh *shard) leaveChannel(src *source, ch *channel, now time.Duration) {
	p := ch.part(src)
	if p == nil {
		return
	}
	if p.users > 0 {
		for _, st := range ch.seats {
			if st.at.has(src) {
				sh.leave(src, ch, p, st, true, now)
			}
		}
	}
	before, conns := ch.conns, p.conns
	ch.conns -= conns
	ch.userless -= p.userless
	ch.parts = slices.DeleteFunc(ch.parts, func(p part) bool { return p.source == src })
	ch.updateClass()
	if conns > 0 {
		sh.holdChannel(ch, before, true, now)
	}
	sh.mark(ch, nil)
}

// holdChannel begins or ends the grace period of a channel that had before connections.
func (sh *shard) holdChannel(ch *channel, before int, lost bool, now time.Duration) {
	grace := sh.host.wanted.Grace
	switch {
	case ch.conns > 0 || before == 0 && !lost || ch.name == "":
		ch.until = 0
	case before > 0 && lost && grace > 0:
		ch.until = now + grace
		heap.Push(&sh.grace, graceEnd{at: ch.until, ch: ch})
	case !lost:
		ch.until = 0
	}
}

// come records that a user has a connection on a pod.
func (sh *shard) come(src *source, ch *channel, p *part, st *seat) {
	was := st.visible()
	st.came = st.came || !was && !sh.muted()
	if st.at.add(src) {
		p.users++
	}
	st.until = 0
	if !was {
		ch.visible++
		sh.mark(ch, st)
	}
}

// leave records that a user has no connection on a pod.
func (sh *shard) leave(src *source, ch *channel, p *part, st *seat, lost bool, now time.Duration) {
	was, had := st.visible(), st.at.remove(src)
	if had {
		p.users--
	}
	grace := sh.host.wanted.Grace
	switch {
	case st.at.first != nil:
		return
	case had && lost && grace > 0:
		st.until = now + grace
		heap.Push(&sh.grace, graceEnd{at: st.until, ch: ch, seat: st})
		return
	case !had && lost:
		return
	}
	st.until = 0 // also if the user came back to the pod in between, and left
	if was {
		ch.visible--
		sh.mark(ch, st)
	}
}

// replaceLocal replaces the source of this pod. The new one has the parts of the old one until its
// own arrive.
func (sh *shard) replaceLocal(old, local *source) {
	sh.sources[thisPod] = local
	if old == nil {
		return
	}
	for _, ch := range sh.channels {
		p := ch.part(old)
		if p == nil {
			continue
		}
		p.source = local
		for _, st := range ch.seats {
			st.at.replace(old, local)
		}
	}
}
