package messages

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Pods exchange the info and the status of users on the subjects of the messages, whether or not
// they share a channel. There are no confirmations. Instead:
//
//   - A pod repeats its news once after two times Timing.Gone, as times alone. It also repeats the
//     values that it has learned. So the loss of a payload in a shorter cut is found, and pods that
//     do not hear each other learn from a third one.
//   - A pod sends the times of all users, on hosts where a user has an info or a status, when it
//     hears a pod again that it missed, or one that started earlier than itself. It repeats that
//     too, because the other pod may not have known this one.

const (
	// recallDelay is the time in which pods that are heard again are told together.
	recallDelay = 200 * time.Millisecond
	// maxTold limits the hosts in one step of the worker. Messages are sent between the steps.
	maxTold = 64
	// maxHellos limits the answers that wait. Pods repeat their hellos.
	maxHellos = 1024
)

// details is the state of the exchange of infos and statuses.
type details struct {
	// Messenger.mu guards the fields below, up to hellos.
	informed    map[presence.HostName]bool // hosts with news
	toldAt      time.Time                  // time to send the news; zero if there is none
	recallAt    time.Time                  // time to send the times of all users; zero if none is due
	recallAgain time.Time                  // the same, for the repetition
	hellos      []hello

	// Only the worker uses the fields below.
	queue   []telling
	repeats work.Expiries[telling]
}

// telling is a host whose users are due to be sent.
type telling struct {
	host presence.HostName
	news bool     // send its news
	ids  []string // otherwise, send the times of these users; if nil, of all
}

// hello is a pod that waits for the answer to a hello.
type hello struct {
	from link.Peer
	host presence.HostName
}

// Informed implements [presence.Relay].
func (m *Messenger) Informed(host presence.HostName) {
	m.mu.Lock()
	if m.details.informed == nil {
		m.details.informed = make(map[presence.HostName]bool)
		m.details.toldAt = time.Now().Add(m.timing.Coalesce)
	}
	m.details.informed[host] = true
	m.mu.Unlock()
	m.worker.Wake()
}

// PodUp handles a pod that joined. back is set if this pod has missed it.
func (m *Messenger) PodUp(p link.Peer, back bool) {
	self := m.link.Self()
	if back || link.CompareIncarnations(self.Incarnation, p.Incarnation) > 0 { // otherwise, the other pod does
		m.Recall()
	}
}

// Recall sends the times of all users to other pods, because this pod may have missed something.
func (m *Messenger) Recall() {
	now := time.Now()
	m.mu.Lock()
	m.details.recallAgain = now.Add(2 * m.timing.Gone)
	if m.details.recallAt.IsZero() {
		m.details.recallAt = now.Add(recallDelay)
	}
	m.mu.Unlock()
	m.worker.Wake()
}

// HandleDetails handles details from the subject of a host, or from the inbox.
func (m *Messenger) HandleDetails(from link.Peer, d *message.Details) {
	if !m.reg.Learn(d.Host, d.Users, d.Hello) {
		return
	}
	m.mu.Lock()
	wake := len(m.details.hellos) < maxHellos
	if wake {
		m.details.hellos = append(m.details.hellos, hello{from, d.Host})
	}
	m.mu.Unlock()
	if wake {
		m.worker.Wake()
	}
}

// tell sends what is due, and returns when to look again; zero if not by itself.
func (m *Messenger) tell(now time.Time) (next time.Time) {
	d := &m.details
	m.mu.Lock()
	var informed map[presence.HostName]bool
	if due(d.toldAt, now) {
		informed, d.informed, d.toldAt = d.informed, nil, time.Time{}
	}
	recall := due(d.recallAt, now) || due(d.recallAgain, now)
	if due(d.recallAt, now) {
		d.recallAt = time.Time{}
	}
	if due(d.recallAgain, now) {
		d.recallAgain = time.Time{}
	}
	hellos := d.hellos
	d.hellos = nil
	next = work.Earliest(d.toldAt, d.recallAt, d.recallAgain)
	m.mu.Unlock()

	for _, h := range hellos {
		m.link.Send(m.link.Inbox(h.from), &message.Details{Host: h.host})
	}
	for host := range informed {
		d.queue = append(d.queue, telling{host: host, news: true})
	}
	for t, ok := d.repeats.Pop(now); ok; t, ok = d.repeats.Pop(now) {
		d.queue = append(d.queue, t)
	}
	if recall {
		for _, host := range m.reg.Hosts() {
			d.queue = append(d.queue, telling{host: host})
		}
	}
	n := min(len(d.queue), maxTold)
	for _, t := range d.queue[:n] {
		m.tellHost(now, t)
	}
	if d.queue = d.queue[n:]; len(d.queue) > 0 {
		return now
	}
	d.queue = nil
	at, _ := d.repeats.Next()
	return work.Earliest(next, at)
}

func due(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

// tellHost sends users of a host to the pods that may have it, if there are any.
func (m *Messenger) tellHost(now time.Time, t telling) {
	d := &message.Details{Host: t.host}
	if t.news {
		var later []string
		d.Users, later, d.Hello = m.reg.News(t.host)
		m.details.repeats.Add(now.Add(2*m.timing.Gone), telling{host: t.host, ids: later})
	} else {
		d.Users, d.Hello = m.reg.Known(t.host, t.ids)
	}
	if len(d.Users) == 0 && !d.Hello || !m.shared(t.host) {
		return
	}
	for _, part := range message.SplitDetails(d) {
		m.link.Send(m.link.Shard(link.ShardOf(t.host)), part)
	}
}
