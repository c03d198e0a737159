package presence

import "sync"

// Detail is what a pod knows of a user besides the e-mail address, for the other pods that have the
// user, see [Relay].Informed. Of a field that With lacks, it has the time alone.
type Detail struct {
	ID                   string
	Info, Status         string // as in [User]
	InfoTime, StatusTime int64  // as in [Member]
	With                 Fields // which of Info and Status it has
}

// newDetail returns the detail of a user with some of the fields.
func newDetail(id string, e *extra, with Fields) Detail {
	d, known := Detail{ID: id}, e.value()
	d.InfoTime, d.StatusTime = known.infoTime, known.statusTime
	if with&FieldInfo != 0 && d.InfoTime != 0 {
		d.Info, d.With = known.info, d.With|FieldInfo
	}
	if with&FieldStatus != 0 && d.StatusTime != 0 {
		d.Status, d.With = known.status, d.With|FieldStatus
	}
	return d
}

// extra returns the fields that d has.
func (d *Detail) extra() *extra {
	e := new(extra)
	if d.With&FieldInfo != 0 {
		e.info, e.infoTime = d.Info, d.InfoTime
	}
	if d.With&FieldStatus != 0 {
		e.status, e.statusTime = d.Status, d.StatusTime
	}
	return e
}

// news has the changes that other pods may not know. It outlives a host, whose last connection can
// close before its news is fetched. Its methods are safe for concurrent use.
type news struct {
	mu    sync.Mutex // locked after Host.mu
	hosts map[HostName]*hostNews
}

// hostNews is the news of a host.
type hostNews struct {
	users map[string]fresh
	hello bool
}

// fresh is a user in the news.
type fresh struct {
	extra *extra
	with  Fields // fields whose text is sent
	later bool   // this pod has learned extra from another one, so it is sent with the repetitions alone
	asks  bool   // the user has left since it was added, and is back: this pod no longer knows extra
}

// add adds a user, and reports whether it is the first one since the last pop.
func (n *news) add(host HostName, id string, f fresh, hello bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	of := n.hosts[host]
	first := of == nil
	if first {
		if n.hosts == nil {
			n.hosts = make(map[HostName]*hostNews)
		}
		of = &hostNews{users: make(map[string]fresh)}
		n.hosts[host] = of
	}
	if before, ok := of.users[id]; ok {
		best := before.extra.newest(f.extra)
		f.asks = before.asks || best.value() != f.extra.value()
		f.extra, f.with, f.later = best, f.with|before.with, f.later && before.later
	}
	of.users[id] = f
	of.hello = of.hello || hello
	return first
}

// pop removes and returns the news of a host, or nil.
func (n *news) pop(host HostName) *hostNews {
	n.mu.Lock()
	defer n.mu.Unlock()
	of := n.hosts[host]
	delete(n.hosts, host)
	return of
}

// notify notifies the relay of all news.
func (n *news) notify(relay Relay) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for host := range n.hosts {
		relay.Informed(host)
	}
}

func (n *news) clear() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts = nil
}

// tell sends what is known of a user to other pods, with the text of some fields. A pod that knows
// later values answers with them, so tell without a text is a question.
func (h *Host) tell(id string, e *extra, with Fields) {
	if h.relay == nil {
		return
	}
	h.asked = true
	h.addNews(id, fresh{extra: e, with: with})
}

func (h *Host) addNews(id string, f fresh) {
	if h.registry.news.add(h.name, id, f, h.greets()) {
		h.relay.Informed(h.name)
	}
}

// greets reports whether news asks other pods whether a user on the host has an info or a status.
func (h *Host) greets() bool { return !h.detailed || !h.greeted }

// introduce asks other pods about a user whose first connection on this pod has come, unless nobody
// on the host has an info or a status.
func (h *Host) introduce(u *user) {
	if u.extra != nil || h.detailed || !h.asked {
		h.tell(u.ID, u.extra, 0)
	}
}

// tellWaiting sends the statuses that wait to other pods, because the host ends.
func (h *Host) tellWaiting() {
	for id, change := range h.statuses {
		if change.waits {
			h.tell(id, &extra{status: change.status, statusTime: change.at}, FieldStatus)
			change.waits = false
		}
	}
}

// News returns the changes since the last call that other pods of the host may not know. later has
// the IDs of users to send again some time later, by [Pods.Known]: news can be lost, and a value
// from another pod may have reached this one alone. If hello is set, a pod that knows an info or a
// status of any user on the host answers with an empty list.
func (p Pods) News(host HostName) (list []Detail, later []string, hello bool) {
	n := p.r.news.pop(host)
	if n == nil {
		return nil, nil, false
	}
	later = make([]string, 0, len(n.users))
	for id, f := range n.users {
		later = append(later, id)
		if f.later {
			continue
		}
		list = append(list, newDetail(id, f.extra, f.with))
		if f.asks {
			list = append(list, Detail{ID: id})
		}
	}
	return list, later, n.hello && len(list) > 0
}

// Known returns the times of the info and the status of users, by which other pods find
// differences. Users without a connection are left out. If ids is nil, it returns all users, or
// none if nobody on the host has an info or a status. hello is as in [Pods.News].
func (p Pods) Known(host HostName, ids []string) (list []Detail, hello bool) {
	p.r.withHost(host, func(h *Host) {
		if h == nil {
			return
		}
		hello = h.greets() && len(h.online) > 0
		h.greeted = true
		if ids == nil && h.detailed {
			list = make([]Detail, 0, len(h.online))
			for _, u := range h.online {
				list = append(list, newDetail(u.ID, u.extra, 0))
			}
		}
		for _, id := range ids {
			if u := h.users[id]; u != nil && u.conns > 0 {
				list = append(list, newDetail(id, u.extra, 0))
			}
		}
	})
	return list, hello
}

// Learn merges details of another pod. The differences that remain are in the next news of this
// one. The list may come from the network without validation; users that this pod does not have are
// ignored. If answer is set, this pod answers the hello.
func (p Pods) Learn(host HostName, list []Detail, hello bool) (answer bool) {
	p.r.withHost(host, func(h *Host) {
		if h != nil {
			answer = hello && h.detailed
			h.learnDetails(list, len(list) == 0 && !hello)
		}
	})
	return answer
}

// learnDetails merges details of another pod. answered is set if it has answered a hello.
func (h *Host) learnDetails(list []Detail, answered bool) {
	used := answered
	for i := range list {
		d := &list[i]
		used = used || d.InfoTime != 0 || d.StatusTime != 0
		if u := h.users[d.ID]; u != nil {
			h.compare(u, d)
		}
	}
	if !used || h.detailed && (h.greeted || !answered) {
		return
	}
	asks := answered || !h.greeted
	h.detailed, h.greeted = true, h.greeted || answered
	if asks {
		for _, u := range h.online { // until now, nobody was asked about them
			h.tell(u.ID, u.extra, 0)
		}
	}
}

// compare merges the detail of another pod, and tells others if this one knows later values, or
// asks for them. For a user without a connection here, who can be in its grace period, it only
// answers.
func (h *Host) compare(u *user, d *Detail) {
	here := u.conns > 0
	if here && d.With != 0 {
		h.learn(u, d.extra())
	}
	e := u.latest()
	var (
		known   = e.value()
		answer  Fields
		unknown bool
	)
	for _, f := range []struct {
		field       Fields
		at, other   int64
		text, their string
	}{
		{FieldInfo, known.infoTime, d.InfoTime, known.info, d.Info},
		{FieldStatus, known.statusTime, d.StatusTime, known.status, d.Status},
	} {
		switch {
		case f.at > f.other, f.at == f.other && d.With&f.field != 0 && f.text > f.their:
			answer |= f.field
		case f.at < f.other:
			unknown = here
		}
	}
	if answer != 0 || unknown {
		h.tell(u.ID, e, answer)
	}
}

// latest returns the latest info and status that this pod knows of a user, including those that
// watchers see of a user without a connection here.
func (u *user) latest() *extra {
	e := u.extra
	for _, m := range u.members.all() {
		if m.overlay != nil && m.visible() {
			e = e.newest(m.overlay.extra.shared())
		}
	}
	return e
}
