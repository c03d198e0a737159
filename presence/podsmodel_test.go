package presence

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pods are the registries of one deployment, with a model each, and the parcels on their way.
type pods struct {
	t      *testing.T
	list   []*pod
	flight []parcel
	cut    map[[2]*pod]bool // pairs without a connection to each other
}

// pod is one of them, and its relay.
type pod struct {
	mute
	*model
	name    string
	off     bool            // it has no relay now
	mu      sync.Mutex      // guards changed: a timer that shows a status calls Changed
	changed map[string]bool // channels for which Changed was called
	watched map[string]bool
	news    bool // Informed was called; guarded by mu
}

// parcel has a delta, or without a channel details.
type parcel struct {
	from, to *pod
	channel  string
	delta    Delta
	details  []Detail
	hello    bool
}

func (p *pod) Informed(HostName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.news {
		p.w.t.Errorf("%s: Informed was called twice", p.name)
	}
	p.news = true
}

func (p *pod) Changed(_ HostName, channel string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed[channel] {
		p.w.t.Errorf("%s: Changed was called twice for %s", p.name, channel)
	}
	p.changed[channel] = true
}

func (p *pod) Watched(_ HostName, channel string) {
	if p.watched[channel] {
		p.w.t.Errorf("%s: %s is watched twice", p.name, channel)
	}
	p.watched[channel] = true
}

func (p *pod) Unwatched(_ HostName, channel string) {
	if !p.watched[channel] {
		p.w.t.Errorf("%s: %s is not watched twice", p.name, channel)
	}
	delete(p.watched, channel)
}

// reset forgets which channels are changed and watched.
func (p *pod) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed, p.watched, p.news = make(map[string]bool), make(map[string]bool), false
}

// takeChanged reports whether Changed was called for a channel, and forgets it.
func (p *pod) takeChanged(channel string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := p.changed[channel]
	delete(p.changed, channel)
	return changed
}

func (p *pod) relay(on bool) {
	p.reset()
	if p.off = !on; on {
		p.w.reg.Pods().SetRelay(p)
	} else {
		p.w.reg.Pods().SetRelay(nil)
	}
}

func newPods(t *testing.T, seed uint64, n, users int) *pods {
	ps := &pods{t: t, cut: make(map[[2]*pod]bool)}
	for i := range n {
		p := &pod{model: newModel(t, seed*10+uint64(i), users), name: fmt.Sprintf("pod%d", i)}
		p.grace = func() time.Duration { return []time.Duration{0, 20 * time.Millisecond, 3 * time.Second}[p.rng.IntN(3)] }
		p.beyond = func(channel string, local presence) presence { return ps.union(p, channel, local) }
		p.reload()
		p.relay(true)
		ps.list = append(ps.list, p)
	}
	return ps
}

func (ps *pods) apart(a, b *pod) bool { return a == b || a.off || b.off || ps.cut[[2]*pod{a, b}] }

// drain publishes the changes of a channel.
func (ps *pods) drain(p *pod, channel string) {
	if p.off {
		return
	}
	d, ok := p.w.reg.Pods().Changes(p.w.name, channel)
	if changed := p.takeChanged(channel); ok != changed {
		ps.t.Errorf("%s: changes of %s: %v, Changed called: %v", p.name, channel, ok, changed)
	}
	if ok {
		for _, to := range ps.list {
			ps.flight = append(ps.flight, parcel{from: p, to: to, channel: channel, delta: d})
		}
	}
}

// drainNews publishes what a pod has to tell of users, and with repeat also what it has to repeat.
func (ps *pods) drainNews(p *pod, repeat bool) {
	if p.off {
		return
	}
	list, later, hello := p.w.reg.Pods().News(p.w.name)
	p.mu.Lock()
	informed := p.news
	p.news = false
	p.mu.Unlock()
	if informed != (len(later) > 0) || len(list) > 2*len(later) {
		ps.t.Errorf("%s: %d news, %d for later, Informed called: %v", p.name, len(list), len(later), informed)
	}
	ps.tell(p, list, hello)
	if len(later) > 0 && (repeat || p.rng.IntN(2) == 0) { // otherwise, converge tells of everybody
		list, hello := p.w.reg.Pods().Known(p.w.name, later)
		ps.tell(p, list, hello)
	}
}

// tell sends details to all other pods, in random order.
func (ps *pods) tell(p *pod, list []Detail, hello bool) {
	for _, to := range ps.list {
		if to != p && (hello || len(list) > 0) {
			ps.flight = append(ps.flight, parcel{from: p, to: to, details: list, hello: hello})
		}
	}
}

// deliver delivers a parcel, unless the pods are cut off from each other. After a gap it delivers
// the whole state.
func (ps *pods) deliver(x parcel) {
	if ps.apart(x.from, x.to) {
		return
	}
	if x.channel == "" {
		if x.to.w.reg.Pods().Learn(x.to.w.name, x.details, x.hello) {
			ps.flight = append(ps.flight, parcel{from: x.to, to: x.from})
		}
		return
	}
	got := x.to.w.reg.Pods().MergeDelta(x.to.w.name, x.channel, x.from.name, x.delta)
	if (got == Unwanted) == x.to.watched[x.channel] {
		ps.t.Errorf("%s: merge of %s ends with %d, watched %v", x.to.name, x.channel, got, x.to.watched[x.channel])
	}
	if got == Gap {
		if x.delta.Base == 0 {
			ps.t.Error("a gap before a delta that holds everything")
		}
		state := x.from.w.reg.Pods().State(x.from.w.name, x.channel)
		ps.flight = append(ps.flight, parcel{from: x.from, to: x.to, channel: x.channel, delta: state})
	}
}

// separate cuts two pods off from each other.
func (ps *pods) separate(a, b *pod) {
	if a == b {
		return
	}
	ps.cut[[2]*pod{a, b}], ps.cut[[2]*pod{b, a}] = true, true
	a.w.reg.Pods().Forget(b.name)
	b.w.reg.Pods().Forget(a.name)
}

// step does something random to the parcels on their way.
func (ps *pods) step() {
	rng := ps.list[0].rng
	a, b := ps.list[rng.IntN(len(ps.list))], ps.list[rng.IntN(len(ps.list))]
	channel := modelChannels[rng.IntN(len(modelChannels))]
	switch n := rng.IntN(100); {
	case n < 27:
		ps.drain(a, channel)
	case n < 35:
		ps.drainNews(a, false)
	case n < 85 && len(ps.flight) > 0:
		i := rng.IntN(min(len(ps.flight), 8)) // out of order
		x := ps.flight[i]
		if rng.IntN(10) > 0 { // otherwise twice
			ps.flight = slices.Delete(ps.flight, i, i+1)
		}
		if rng.IntN(10) > 0 { // otherwise lost
			ps.deliver(x)
		}
	case n < 90:
		a.w.reg.Pods().Ready(a.w.name, channel)
	case n < 94:
		ps.flight = append(ps.flight, parcel{from: a, to: b, channel: channel, delta: a.w.reg.Pods().State(a.w.name, channel)})
	case n < 96:
		ps.separate(a, b)
	case n < 98:
		delete(ps.cut, [2]*pod{a, b})
		delete(ps.cut, [2]*pod{b, a})
	case n == 99 && !a.off:
		a.reset()
		a.w.reg.Pods().ReplaceRelay(a)
	case n == 98:
		a.relay(a.off)
		for _, p := range ps.list {
			if a.off && p != a {
				p.w.reg.Pods().Forget(a.name)
			}
		}
	}
}

// converge delivers everything, and checks every watched channel. A pod that learns of a user's
// info or status from another one has a change of its own. What was lost of these is found by their
// times.
func (ps *pods) converge() {
	for range 2 { // the second time, of what was learned in the first one
		for _, p := range ps.list {
			ps.drainNews(p, true)
			list, hello := p.w.reg.Pods().Known(p.w.name, nil)
			ps.tell(p, list, hello)
		}
		ps.land()
	}
	for again := true; again; again = len(ps.flight) > 0 {
		ps.land()
		ps.checkParts()
		for _, p := range ps.list {
			ps.drainNews(p, true)
			for _, channel := range modelChannels {
				ps.drain(p, channel)
			}
		}
	}
	ps.checkDetails()
}

// land delivers everything that is on its way.
func (ps *pods) land() {
	for len(ps.flight) > 0 {
		x := ps.flight[0]
		ps.flight = ps.flight[1:]
		ps.deliver(x)
	}
}

// checkDetails checks that all pods that reach each other know the same of the users that they
// have.
func (ps *pods) checkDetails() {
	known := func(p *pod) map[string]User {
		users := make(map[string]User)
		if h := p.w.reg.Host(p.w.name); h != nil {
			list, _ := h.Users(PerUser | WithInfo)
			for _, u := range list {
				users[u.ID] = User{Info: u.Info, Status: u.Status}
			}
		}
		return users
	}
	for _, a := range ps.list {
		for _, b := range ps.list {
			if ps.apart(a, b) {
				continue
			}
			for id, u := range known(a) {
				if other, ok := known(b)[id]; ok && u != other {
					ps.t.Errorf("%s and %s know %+v and %+v of %s", a.name, b.name, u, other, id)
				}
			}
		}
	}
}

// checkParts compares the parts that pods have of watched channels with the states of the others.
func (ps *pods) checkParts() {
	for _, to := range ps.list {
		for _, channel := range slices.Sorted(maps.Keys(to.watched)) {
			for _, from := range ps.list {
				if ps.apart(from, to) {
					continue
				}
				known := to.w.reg.Pods().Clock(to.w.name, channel, from.name)
				if state, ok := from.w.reg.Pods().StateAfter(from.w.name, channel, known); ok {
					ps.deliver(parcel{from: from, to: to, channel: channel, delta: state})
				}
			}
			to.w.reg.Pods().Ready(to.w.name, channel)
		}
	}
}

// union returns what watchers on a pod should see of a channel.
func (ps *pods) union(p *pod, channel string, local presence) presence {
	if local.users == nil && p.active[channel].Kind == Anonymous {
		for _, other := range ps.list {
			if !ps.apart(p, other) {
				local.count += other.w.reg.Pods().State(other.w.name, channel).Conns
			}
		}
		return local
	}
	best, latest, userless := make(map[string]Member), make(map[string]Member), 0
	for _, other := range ps.list {
		if other != p && ps.apart(p, other) {
			continue
		}
		state := other.w.reg.Pods().State(other.w.name, channel)
		userless += state.Userless
		for _, m := range state.Joined {
			known, ok := best[m.ID]
			later := m.Seen > known.Seen || m.Seen == known.Seen && m.Email > known.Email
			if !ok || m.Email != "" && (known.Email == "" || later) {
				best[m.ID] = m
			}
			latest[m.ID] = laterDetails(latest[m.ID], m)
			if want := p.seen(channel, m.ID).Email; other == p && m.Email != want {
				ps.t.Errorf("%s: the address of %s is %q, want %q", p.name, m.ID, m.Email, want)
			}
		}
	}
	if local.count = len(best); local.users == nil {
		local.count += userless
	}
	if local.users != nil {
		local.users = make(map[string]string)
		for id, m := range best {
			m.Info, m.Status = latest[id].Info, latest[id].Status
			local.users[id] = knownText(m.User)
		}
	}
	return local
}

// laterDetails returns the later info and the later status; of two of one time, the greater text.
func laterDetails(a, b Member) Member {
	if b.Own && !a.Own || b.Own == a.Own && (b.InfoTime > a.InfoTime || b.InfoTime == a.InfoTime && b.Info > a.Info) {
		a.Info, a.InfoTime, a.Own = b.Info, b.InfoTime, b.Own
	}
	if b.StatusTime > a.StatusTime || b.StatusTime == a.StatusTime && b.Status > a.Status {
		a.Status, a.StatusTime = b.Status, b.StatusTime
	}
	return a
}

// checkWatched compares the calls of the relay with the watchers.
func (p *pod) checkWatched() {
	watched := make(map[string]bool)
	for _, c := range p.clients {
		for channel, watch := range c.joined {
			if watch != WatchNone && !p.off {
				watched[channel] = true
			}
		}
	}
	if !maps.Equal(watched, p.watched) {
		p.w.t.Errorf("%s: watched are %v, the relay knows of %v", p.name, watched, p.watched)
	}
}

// Whatever happens on several pods and between them, each frame follows from the frames before it.
// After everything was delivered and grace periods have ended, each watcher sees the union of all
// parts.
func TestPodsAgreeWithTheirUnion(t *testing.T) {
	tests := []struct {
		name                      string
		seeds, pods, steps, users int
		crowd                     int // see TestHostAgreesWithTheModel
	}{
		{"few connections", 60, 3, 400, 4, 0},
		{"busy channel", 4, 3, 300, 150, 130},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range tt.seeds {
				if t.Failed() {
					return
				}
				synctest.Test(t, func(t *testing.T) {
					ps := newPods(t, uint64(seed), tt.pods, tt.users)
					for range tt.crowd {
						ps.list[0].join(ps.list[0].connect(), "crowd", WatchList)
					}
					for step := range tt.steps {
						ps.run()
						if t.Failed() {
							t.Fatalf("seed %d, step %d", seed, step)
						}
					}
					ps.finish()
				})
			}
		})
	}
}

// run does one thing on a pod and some between them, lets time pass, and sometimes checks
// everything.
func (ps *pods) run() {
	rng := ps.list[0].rng
	ps.list[rng.IntN(len(ps.list))].model.step()
	for range rng.IntN(8) {
		ps.step()
	}
	switch rng.IntN(25) {
	case 0:
		time.Sleep(statusPause) // no change of a status waits
		synctest.Wait()
		ps.converge()
		time.Sleep(3*time.Second + maxFlushWait)
		synctest.Wait()
		for _, p := range ps.list {
			p.check()
			p.checkWatched()
		}
	case 1, 2:
		time.Sleep(time.Duration(rng.IntN(int(5 * time.Millisecond))))
	case 3:
		time.Sleep(time.Duration(rng.IntN(int(4 * time.Second))))
	}
	synctest.Wait() // timers may call the relays
}

// finish closes everything, after which only last changes are kept.
func (ps *pods) finish() {
	for _, p := range ps.list {
		for len(p.clients) > 0 {
			p.model.close(p.rng.IntN(len(p.clients)))
		}
		p.check()
	}
	ps.converge()
	for _, p := range ps.list {
		if len(p.w.reg.news.hosts) > 0 {
			ps.t.Errorf("%s: news is left", p.name)
		}
		if len(p.w.reg.lastChanges.list) > 0 || len(p.watched) > 0 {
			ps.t.Errorf("%s: last changes of %d channels and watched %v are left", p.name, len(p.w.reg.lastChanges.list), p.watched)
		}
	}
}
