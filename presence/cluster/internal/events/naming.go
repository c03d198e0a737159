package events

import (
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
	"github.com/rollcall-gateway/rollcall/presence/events"
)

// naming is which hosts are to be named to their owners.
type naming struct {
	hosts  map[presence.HostName]bool // hosts that have got connections
	wanted bool                       // the owners of all hosts may have changed
	repeat repetition
}

func (n *naming) note(more *notes) {
	n.wanted = n.wanted || len(more.peers) > 0 || more.review || more.recheck
	for _, h := range more.hosts {
		if n.hosts == nil {
			n.hosts = make(map[presence.HostName]bool)
		}
		n.hosts[h] = true
	}
}

// nameHosts names hosts that have connections to the owners that have not asked for them, and
// returns when to do it again.
func (r *Room) nameHosts(now time.Time) (next time.Time) {
	n := &r.naming
	again := n.repeat.due(now)
	if !n.wanted && !again && len(n.hosts) == 0 {
		return n.repeat.at
	}
	if !r.members.HasSpeakers() {
		*n = naming{}
		return time.Time{}
	}
	all := make([]presence.HostName, 0, len(n.hosts))
	if n.wanted || again {
		all = r.reg.Hosts()
	} else {
		for h := range n.hosts {
			all = append(all, h)
		}
	}
	fresh := n.wanted || len(n.hosts) > 0
	n.wanted, n.hosts = false, nil
	unasked := make(map[link.Peer][]presence.HostName)
	for _, h := range all {
		for owner := range r.silentOwners(h) {
			unasked[owner] = append(unasked[owner], h)
		}
	}
	for owner, hosts := range unasked {
		for part := range slices.Chunk(hosts, message.MaxEventsHosts) {
			r.link.Send(r.link.Inbox(owner), &message.EventsHosts{Hosts: part})
		}
	}
	switch {
	case len(unasked) == 0 && !fresh:
		n.repeat = repetition{}
	case fresh: // also if all have asked, which they may do no longer
		n.repeat.start(now, r.timing.Repeat)
	}
	return n.repeat.at
}

// silentOwners returns the pods that own a shard of the host and have not asked for it.
func (r *Room) silentOwners(host presence.HostName) map[link.Peer]bool {
	speakers := r.members.Speakers(host)
	if len(speakers) == 0 {
		return nil
	}
	keys := keysOf(speakers)
	if r.members.Speaks(host) {
		keys = append(keys, r.Self())
	}
	silent := make(map[link.Peer]bool)
	for shard := range uint8(presence.Shards) {
		i := slices.Index(keys, events.OwnerOf(host, shard, keys))
		if i >= len(speakers) {
			continue // this pod
		}
		if a := r.answering[speakers[i]]; a == nil || a.byShard[shardKey{host, shard}] == nil {
			silent[speakers[i]] = true
		}
	}
	return silent
}

// named handles hosts that another pod names, because this one owns shards of them. If this pod has
// asked already, the other one has lost that.
func (r *Room) named(from link.Peer, m *message.EventsHosts) {
	r.speaker.Opened(m.Hosts)
	if a := r.asking[from]; a != nil && len(a.open) > 0 {
		a.checkAt = time.Now()
	}
}
