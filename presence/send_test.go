package presence

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// wires is a Relay that records the messages to send, and the open hosts.
type wires struct {
	mu   sync.Mutex
	sent []string
	open map[HostName]int
	err  error // result of Send
}

func (r *wires) Changed(HostName, string)   {}
func (r *wires) Watched(HostName, string)   {}
func (r *wires) Unwatched(HostName, string) {}
func (r *wires) Informed(HostName)          {}
func (r *wires) Clock() uint64              { return 1 }
func (r *wires) Opened(host HostName)       { r.count(host, 1) }
func (r *wires) Closed(host HostName)       { r.count(host, -1) }

func (r *wires) count(host HostName, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open = make(map[HostName]int)
	}
	r.open[host] += n
}

func (r *wires) Send(_ HostName, m Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		who := fmt.Sprint(m.From.User)
		if m.From.Backend {
			who = "(backend)"
		}
		text := fmt.Sprintf("%q %s %s", m.Channels, who, m.Body)
		if len(m.Users) > 0 {
			text += fmt.Sprintf(" to %q", m.Users)
		}
		if m.Except != (ID{}) {
			text += " except " + m.Except.String()
		}
		if !m.Key.IsZero() {
			text += " once"
		}
		r.sent = append(r.sent, text)
	}
	return r.err
}

// wants compares the messages since the last wants.
func (r *wires) wants(t testing.TB, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.sent, want) {
		t.Errorf("the relay sent %q, want %q", r.sent, want)
	}
	r.sent = nil
}

// send sends a message, without an error, and waits until it has arrived.
func (c *client) send(message string, channels ...string) {
	c.t.Helper()
	if err := c.Send(channels, []byte(message)); err != nil {
		c.t.Fatalf("send to %q: %v", channels, err)
	}
	synctest.Wait()
}

func TestMessageReachesEveryListenerOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		ann, bob, eve := w.connect("ann<a@x>"), w.connect("bob"), w.connect("")
		ann.join("room", WatchNone)
		ann.join("hall", WatchNone)
		bob.join("room", WatchNone)
		bob.join("anonymous", WatchNone)
		eve.join("anonymous", WatchNone)
		forget(ann, bob, eve)

		ann.send("{1}", "room", "hall", "room")
		bob.hears("message room ann: {1}")
		got := ann.heard() // channels are delivered concurrently
		slices.Sort(got)
		if want := []string{"message hall ann: {1}", "message room ann: {1}"}; !slices.Equal(got, want) {
			t.Errorf("the sender receives %q, want %q", got, want)
		}
		eve.send("{2}", "anonymous")
		eve.hears("message anonymous : {2}")
		bob.hears("message anonymous : {2}")
		ann.hears()
	})
}

func TestSendIsAllOrNothing(t *testing.T) {
	names := func(n int) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprint("c", i))
		}
		return list
	}
	for _, tt := range []struct {
		name     string
		channels []string
		message  int // length in bytes
		want     error
	}{
		{"not joined", []string{"room", "hall"}, 1, ErrNotJoined},
		{"another one's private channel", []string{"room", NewID().PrivateChannel()}, 1, ErrReservedChannel},
		{"no name", []string{"room", ""}, 1, ErrBadChannel},
		{"a control character", []string{"room", "a\n"}, 1, ErrBadChannel},
		{"too long a name", []string{"room", strings.Repeat("x", 51)}, 1, ErrBadChannel},
		{"too many channels", names(MaxTargets + 1), 1, ErrTooLarge},
		{"too many times one channel", slices.Repeat([]string{"room"}, MaxTargets+1), 1, ErrTooLarge},
		{"too large", []string{"room"}, MaxMessage, ErrTooLarge},
		{"too large in all channels together", append(names(9), "room"), MaxCopies/10 + 1, ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, relay := newWorld(t, &Rules{MaxName: 50}), new(wires)
				w.reg.Pods().SetRelay(relay)
				ann := w.connect("ann")
				ann.join("room", WatchNone)
				forget(ann)
				if err := ann.Send(tt.channels, make([]byte, tt.message)); !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				synctest.Wait()
				ann.hears()
				relay.wants(t)
			})
		})
	}
}

func TestLargestMessagesAreSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		ann := w.connect("ann")
		ann.join("room", WatchNone)
		forget(ann)
		ann.send(strings.Repeat("x", MaxMessage-len("room")), "room")
		if got := ann.heard(); len(got) != 1 || len(got[0]) < MaxMessage-len("room") {
			t.Errorf("%d frames", len(got))
		}
	})
}

func TestClosedConnectionSendsNothing(t *testing.T) {
	w := newWorld(t, &Rules{})
	ann := w.connect("ann")
	ann.join("room", WatchNone)
	ann.Close()
	if err := ann.Send([]string{"room"}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("send: %v", err)
	}
	if _, err := ann.Prepare([]string{"room"}, nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("prepare: %v", err)
	}
}

func TestPrepareValidatesEveryChannel(t *testing.T) {
	w := newWorld(t, &Rules{})
	ann := w.connect("ann")
	ann.join("room", WatchNone)
	for _, tt := range []struct {
		channels []string
		message  int // length in bytes
		want     error
	}{
		{nil, 1, nil},
		{[]string{"room", "room"}, 1, nil},
		{[]string{"room", "hall"}, 1, ErrNotJoined},
		{[]string{ann.ID().PrivateChannel()}, 1, ErrReservedChannel},
		{[]string{""}, 1, ErrBadChannel},
		{[]string{"hall", "room"}, MaxMessage, ErrTooLarge}, // the size is checked first
	} {
		for _, to := range [][]string{nil, {"room"}} {
			if _, err := ann.Prepare(tt.channels, to, make([]byte, tt.message)); !errors.Is(err, tt.want) {
				t.Errorf("%q to %q: %v, want %v", tt.channels, to, err, tt.want)
			}
		}
	}
}

func TestCommitSendsToTheReceivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, relay := newWorld(t, &Rules{}), new(wires)
		w.reg.Pods().SetRelay(relay)
		ann, bob := w.connect("ann"), w.connect("bob")
		for _, name := range []string{"room", "hall", "yard"} {
			ann.join(name, WatchNone)
		}
		bob.join("hall", WatchNone)
		forget(ann, bob)
		for _, tt := range []struct {
			to   []string
			want []string // frames that ann receives
			sent []string
		}{
			{[]string{"yard", "room", "yard"}, []string{"message room ann: {}", "message yard ann: {}"}, []string{`["room" "yard"] &{ann   } {}`}},
			{nil, nil, nil},
		} {
			sending, err := ann.Prepare([]string{"room", "hall", "room", "yard"}, tt.to, []byte("{}"))
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			ann.hears()
			relay.wants(t)
			if err := sending.Commit(); err != nil {
				t.Errorf("%q: %v", tt.to, err)
			}
			synctest.Wait()
			got := ann.heard() // channels are delivered concurrently
			slices.Sort(got)
			if !slices.Equal(got, tt.want) {
				t.Errorf("to %q: the sender receives %q, want %q", tt.to, got, tt.want)
			}
			bob.hears()
			relay.wants(t, tt.sent...)
		}
	})
}

func TestCommitValidatesAgain(t *testing.T) {
	for _, tt := range []struct {
		name    string
		between func(w *world, ann *client)
		want    error
	}{
		{"left", func(_ *world, ann *client) { ann.leave("room") }, ErrNotJoined},
		{"left and joined again", func(_ *world, ann *client) { ann.leave("room"); ann.join("room", WatchNone) }, nil},
		{"closed", func(_ *world, ann *client) { ann.Close() }, ErrClosed},
		{"no room", func(w *world, _ *client) { w.setPending(maxHostPending) }, ErrBusy},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, relay := newWorld(t, &Rules{}), new(wires)
				w.reg.Pods().SetRelay(relay)
				ann, bob := w.connect("ann"), w.connect("bob")
				ann.join("hall", WatchNone)
				ann.join("room", WatchNone)
				bob.join("hall", WatchNone)
				channels := []string{"hall", "room"}
				sending, err := ann.Prepare(channels, channels, []byte("{}"))
				if err != nil {
					t.Fatal(err)
				}
				tt.between(w, ann)
				forget(ann, bob)
				if err := sending.Commit(); !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				synctest.Wait()
				if tt.want != nil {
					ann.hears()
					bob.hears()
					relay.wants(t)
					return
				}
				bob.hears("message hall ann: {}")
				if got := ann.heard(); len(got) != len(channels) {
					t.Errorf("the sender receives %q", got)
				}
				relay.wants(t, `["hall" "room"] &{ann   } {}`)
			})
		})
	}
}

// setPending sets how many bytes of messages wait in all channels of the host.
func (w *world) setPending(bytes int) {
	h := w.host()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending = bytes
}

func TestBackendSendsToAnyChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, relay := newWorld(t, &Rules{}), new(wires)
		w.reg.Pods().SetRelay(relay)
		ann, bob := w.connect("ann"), w.connect("")
		ann.join("room", WatchNone)
		forget(ann)
		mine, theirs := ann.ID().PrivateChannel(), NewID().PrivateChannel()
		send := func(channels ...string) {
			t.Helper()
			if err := w.reg.Send(w.name, Message{Channels: channels, Body: []byte("{}")}); err != nil {
				t.Errorf("%q: %v", channels, err)
			}
			synctest.Wait()
		}
		send("room", "empty", "room")
		relay.wants(t, `["room" "empty"] (backend) {}`)
		ann.hears("message room (backend): {}")
		send(mine)
		relay.wants(t) // no other pod has the channel
		ann.hears("message " + mine + " (backend): {}")
		send(mine, theirs, "tab|nobody")
		relay.wants(t, fmt.Sprintf(`[%q "tab|nobody"] (backend) {}`, theirs))
		ann.hears("message " + mine + " (backend): {}")
		bob.hears()

		ann.Close()
		bob.Close()
		send("room") // the host has no connections
		relay.wants(t, `["room"] (backend) {}`)
		if err := w.reg.Send(w.name, Message{Channels: []string{"room"}, Body: make([]byte, MaxMessage)}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("too large: %v", err)
		}
	})
}

func TestCheckTarget(t *testing.T) {
	rules := &Rules{MaxName: 10}
	for _, tt := range []struct {
		name string
		want error
	}{
		{"room", nil},
		{NewID().PrivateChannel(), nil},
		{"", ErrBadChannel},
		{"12345678901", ErrBadChannel},
		{"a\x00", ErrBadChannel},
		{"tab|", ErrBadChannel},
		{"tab|nobody", ErrBadChannel},
		{"tab|AAAAAAAAAAAAAAAAAAAAAB", ErrBadChannel}, // decodes to the bytes of another text
	} {
		if err := rules.CheckTarget(tt.name); !errors.Is(err, tt.want) {
			t.Errorf("%q: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// A message of another pod goes only to the listeners of this pod. Otherwise it would circulate
// forever.
func TestDeliveredMessagesAreNotRelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, relay := newWorld(t, &Rules{}), new(wires)
		w.reg.Pods().SetRelay(relay)
		ann := w.connect("ann")
		ann.join("room", WatchNone)
		forget(ann)
		mine := ann.ID().PrivateChannel()
		if err := w.reg.Pods().Deliver(w.name, Message{Channels: []string{"room", "empty", "room", mine}, From: Source{User: &User{ID: "bob"}}, Body: []byte("{}")}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		ann.hears("message "+mine+" bob: {}", "message room bob: {}")
		relay.wants(t)
		if err := w.reg.Pods().Deliver(HostName{}, Message{Channels: []string{"room"}}); err != nil {
			t.Errorf("to a host without connections: %v", err)
		}
		if err := w.reg.Pods().Deliver(w.name, Message{Channels: []string{"room"}, Body: make([]byte, MaxMessage)}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("too large: %v", err)
		}
	})
}

func TestRelaySendsToOtherPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, relay := newWorld(t, &Rules{}), new(wires)
		w.reg.Pods().SetRelay(relay)
		ann, eve := w.connect("ann<a@x>"), w.connect("")
		ann.join("room", WatchNone)
		ann.join("hall", WatchNone)
		eve.join("anonymous", WatchNone)
		forget(ann, eve)
		ann.send("{1}", "room", "hall", "room")
		eve.send("{2}", "anonymous")
		relay.wants(t, `["room" "hall"] &{ann a@x  } {1}`, `["anonymous"] <nil> {2}`)
		forget(ann, eve)
		relay.err = ErrBusy
		if err := ann.Send([]string{"room"}, []byte("{3}")); !errors.Is(err, ErrBusy) {
			t.Errorf("with a busy relay: %v", err)
		}
		if err := w.reg.Send(w.name, Message{Channels: []string{"room"}, Body: []byte("{4}")}); !errors.Is(err, ErrBusy) {
			t.Errorf("by the backend, with a busy relay: %v", err)
		}
		synctest.Wait()
		ann.hears()
	})
}

func TestRelayIsNotifiedOfHosts(t *testing.T) {
	w, first, second := newWorld(t, &Rules{}), new(wires), new(wires)
	ann := w.connect("ann")
	w.reg.Pods().SetRelay(first)
	bob := w.connect("bob")
	w.reg.Pods().SetRelay(second)
	if first.open[w.name] != 1 || second.open[w.name] != 1 {
		t.Errorf("opened %d and %d times", first.open[w.name], second.open[w.name])
	}
	ann.Close()
	if second.open[w.name] != 1 {
		t.Error("closed with a connection there")
	}
	bob.Close()
	if second.open[w.name] != 0 {
		t.Error("not closed with the last connection")
	}
	w.connect("cid")
	if second.open[w.name] != 1 {
		t.Error("not opened again")
	}
}
