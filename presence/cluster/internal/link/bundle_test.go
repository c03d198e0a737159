package link

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// wire delivers at once what is published, and records it.
type wire struct {
	mu   sync.Mutex // held while handlers run
	subs map[string][]func([]byte)
	sent []string // time and subject
	last []byte
	to   string // subject of last
}

func (w *wire) Publish(subject string, payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, fmt.Sprint(time.Now().UnixMilli()%1000, " ", subject))
	w.last, w.to = payload, subject
	for _, f := range w.subs[subject] {
		f(payload)
	}
	return nil
}

func (w *wire) Subscribe(subject string, handle func([]byte)) (func(), error) {
	w.subs[subject] = append(w.subs[subject], handle)
	return func() {}, nil
}

// posting has a pod that posts to two others.
type posting struct {
	*Link
	wire *wire
	b, c Peer
	got  map[string][]uint64 // the queries of each pod
}

func newPosting(t *testing.T) *posting {
	t.Helper()
	w := &wire{subs: make(map[string][]func([]byte))}
	pod := func(name string) *Link { return New(w, "r", "secret", Peer{Pod: name, DC: "x"}, zap.NewNop()) }
	p := &posting{Link: pod("a"), wire: w, got: make(map[string][]uint64)}
	p.bundles.above = 0
	for _, name := range []string{"b", "c"} {
		l := pod(name)
		for _, subject := range []string{l.Queries(), l.Inbox(l.Self())} {
			_, err := l.Subscribe(subject, Loose, func(_ Peer, m message.Message) {
				p.got[name] = append(p.got[name], m.(*message.Query).ID)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		p.b, p.c = p.c, l.Self()
	}
	return p
}

func (p *posting) ask(id uint64, to ...Peer) {
	p.SendBundled(p.Queries(), to, &message.Query{ID: id, Kind: message.KindPing})
}

// text has what was sent, with the names of the pods for their inboxes.
func (p *posting) text() string {
	return strings.NewReplacer(p.Inbox(p.b), "b", p.Inbox(p.c), "c", p.Queries(), "all").Replace(strings.Join(p.wire.sent, ", "))
}

func TestMessagesAreBundled(t *testing.T) {
	tests := []struct {
		name string
		post func(p *posting)
		sent string
		got  string
	}{
		{"one alone", func(p *posting) { p.ask(1, p.b, p.c) }, "0 all", "map[b:[1] c:[1]]"},
		{"one after the other", func(p *posting) {
			for i := range uint64(3) {
				p.ask(i, p.b, p.c)
				time.Sleep(BundleWindow + time.Millisecond)
			}
		}, "0 all, 6 all, 12 all", "map[b:[0 1 2] c:[0 1 2]]"},
		{"many", func(p *posting) {
			for i := range uint64(12) {
				p.ask(i, p.b)
				time.Sleep(time.Millisecond)
			}
		}, "0 all, 5 b, 10 b, 15 b", "map[b:[0 1 2 3 4 5 6 7 8 9 10 11]"},
		{"to one that waits and one that does not", func(p *posting) {
			p.SendBundled(p.Inbox(p.b), []Peer{p.b}, &message.Query{ID: 1, Kind: message.KindPing})
			time.Sleep(2 * time.Millisecond)
			p.ask(2, p.b, p.c)
		}, "0 b, 2 c, 5 b", "map[b:[1 2] c:[2]]"},
		{"a long one", func(p *posting) {
			p.ask(1, p.b, p.c)
			users := make([]string, presence.MaxUsers)
			for i := range users {
				users[i] = fmt.Sprintf("%0*d", 2*maxBundled/presence.MaxUsers, i)
			}
			host, _ := presence.ParseHostName("h.example")
			p.SendBundled(p.Queries(), []Peer{p.b, p.c}, &message.Query{ID: 2, Kind: message.KindOnline, Host: host, Call: &message.Call{Users: users}})
		}, "0 all, 0 all", "map[b:[1 2] c:[1 2]]"},
		{"before the end and after it", func(p *posting) {
			p.ask(1, p.b)
			p.ask(2, p.b)
			p.EndBundles()
			p.ask(3, p.b)
			p.ask(4, p.b)
		}, "0 all, 0 b, 0 all, 0 all", "map[b:[1 2 3 4]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPosting(t)
				tt.post(p)
				time.Sleep(time.Second)
				synctest.Wait()
				if got := p.text(); got != tt.sent {
					t.Errorf("sent %q, want %q", got, tt.sent)
				}
				if got := fmt.Sprint(p.got); !strings.HasPrefix(got, tt.got) {
					t.Errorf("received %s, want %s", got, tt.got)
				}
				if len(p.bundles.waiting) > 0 {
					t.Errorf("%d entries are kept", len(p.bundles.waiting))
				}
			})
		})
	}
}

func TestFewMessagesAreSentAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPosting(t)
		p.bundles.above = bundleAbove
		for i := range uint64(1000) { // one after the other, each as soon as the last is answered
			p.ask(i, p.b, p.c)
			time.Sleep(BundleWindow / bundleAbove)
		}
		if got := len(p.wire.sent); got != 1000 {
			t.Errorf("%d payloads for 1000 messages", got)
		}
		for i := range uint64(1000) {
			p.ask(i, p.b, p.c)
			time.Sleep(BundleWindow / bundleAbove / 2)
		}
		time.Sleep(BundleWindow)
		synctest.Wait()
		if got := len(p.wire.sent) - 1000; got < 40 || got > 80 {
			t.Errorf("%d payloads for 1000 messages at twice the rate", got)
		}
		if len(p.got["b"]) != 2000 || len(p.got["c"]) != 2000 {
			t.Errorf("received %d and %d", len(p.got["b"]), len(p.got["c"]))
		}
	})
}

func TestBundlesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPosting(t)
		const messages = 20_000
		for i := range uint64(messages) {
			p.ask(i, p.b)
			p.bundles.mu.Lock()
			waiting := len(p.bundles.waiting[p.b].bodies)
			p.bundles.mu.Unlock()
			if waiting > maxBundle {
				t.Fatalf("%d bytes wait", waiting)
			}
		}
		time.Sleep(BundleWindow)
		synctest.Wait()
		if got := len(p.got["b"]); got != messages {
			t.Errorf("%d of %d arrived", got, messages)
		}
		if got := len(p.wire.sent); got > 10 {
			t.Errorf("%d payloads", got)
		}
	})
}

// A recorded bundle is accepted once, and on its subject alone.
func TestBundlesAreNotReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPosting(t)
		for i := range uint64(3) {
			p.ask(i, p.b)
		}
		time.Sleep(BundleWindow)
		synctest.Wait()
		if p.wire.to != p.Inbox(p.b) {
			t.Fatalf("the last payload went to %s", p.wire.to)
		}
		recorded := p.wire.last
		for _, subject := range []string{p.Inbox(p.b), p.Inbox(p.c), p.Queries()} {
			_ = p.wire.Publish(subject, recorded)
		}
		if got, want := fmt.Sprint(p.got), "map[b:[0 1 2]"; !strings.HasPrefix(got, want) {
			t.Errorf("received %s, want %s", got, want)
		}
	})
}
