package presence

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lines is a FrameEncoder whose frames are lines, for connections with the encoding 1.
type lines struct{}

func (lines) Members(users []View, _ Fields) []byte {
	return fmt.Appendf(nil, " %v", userTexts(seenUsers(users)))
}

func (lines) Joined(j Joined) []byte { return fmt.Appendf(nil, "joined %s%s\n", j.Channel, j.Members) }

func (lines) Presence(Diff) []byte { return nil }

func (lines) Left(_, channel string, _ Reason) []byte { return fmt.Appendf(nil, "left %s\n", channel) }

func (lines) Message(channel string, from Source, message []byte) []byte {
	raw := ""
	if from.Raw {
		raw = " raw"
	}
	return fmt.Appendf(nil, "%s%s %s\n", channel, raw, message)
}

func (lines) SubscriptionCount(channel string, n int) []byte {
	return fmt.Appendf(nil, "%s has %d\n", channel, n)
}

func (lines) Watchlist(online, offline []string) []byte {
	return fmt.Appendf(nil, "online %v offline %v\n", online, offline)
}

func (lines) CacheMiss(channel string) []byte { return fmt.Appendf(nil, "miss %s\n", channel) }

// page is an outbox with the encoding 1.
type page struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *page) Encoding() Encoding { return 1 }
func (p *page) Flush()             {}
func (p *page) Push(frame []byte)  { p.Queue(frame, 1) }

func (p *page) Queue(frames []byte, _ int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text.Write(frames)
	return false
}

// pageConn is a connection with the encoding 1.
type pageConn struct {
	*Conn
	page *page
}

// cacheWorld is a registry with one host that keeps events for 10 minutes. Its relay, unless it is
// nil, records the questions about last events.
type cacheWorld struct {
	t     testing.TB
	reg   *Registry
	name  HostName
	relay *askRelay
	miss  []string
	rules Rules
}

// askRelay is a LastAsker.
type askRelay struct {
	mute
	ids []uint64
}

func (*askRelay) Changed(HostName, string)                  {}
func (*askRelay) Watched(HostName, string)                  {}
func (*askRelay) Unwatched(HostName, string)                {}
func (a *askRelay) AskLast(_ HostName, _ string, id uint64) { a.ids = append(a.ids, id) }

func newCacheWorld(t testing.TB, relay *askRelay) *cacheWorld {
	t.Helper()
	w := &cacheWorld{t: t, reg: NewRegistry(new(tape), lines{}), relay: relay}
	w.name, _ = ParseHostName("portal.example.com")
	w.reg.KeepLast(func(HostName) time.Duration { return 10 * time.Minute })
	w.reg.OnCacheMiss(func(_ HostName, channel string) { w.miss = append(w.miss, channel) })
	if relay != nil {
		w.reg.Pods().SetRelay(relay)
	}
	return w
}

func (w *cacheWorld) connect() *pageConn {
	w.t.Helper()
	p := new(page)
	w.rules.Classifier = classes{"cache-a": {Kind: Anonymous}, "public": {Kind: Anonymous}}
	c, err := w.reg.Connect(w.name, &w.rules, nil, p)
	if err != nil {
		w.t.Fatal(err)
	}
	return &pageConn{c, p}
}

// enter enters a channel with a signature.
func (c *pageConn) enter(t testing.TB, channel string, watch Watch) {
	t.Helper()
	if err := c.Enter(channel, Entry{Watch: watch, Proof: true, Member: &Identity{ID: c.id.String()[:4]}}); err != nil {
		t.Fatal(err)
	}
}

// wants waits for all goroutines, and compares the frames since the last call.
func (c *pageConn) wants(t testing.TB, want ...string) {
	t.Helper()
	synctest.Wait()
	c.page.mu.Lock()
	defer c.page.mu.Unlock()
	got := strings.Split(c.page.text.String(), "\n")
	if got = got[:len(got)-1]; !slices.Equal(got, want) {
		t.Errorf("frames:\n got %q\nwant %q", got, want)
	}
	c.page.text.Reset()
}

// send sends an event of the backend.
func (w *cacheWorld) send(text string, channels ...string) {
	w.t.Helper()
	if err := w.reg.Send(w.name, Message{Channels: channels, Body: []byte(text), From: Source{Raw: true}}); err != nil {
		w.t.Fatal(err)
	}
}

// learn answers the last question.
func (w *cacheWorld) learn(channel string, stamp uint64, text string, complete bool) {
	e := LastEvent{Keeping: Keeping{stamp, time.Minute}, Body: []byte(text)}
	w.reg.Pods().LearnLast(w.name, channel, w.relay.ids[len(w.relay.ids)-1], e, text != "", complete)
}

// deliver delivers an event of another pod.
func (w *cacheWorld) deliver(channel string, stamp uint64, text string) {
	w.t.Helper()
	m := Message{Channels: []string{channel}, Body: []byte(text), From: Source{Backend: true, Keep: Keeping{stamp, time.Minute}}}
	if err := w.reg.Pods().Deliver(w.name, m); err != nil {
		w.t.Fatal(err)
	}
}

func TestCacheChannels(t *testing.T) {
	for name, is := range map[string]bool{
		"cache-": true, "cache-a": true, "private-cache-a": true, "presence-cache-a": true, "private-encrypted-cache-a": true,
		"cachet": false, "cache": false, "privatecache-a": false, "private-a-cache-b": false, "encrypted-cache-a": false, "": false,
	} {
		if got := IsCacheChannel(name); got != is {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestLastEventFollowsTheAnswerToAJoin(t *testing.T) {
	for _, channel := range []string{"cache-a", "private-cache-a", "private-encrypted-cache-a"} {
		for _, watch := range []Watch{WatchNone, WatchCount} {
			t.Run(fmt.Sprint(channel, watch), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newCacheWorld(t, nil)
					a, b, c := w.connect(), w.connect(), w.connect()
					a.enter(t, channel, watch)
					a.wants(t, "joined "+channel, "miss "+channel)
					w.send(`{"n":1}`, channel, "other")
					w.send(`{"n":2}`, channel)
					a.wants(t, channel+` raw {"n":1}`, channel+` raw {"n":2}`)
					b.enter(t, channel, watch)
					b.wants(t, "joined "+channel, channel+` raw {"n":2}`)
					b.enter(t, channel, watch) // it has the event
					b.wants(t, "joined "+channel)
					if err := a.SendToOthers([]string{channel}, []byte(`{"n":3}`)); err != nil { // not kept
						t.Fatal(err)
					}
					b.wants(t, channel+` {"n":3}`)
					c.enter(t, channel, watch)
					c.wants(t, "joined "+channel, channel+` raw {"n":2}`)
					if !slices.Equal(w.miss, []string{channel}) {
						t.Errorf("misses: %q", w.miss)
					}
				})
			})
		}
	}
}

// An event that is sent at the moment of a join is received once, after the answer.
func TestEventsInFlightAreNotReceivedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCacheWorld(t, nil)
		a, b, other := w.connect(), w.connect(), w.connect()
		a.enter(t, "private-cache-a", WatchNone)
		other.enter(t, "private-a", WatchNone)
		a.wants(t, "joined private-cache-a", "miss private-cache-a")
		h := w.reg.Host(w.name)
		h.mu.Lock() // the goroutine that delivers has to wait
		ch := h.channels["private-cache-a"]
		for i := range 3 {
			m := Message{Channels: []string{ch.name}, Body: fmt.Appendf(nil, `{"n":%d}`, i), From: Source{Backend: true, Raw: true}}
			m.From.Keep = Keeping{uint64(i + 1), time.Minute}
			h.enqueue(ch, m.From, m.Body, nil)
			w.reg.keepSent(w.name, &m, 0)
		}
		m := h.addListener(ch, b.Conn, permit{may: MayAll}, &Entry{Proof: true})
		h.answerJoin(m, true, WatchNone, "")
		last := Source{Backend: true, Raw: true, Keep: Keeping{9, time.Minute}}
		h.enqueue(ch, last, []byte(`{"n":9}`), nil)
		h.mu.Unlock()
		a.wants(t, `private-cache-a raw {"n":0}`, `private-cache-a raw {"n":1}`, `private-cache-a raw {"n":2}`, `private-cache-a raw {"n":9}`)
		b.wants(t, "joined private-cache-a", `private-cache-a raw {"n":2}`, `private-cache-a raw {"n":9}`)
	})
}

func TestFirstJoinWaitsForOtherPods(t *testing.T) {
	const channel = "private-cache-a"
	start := func(t *testing.T) (*cacheWorld, *pageConn, *pageConn) {
		w := newCacheWorld(t, new(askRelay))
		a, b := w.connect(), w.connect()
		a.enter(t, channel, WatchNone)
		b.enter(t, channel, WatchNone)
		a.wants(t)
		b.wants(t)
		if len(w.relay.ids) != 1 {
			t.Fatalf("%d questions", len(w.relay.ids))
		}
		return w, a, b
	}
	joined := "joined " + channel
	for _, tt := range []struct {
		name string
		do   func(w *cacheWorld, a *pageConn)
		want []string
	}{
		{"nothing", func(w *cacheWorld, _ *pageConn) { w.learn(channel, 0, "", true) }, []string{joined, "miss " + channel}},
		{"an event", func(w *cacheWorld, _ *pageConn) { w.learn(channel, 5, "{5}", true) }, []string{joined, channel + " {5}"}},
		{"a later event comes first", func(w *cacheWorld, _ *pageConn) {
			w.deliver(channel, 6, "{6}")
			w.learn(channel, 5, "{5}", true)
		}, []string{joined, channel + " {6}"}},
		{"the same event comes first", func(w *cacheWorld, _ *pageConn) {
			w.deliver(channel, 5, "{5}")
			w.learn(channel, 5, "{5}", true)
			w.deliver(channel, 6, "{6}")
		}, []string{joined, channel + " {5}", channel + " {6}"}},
		{"the same event comes later", func(w *cacheWorld, _ *pageConn) {
			w.learn(channel, 5, "{5}", true)
			w.deliver(channel, 4, "{4}")
			w.deliver(channel, 5, "{5}")
			w.deliver(channel, 6, "{6}")
		}, []string{joined, channel + " {5}", channel + " {6}"}},
		{"a message of a client meanwhile", func(w *cacheWorld, _ *pageConn) {
			m := Message{Channels: []string{channel}, Body: []byte("{c}")}
			_ = w.reg.Pods().Deliver(w.name, m)
			w.learn(channel, 5, "{5}", true)
			_ = w.reg.Pods().Deliver(w.name, m)
		}, []string{joined, channel + " {5}", channel + " {c}"}},
		{"an event of this pod meanwhile", func(w *cacheWorld, _ *pageConn) {
			w.send("{7}", channel)
			w.learn(channel, 5, "{5}", true)
			w.send("{8}", channel)
		}, []string{joined, channel + " raw {7}", channel + " raw {8}"}},
		{"an answer to another question", func(w *cacheWorld, _ *pageConn) {
			w.reg.Pods().LearnLast(w.name, channel, w.relay.ids[0]+1, LastEvent{Keeping: Keeping{5, time.Minute}}, true, true)
		}, nil},
		{"no relay any more", func(w *cacheWorld, _ *pageConn) { w.reg.Pods().SetRelay(nil) }, []string{joined, "miss " + channel}},
		{"another relay", func(w *cacheWorld, _ *pageConn) {
			before := w.relay.ids[0]
			w.relay = new(askRelay)
			w.reg.Pods().ReplaceRelay(w.relay)
			w.reg.Pods().LearnLast(w.name, channel, before, LastEvent{}, false, true)
			w.learn(channel, 5, "{5}", true)
		}, []string{joined, channel + " {5}"}},
		{"leave", func(w *cacheWorld, a *pageConn) {
			_ = a.Leave(channel, "")
			w.learn(channel, 5, "{5}", true)
		}, []string{"left " + channel}},
		{"close", func(w *cacheWorld, a *pageConn) {
			a.Close()
			w.learn(channel, 5, "{5}", true)
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, a, b := start(t)
				tt.do(w, a)
				a.wants(t, tt.want...)
				if tt.name != "leave" && tt.name != "close" {
					b.wants(t, tt.want...)
				}
			})
		})
	}
}

// Once this pod knows the last event, it asks again only after its last connection has left, or if
// some pods have not answered.
func TestOtherPodsAreAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCacheWorld(t, new(askRelay))
		a, b := w.connect(), w.connect()
		questions := func(want int) {
			t.Helper()
			if len(w.relay.ids) != want {
				t.Errorf("%d questions, want %d", len(w.relay.ids), want)
			}
		}
		a.enter(t, "cache-a", WatchNone)
		w.learn("cache-a", 5, "{5}", false)
		b.enter(t, "cache-a", WatchNone)
		questions(1)
		b.wants(t, "joined cache-a", "cache-a {5}")
		time.Sleep(askLastAgain)
		_ = b.Leave("cache-a", "")
		b.enter(t, "cache-a", WatchNone)
		questions(2)
		w.learn("cache-a", 0, "", true)
		b.wants(t, "left cache-a", "joined cache-a", "cache-a {5}")
		_ = b.Leave("cache-a", "")
		b.enter(t, "cache-a", WatchNone)
		questions(2)
		w.reg.Pods().DoubtLast()
		_ = b.Leave("cache-a", "")
		b.enter(t, "cache-a", WatchNone)
		questions(3)
		_ = a.Leave("cache-a", "")
		_ = b.Leave("cache-a", "")
		b.wants(t, "left cache-a", "joined cache-a", "cache-a {5}", "left cache-a", "left cache-a")
		if _, ok := w.reg.Pods().LastEvent(w.name, "cache-a"); ok {
			t.Error("it keeps an event of another pod without a listener")
		}
		w.send("{6}", "cache-a")
		a.enter(t, "cache-a", WatchNone)
		questions(4)
		w.learn("cache-a", 0, "", true)
		a.wants(t, "joined cache-a", "cache-a {5}", "left cache-a", "joined cache-a", "cache-a raw {6}")
	})
}

// Who has joined before another pod was asked again receives the events on their way, each once.
func TestEventsOnTheirWayReachWhoJoinedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCacheWorld(t, new(askRelay))
		a, b := w.connect(), w.connect()
		a.enter(t, "cache-a", WatchNone)
		w.learn("cache-a", 5, "{5}", true)
		w.reg.Pods().DoubtLast()
		b.enter(t, "cache-a", WatchNone)
		w.learn("cache-a", 9, "{9}", true)
		for _, stamp := range []uint64{5, 8, 9, 10} {
			w.deliver("cache-a", stamp, fmt.Sprintf("{%d}", stamp))
		}
		a.wants(t, "joined cache-a", "cache-a {5}", "cache-a {8}", "cache-a {9}", "cache-a {10}")
		b.wants(t, "joined cache-a", "cache-a {9}", "cache-a {10}")
	})
}

// What replaces a message is not the bytes that were published: in no channel, and not when it is
// kept.
func TestReplacedMessagesAreNotRaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCacheWorld(t, nil)
		a, b, sender := w.connect(), w.connect(), w.connect()
		for _, c := range []*pageConn{a, sender} {
			c.enter(t, "private-cache-a", WatchNone)
			c.enter(t, "private-a", WatchNone)
			c.wants(t, "joined private-cache-a", "miss private-cache-a", "joined private-a")
		}
		bodies := Bodies{"private-cache-a": []byte("{2}")}
		m := Message{Channels: []string{"private-cache-a", "private-a"}, Body: []byte("{1}"), Bodies: bodies, From: Source{Raw: true}}
		if err := w.reg.Send(w.name, m); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s, err := sender.Prepare(m.Channels[1:], m.Channels[1:], m.Body)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.AsRaw().WithBodies(Bodies{"private-a": []byte("{3}")}).ToOthers().Commit(); err != nil {
			t.Fatal(err)
		}
		b.enter(t, "private-cache-a", WatchNone)
		b.wants(t, "joined private-cache-a", "private-cache-a {2}")
		synctest.Wait()
		got := strings.Split(a.page.text.String(), "\n")
		slices.Sort(got) // channels have no common order
		if want := []string{"", "private-a raw {1}", "private-a {3}", "private-cache-a {2}"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestListsAreFollowedByTheLastEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCacheWorld(t, new(askRelay))
		const channel = "presence-cache-a"
		a := w.connect()
		a.enter(t, channel, WatchList)
		w.learn(channel, 5, "{5}", true)
		w.deliver(channel, 6, "{6}") // the list still waits for other pods
		a.wants(t)
		w.reg.Pods().Ready(w.name, channel)
		w.deliver(channel, 7, "{7}")
		a.wants(t, fmt.Sprintf("joined %s [%s]", channel, a.id.String()[:4]), channel+" {6}", channel+" {7}")
	})
}

func TestNativeConnectionsReceiveNoLastEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{Classifier: classes{"cache-a": {Kind: Anonymous}}})
		w.reg.KeepLast(func(HostName) time.Duration { return time.Minute })
		if err := w.reg.Send(w.name, Message{Channels: []string{"cache-a"}, Body: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
		a := w.connect("a")
		a.join("cache-a", WatchNone)
		a.hears("joined cache-a anonymous")
	})
}

func TestKeptEventsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCacheWorld(t, nil)
		kept := func(channel string, want bool) {
			t.Helper()
			if _, ok := w.reg.Pods().LastEvent(w.name, channel); ok != want {
				t.Errorf("%s is kept: %v", channel, ok)
			}
		}
		large := `{"x":"` + strings.Repeat("x", 200<<10) + `"}`
		w.send(large, "cache-0")
		w.send(large, "cache-1")
		w.send(large, "cache-0") // no longer the oldest
		n := maxKeptBytes/len(large) - 1
		for i := range n {
			w.send(large, fmt.Sprint("cache-", 2+i))
		}
		kept("cache-1", false)
		kept("cache-0", true)
		for _, of := range w.reg.last.hosts {
			if of.bytes > maxKeptBytes || len(of.byChannel) != of.order.Len() {
				t.Errorf("%d bytes, %d and %d events", of.bytes, len(of.byChannel), of.order.Len())
			}
		}
		time.Sleep(10*time.Minute - time.Second)
		kept("cache-0", true)
		time.Sleep(time.Second)
		kept("cache-0", false)
		time.Sleep(sweepKept)
		synctest.Wait()
		if len(w.reg.last.hosts) != 0 || w.reg.last.sweep {
			t.Error("events stay in memory")
		}
		w.reg.KeepLast(func(HostName) time.Duration { return 0 })
		w.send("{}", "cache-0")
		kept("cache-0", false)
		w.reg.KeepLast(func(HostName) time.Duration { return 24 * time.Hour })
		w.send("{}", "cache-0", "room")
		e, _ := w.reg.Pods().LastEvent(w.name, "cache-0")
		if e.TTL != MaxCacheTTL {
			t.Errorf("time %v", e.TTL)
		}
		kept("room", false)
	})
}
