package presence

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// sendTo sends a message of the backend, without an error, and waits until it has arrived.
func (w *world) sendTo(m Message) {
	w.t.Helper()
	if err := w.reg.Send(w.name, m); err != nil {
		w.t.Fatalf("send %+v: %v", m, err)
	}
	synctest.Wait()
}

// mine returns the frame of a message in the private channel of c.
func (c *client) mine(text string) string {
	return "message " + c.ID().PrivateChannel() + " (backend): " + text
}

func TestMessageReachesEachConnectionOfAUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, relay := newWorld(t, &Rules{}), new(wires)
		w.reg.Pods().SetRelay(relay)
		ann, tab, bob, eve := w.connect("ann"), w.connect("ann"), w.connect("bob"), w.connect("")
		bob.join("room", WatchNone)
		forget(bob)

		w.sendTo(Message{Users: []string{"ann", "nobody", "ann"}, Body: []byte("{1}")})
		ann.hears(ann.mine("{1}"))
		tab.hears(tab.mine("{1}"))
		bob.hears()
		relay.wants(t, `[] (backend) {1} to ["ann" "nobody" "ann"]`) // they can be on other pods, too

		// Who is reached in several ways gets a message for each.
		w.sendTo(Message{Channels: []string{"room", bob.ID().PrivateChannel()}, Users: []string{"bob"}, Body: []byte("{2}")})
		got := bob.heard()
		slices.Sort(got) // channels and users are served at the same time
		if want := []string{"message room (backend): {2}", bob.mine("{2}"), bob.mine("{2}")}; !slices.Equal(got, want) {
			t.Errorf("frames %q, want %q", got, want)
		}
		relay.wants(t, `["room"] (backend) {2} to ["bob"]`)

		eve.hears()
		ann.Close()
		w.sendTo(Message{Users: []string{"ann"}, Body: []byte("{3}")})
		tab.hears(tab.mine("{3}"))
	})
}

// The excepted connection gets nothing, in whatever way it would be reached. Others of its user do.
func TestExceptedConnectionReceivesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, relay := newWorld(t, &Rules{}), new(wires)
		w.reg.Pods().SetRelay(relay)
		ann, tab := w.connect("ann"), w.connect("ann")
		for _, c := range []*client{ann, tab} {
			c.join("room", WatchNone)
			forget(c)
		}
		to := []string{"room", ann.ID().PrivateChannel()}
		w.sendTo(Message{Channels: to, Users: []string{"ann"}, Except: ann.ID(), Body: []byte("{1}")})
		ann.hears()
		got := tab.heard()
		slices.Sort(got)
		if want := []string{"message room (backend): {1}", tab.mine("{1}")}; !slices.Equal(got, want) {
			t.Errorf("frames %q, want %q", got, want)
		}
		relay.wants(t, `["room"] (backend) {1} to ["ann"] except `+ann.ID().String())

		w.sendTo(Message{Channels: to[1:], Except: ann.ID(), Body: []byte("{2}")})
		ann.hears()
		away := NewID()
		w.sendTo(Message{Channels: to, Except: away, Body: []byte("{3}")})
		if got := len(ann.heard()); got != 2 {
			t.Errorf("%d messages without the other connection, want 2", got)
		}
		forget(tab)
		if err := w.reg.Pods().Deliver(w.name, Message{
			Channels: to, Users: []string{"ann"}, Except: tab.ID(), From: Source{Backend: true}, Body: []byte("{4}"),
		}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		tab.hears()
		if got := len(ann.heard()); got != 3 {
			t.Errorf("%d messages from another pod, want 3", got)
		}
	})
}

// A message in a private channel does not overtake one for its user that is under way.
func TestMessagesToAUserKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		ann := w.connect("ann")
		var want []string
		for n := range 100 {
			m := Message{Users: []string{"ann"}, Body: fmt.Appendf(nil, "{%d}", n)}
			if n%2 == 1 {
				m.Users, m.Channels = nil, []string{ann.ID().PrivateChannel()}
			}
			if err := w.reg.Send(w.name, m); err != nil {
				t.Fatal(err)
			}
			want = append(want, ann.mine(string(m.Body)))
		}
		synctest.Wait()
		ann.hears(want...)
		if h := w.host(); h.direct != nil || h.pending != 0 {
			t.Errorf("%+v and %d bytes are left", h.direct, h.pending)
		}
	})
}

// gated is an Outbox whose first Flush waits.
type gated struct {
	*inbox
	gate chan struct{}
}

func (g gated) Queue(frames []byte, n int) bool {
	g.inbox.Queue(frames, n)
	return true
}

func (g gated) Flush() { <-g.gate }

// While a message for very many connections is delivered, the host does other work between the
// turns. A connection that leaves, or that changes its user, is left out; one that comes gets the
// message once or not at all.
func TestManyConnectionsOfAUserTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		slow := gated{&inbox{tape: w.tape}, make(chan struct{})}
		var crowd []*client
		for range 2 * roundStep {
			crowd = append(crowd, w.connect("ann"))
		}
		if _, err := w.reg.Connect(w.name, w.rules, &User{ID: "ann"}, slow); err != nil { // the newest is the first
			t.Fatal(err)
		}
		if err := w.reg.Send(w.name, Message{Users: []string{"ann", "bob"}, Body: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the first turn is queued, and its flush waits
		oldest := crowd[0]
		oldest.authenticate("bob")
		crowd[1].Close()
		late := w.connect("ann")
		if got := len(crowd[len(crowd)-1].heard()); got != 1 {
			t.Errorf("%d frames after the first turn", got)
		}
		close(slow.gate)
		synctest.Wait()
		heard := 0
		for _, c := range crowd[2:] {
			heard += len(c.heard())
		}
		if want := len(crowd) - 3; heard != want {
			t.Errorf("%d frames afterwards, want %d", heard, want)
		}
		oldest.hears()
		crowd[1].hears()
		late.hears()
	})
}

func TestMessagesForUsersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, relay := newWorld(t, &Rules{}), new(wires)
		w.reg.Pods().SetRelay(relay)
		slow := gated{&inbox{tape: w.tape}, make(chan struct{})}
		ann, err := w.reg.Connect(w.name, w.rules, &User{ID: "ann"}, slow)
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, 100<<10)
		m := Message{Users: []string{"ann"}, Body: body}
		accepted := 0
		for ; accepted < 100; accepted++ {
			if err := w.reg.Send(w.name, m); errors.Is(err, ErrBusy) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // the first one is being written
		}
		if want := 1 + maxPending/len(body); accepted != want || len(relay.sent) != want {
			t.Errorf("%d messages are accepted and %d relayed, want %d", accepted, len(relay.sent), want)
		}
		m.Key = NewMessageKey("once")
		if err := w.reg.Send(w.name, m); !errors.Is(err, ErrBusy) {
			t.Errorf("with a key: %v", err)
		}
		m.From.Backend = true
		if err := w.reg.Pods().Deliver(w.name, Message{Users: m.Users, Body: body}); !errors.Is(err, ErrBusy) {
			t.Errorf("from another pod: %v", err)
		}
		if err := w.reg.Send(w.name, Message{Channels: []string{ann.ID().PrivateChannel()}, Body: body}); !errors.Is(err, ErrBusy) {
			t.Errorf("to the private channel: %v", err)
		}
		if err := w.reg.Send(w.name, Message{Channels: []string{"room"}, Body: body}); err != nil {
			t.Errorf("to another channel: %v", err)
		}
		close(slow.gate)
		synctest.Wait()
		slow.take()
		w.sendTo(m) // what was refused left no key
		if got := len(slow.take()); got != 1 {
			t.Errorf("%d messages afterwards", got)
		}
		for _, m := range []Message{
			{Users: slices.Repeat([]string{"ann"}, MaxUsers+1)},
			{Users: slices.Repeat([]string{"ann"}, MaxUsers), Body: make([]byte, 1+maxUserCopies/MaxUsers)},
		} {
			if err := w.reg.Send(w.name, m); !errors.Is(err, ErrTooLarge) {
				t.Errorf("%d users and %d bytes: %v", len(m.Users), len(m.Body), err)
			}
		}
	})
}

func TestRepeatedMessageIsDeliveredToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, relay := newWorld(t, &Rules{}), new(wires)
		w.reg.Pods().SetRelay(relay)
		ann := w.connect("ann")
		once := Message{Users: []string{"ann"}, Key: NewMessageKey("order-1"), Body: []byte("{1}")}
		relay.err = ErrBusy
		if err := w.reg.Send(w.name, once); !errors.Is(err, ErrBusy) {
			t.Fatal(err)
		}
		relay.err = nil
		w.sendTo(once) // a refused one left no key
		w.sendTo(once)
		ann.hears(ann.mine("{1}"))
		relay.wants(t, `[] (backend) {1} to ["ann"] once`)

		// The key is the host's, and it outlives the connections.
		ann.Close()
		ann = w.connect("ann")
		w.sendTo(once)
		ann.hears()
		other := once
		other.Key = NewMessageKey("order-2")
		w.sendTo(other)
		ann.hears(ann.mine("{1}"))

		// A repetition can come by another pod.
		deliver := func(m Message) {
			t.Helper()
			m.From.Backend = true
			if err := w.reg.Pods().Deliver(w.name, m); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		deliver(once)
		ann.hears()
		third := once
		third.Key = NewMessageKey("order-3")
		deliver(third)
		deliver(third)
		w.sendTo(third)
		ann.hears(ann.mine("{1}"))

		time.Sleep(keyLife - time.Nanosecond)
		w.sendTo(once)
		ann.hears()
		time.Sleep(time.Nanosecond)
		w.sendTo(once)
		ann.hears(ann.mine("{1}"))
		time.Sleep(2 * keyLife)
		synctest.Wait()
		if k := &w.reg.keys; k.kept != 0 || len(k.hosts) != 0 || k.first != nil || k.last != nil || k.timer != nil {
			t.Errorf("after their time, keys are left: %+v", k)
		}
	})
}

// A pod that forwards a message without a connection of the host keeps its key, too: the next
// connection may be here.
func TestKeyIsKeptWithoutConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, relay := newWorld(t, &Rules{}), new(wires)
		w.reg.Pods().SetRelay(relay)
		once := Message{Users: []string{"ann"}, Key: NewMessageKey("order-1"), Body: []byte("{1}")}
		w.sendTo(once)
		ann := w.connect("ann")
		w.sendTo(once)
		ann.hears()
		relay.wants(t, `[] (backend) {1} to ["ann"] once`)
		if err := w.reg.Pods().Deliver(HostName{}, once); err != nil {
			t.Errorf("delivered to a host without connections: %v", err)
		}
		k := &w.reg.keys
		k.mu.Lock()
		if k.kept != 1 {
			t.Errorf("%d keys are kept", k.kept)
		}
		k.mu.Unlock()
		time.Sleep(keyLife) // so that no timer is left
	})
}

// Above its limit, a host forgets its oldest key; above the limit of all, the oldest key of any
// host is forgotten.
func TestKeysAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k messageKeys
		one, two := mustParse(t, "one.example"), mustParse(t, "two.example")
		key := func(i int) MessageKey { return NewMessageKey(fmt.Sprint(i)) }
		k.add(two, key(0), 0)
		for i := range maxHostKeys + 1 {
			k.add(one, key(i), time.Duration(i))
		}
		if k.has(one, key(0), 0) || !k.has(one, key(1), 0) || !k.has(two, key(0), 0) || k.kept != maxHostKeys+1 {
			t.Errorf("%d keys, the oldest of a full host: %v", k.kept, k.has(one, key(0), 0))
		}
		if k.has(one, MessageKey{}, 0) {
			t.Error("no key is known")
		}
		for i := 0; k.kept < maxKeys; i++ {
			k.add(mustParse(t, fmt.Sprintf("h%d.example", i/1000)), key(i), maxHostKeys)
		}
		k.add(one, key(-1), maxHostKeys) // the host is full, too
		if k.has(two, key(0), 0) || k.kept != maxKeys-1 {
			t.Errorf("the oldest of all is kept, of %d", k.kept)
		}
		k.add(two, key(0), maxHostKeys)
		k.add(two, key(1), maxHostKeys)
		if k.has(one, key(2), 0) || !k.has(one, key(3), 0) || k.kept != maxKeys {
			t.Errorf("%d keys, of which the oldest is kept: %v", k.kept, k.has(one, key(2), 0))
		}
		n := 0
		for e := k.first; e != nil; e = e.next {
			n++
		}
		if n != k.kept {
			t.Errorf("%d keys in order, want %d", n, k.kept)
		}
		k.timer.Stop()
	})
}

func mustParse(t testing.TB, name string) HostName {
	t.Helper()
	h, err := ParseHostName(name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestParseID(t *testing.T) {
	id := NewID()
	for text, want := range map[string]bool{
		id.String(): true, "": false, id.PrivateChannel(): false, id.String()[1:]: false, strings.Repeat("?", 22): false,
	} {
		if got, ok := ParseID(text); ok != want || want && got != id {
			t.Errorf("%q: %v, %v", text, got, ok)
		}
	}
}

// BenchmarkUserIndex reports what each user, with one connection that has joined nothing, takes in
// memory besides the same connection without a user: the index by which a user's connections are
// found.
func BenchmarkUserIndex(b *testing.B) {
	const conns = 100_000
	measure := func(user func(i int) *User) float64 {
		w := newWorld(b, &Rules{})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range conns {
			if _, err := w.reg.Connect(w.name, w.rules, user(i), nil); err != nil {
				b.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(w)
		return float64(after.HeapAlloc-before.HeapAlloc) / conns
	}
	for range b.N {
		anonymous := measure(func(int) *User { return nil })
		b.ReportMetric(anonymous, "B/conn")
		b.ReportMetric(measure(func(i int) *User { return &User{ID: fmt.Sprintf("user-%07d", i)} })-anonymous, "B/user")
		b.ReportMetric(measure(func(int) *User { return &User{ID: "ann"} })-anonymous, "B/tab")
	}
}

// BenchmarkSendToUsers sends to 1,000 users with 3 connections each.
func BenchmarkSendToUsers(b *testing.B) {
	w := newWorld(b, &Rules{})
	w.reg = NewRegistry(new(plainFrames))
	users := make([]string, MaxUsers)
	for i := range users {
		users[i] = fmt.Sprintf("user-%04d", i)
		for range 3 {
			if _, err := w.reg.Connect(w.name, w.rules, &User{ID: users[i]}, nothing{}); err != nil {
				b.Fatal(err)
			}
		}
	}
	m := Message{Users: users, Body: []byte(`{"text":"` + strings.Repeat("x", 100) + `"}`)}
	for b.Loop() {
		if err := w.reg.Send(w.name, m); err != nil {
			b.Fatal(err)
		}
		for h := w.host(); ; runtime.Gosched() {
			h.mu.Lock()
			done := h.direct == nil
			h.mu.Unlock()
			if done {
				break
			}
		}
	}
}

// plainFrames is an Encoder of messages without a tape.
type plainFrames struct{ tape }

func (*plainFrames) Message(channel string, _ Source, message []byte) []byte {
	return append([]byte(channel), message...)
}

// nothing is an Outbox that drops everything.
type nothing struct{}

func (nothing) Push([]byte)            {}
func (nothing) Queue([]byte, int) bool { return false }
func (nothing) Flush()                 {}
