package cluster

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// lab is a network without delay. Everything arrives in order.
type lab struct {
	mu       sync.Mutex
	ports    []*labPort
	recorded []labRecord // all published payloads
}

// labRecord is a published payload.
type labRecord struct {
	subject string
	payload []byte
}

// labPort is the transport of one pod.
type labPort struct {
	lab   *lab
	queue chan labDelivery

	// lab.mu guards the fields below.
	subs []*labSub
	sent []labSent
	err  error         // result of Publish
	slow time.Duration // duration of the next Publish
}

type labSub struct {
	subject string
	take    func(payload []byte)
}

type labDelivery struct {
	sub     *labSub
	payload []byte
}

// labSent is a sent message.
type labSent struct {
	at      time.Time
	subject string
	m       message.Message
}

func (n *lab) port(t *testing.T) *labPort {
	t.Helper()
	p := &labPort{lab: n, queue: make(chan labDelivery, 1<<16)}
	n.mu.Lock()
	n.ports = append(n.ports, p)
	n.mu.Unlock()
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case d := <-p.queue:
				d.sub.take(d.payload)
			}
		}
	}()
	t.Cleanup(func() { close(done) })
	return p
}

func (p *labPort) Publish(subject string, payload []byte) error {
	p.lab.mu.Lock()
	slow := p.slow
	p.slow = 0
	p.lab.mu.Unlock()
	time.Sleep(slow)
	p.lab.mu.Lock()
	defer p.lab.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	if _, m, err := message.NewCodec("").Decode(subject, payload); err == nil {
		p.sent = append(p.sent, labSent{time.Now(), subject, m})
	}
	p.lab.recorded = append(p.lab.recorded, labRecord{subject, slices.Clone(payload)})
	for _, to := range p.lab.ports {
		for _, sub := range to.subs {
			if sub.subject == subject {
				to.queue <- labDelivery{sub, slices.Clone(payload)}
			}
		}
	}
	return nil
}

func (p *labPort) Subscribe(subject string, take func(payload []byte)) (cancel func(), err error) {
	p.lab.mu.Lock()
	defer p.lab.mu.Unlock()
	sub := &labSub{subject, take}
	p.subs = append(p.subs, sub)
	return func() {
		p.lab.mu.Lock()
		defer p.lab.mu.Unlock()
		p.subs = slices.DeleteFunc(p.subs, func(s *labSub) bool { return s == sub })
	}, nil
}

// sentOf returns the messages of one type that the port has sent.
func sentOf[M message.Message](p *labPort) (list []labSent) {
	p.lab.mu.Lock()
	defer p.lab.mu.Unlock()
	for _, s := range p.sent {
		if _, ok := s.m.(M); ok {
			list = append(list, s)
		}
	}
	return list
}

// silentEncoder makes frames that are not read.
type silentEncoder struct{}

func (silentEncoder) Members([]presence.User) []byte             { return nil }
func (silentEncoder) Joined(presence.Joined) []byte              { return nil }
func (silentEncoder) Left(_, _ string, _ presence.Reason) []byte { return nil }
func (silentEncoder) Presence(presence.Diff) []byte              { return nil }

// Message returns the message as a line.
func (silentEncoder) Message(channel string, from presence.Source, msg []byte) []byte {
	id := ""
	switch {
	case from.Backend:
		id = "(backend)"
	case from.User != nil:
		id = from.User.ID
	}
	return fmt.Appendf(nil, "%s %s %s\n", channel, id, msg)
}

func (silentEncoder) AppendUser(b []byte, _ *presence.User, _ bool) []byte { return b }
func (silentEncoder) AppendPrivate(b []byte, _ presence.ID, _ *presence.User, _ bool) []byte {
	return b
}

type silentOutbox struct{}

func (silentOutbox) Push([]byte) {}

func (silentOutbox) Queue([]byte, int) bool { return false }

func (silentOutbox) Flush() {}

// labLocal is the Local of a pod.
type labLocal struct {
	mu       sync.Mutex
	unserved map[string]bool
	explain  []message.Connection
	hold     chan struct{} // Serves waits until it is closed; if nil, it does not wait
}

func (l *labLocal) Serves(host presence.HostName) bool {
	if l.hold != nil {
		<-l.hold
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.unserved[host.String()]
}

func (l *labLocal) Connections() int { return 7 }

func (l *labLocal) Explain(presence.HostName, string) []message.Connection { return l.explain }

// labPod is a pod under test.
type labPod struct {
	*Cluster
	port  *labPort
	reg   *presence.Registry
	local *labLocal
	logs  *observer.ObservedLogs
}

// start starts a pod that serves every host.
func (n *lab) start(t *testing.T, dc, pod string, change ...func(*Config, *timing)) *labPod {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	p := &labPod{port: n.port(t), reg: presence.NewRegistry(silentEncoder{}), local: &labLocal{}, logs: logs}
	cfg, tm := Config{DataCenter: dc, Pod: pod, Logger: zap.New(core)}, defaultTiming
	for _, f := range change {
		f(&cfg, &tm)
	}
	c, err := start(cfg, p.port, p.reg, p.local, tm)
	if err != nil {
		t.Fatal(err)
	}
	p.Cluster = c
	c.SetSites([]message.Site{{}})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// settled starts a pod and waits until it is ready.
func (n *lab) settled(t *testing.T, dc, pod string, change ...func(*Config, *timing)) *labPod {
	t.Helper()
	p := n.start(t, dc, pod, change...)
	time.Sleep(2500 * time.Millisecond)
	if !p.Ready() {
		t.Fatal("not ready after 2.5 s")
	}
	return p
}

// connect adds a connection of a user, or with id "" an anonymous one, which joins the channels.
func (p *labPod) connect(t *testing.T, host presence.HostName, id, email string, channels ...string) *presence.Conn {
	t.Helper()
	var u *presence.User
	if id != "" {
		u = &presence.User{ID: id, Email: email}
	}
	conn, err := p.reg.Connect(host, &presence.Rules{}, u, silentOutbox{})
	if err != nil {
		t.Fatal(err)
	}
	for _, channel := range channels {
		if err := conn.Join(channel, presence.WatchNone, ""); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(conn.Close)
	return conn
}

// state returns the state of a pod in the report, or "".
func (p *labPod) state(other peer) string {
	for _, pod := range p.members.report() {
		if pod.peer == other {
			return pod.report.State
		}
	}
	return ""
}

// wantState waits for all goroutines and compares the state.
func (p *labPod) wantState(t *testing.T, other peer, want string) {
	t.Helper()
	synctest.Wait()
	if got := p.state(other); got != want {
		t.Errorf("%s is %q, want %q", other.name(), got, want)
	}
}

// script is a pod that does only what the test says.
type script struct {
	t     *testing.T
	link  *link
	port  *labPort
	sum   uint64
	sites []*message.Sites // its sites, for requests; if there are none, it does not answer
	reply func(q *message.Query) []*message.Reply

	mu      sync.Mutex
	queries []*message.Query
	asked   []time.Time // times of requests for its sites
	last    message.Heartbeat
	dead    bool // it does not answer probes
}

// script adds a pod. Its incarnation is later with a higher started.
func (n *lab) script(t *testing.T, dc, pod string, started int64) *script {
	t.Helper()
	p := n.port(t)
	self := peer{dc, pod, message.Incarnation{Started: started, Random: random()}}
	s := &script{t: t, port: p, link: newLink(p, "rollcall", "", self, zap.NewNop())}
	for subject, take := range map[string]func(from peer, m message.Message){
		s.link.queries():     s.query,
		s.link.queriesOf(dc): s.query,
		s.link.inbox(self):   s.inbox,
	} {
		if _, err := s.link.subscribe(subject, loosely, take); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// answer makes it answer queries from now on.
func (s *script) answer(reply func(q *message.Query) []*message.Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply = reply
}

func (s *script) peer() peer { return s.link.Self() }

func (s *script) query(from peer, m message.Message) {
	q := m.(*message.Query)
	s.mu.Lock()
	s.queries = append(s.queries, q)
	reply := s.reply
	s.mu.Unlock()
	if reply == nil {
		return
	}
	for _, r := range reply(q) {
		s.link.send(s.link.inbox(from), r)
	}
}

func (s *script) inbox(from peer, m message.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if probe, ok := m.(*message.Probe); ok && !s.dead {
		hb := s.last
		hb.Nonce = probe.Nonce
		s.link.send(s.link.inbox(from), &hb)
	}
	if _, ok := m.(*message.SitesWanted); !ok {
		return
	}
	s.asked = append(s.asked, time.Now())
	for _, part := range s.sites {
		s.link.send(s.link.inbox(from), part)
	}
}

func (s *script) queried() []*message.Query {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queries)
}

// serve makes it announce sites from the next heartbeat on.
func (s *script) serve(sites ...message.Site) {
	a := announce(sites)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum, s.sites = a.sum, a.parts
}

// beat sends a heartbeat.
func (s *script) beat() { s.beatWith(message.Heartbeat{}) }

func (s *script) beatWith(hb message.Heartbeat) {
	s.mu.Lock()
	hb.Sites = s.sum
	s.last = hb
	s.mu.Unlock()
	s.link.send(s.link.all(), &hb)
	synctest.Wait()
}

// live sends a heartbeat each second for d.
func (s *script) live(d time.Duration, others ...*script) {
	for end := time.Now().Add(d); ; {
		s.beat()
		for _, o := range others {
			o.beat()
		}
		left := time.Until(end)
		if left <= 0 {
			return
		}
		time.Sleep(min(left, time.Second))
	}
}

func (s *script) goodbye() {
	s.link.send(s.link.all(), &message.Goodbye{})
	synctest.Wait()
}

func mustHost(t *testing.T, name string) presence.HostName {
	t.Helper()
	host, err := presence.ParseHostName(name)
	if err != nil {
		t.Fatal(err)
	}
	return host
}
