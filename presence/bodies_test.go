package presence

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

func TestBodiesReplaceTheMessageInSomeChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		ann, bob := w.connect("ann"), w.connect("bob")
		for _, channel := range []string{"hall", "room", "yard"} {
			ann.join(channel, WatchNone)
			bob.join(channel, WatchNone)
		}
		forget(ann, bob)
		relay := new(wires)
		w.reg.Pods().SetRelay(relay)

		s, err := ann.Prepare([]string{"hall", "room", "yard"}, []string{"hall", "room"}, []byte("{1}"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.ToOthers().WithBodies(Bodies{"room": []byte("{longer}")}).Commit(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ann.hears()
		got := bob.heard()
		slices.Sort(got)
		if want := []string{"message hall ann: {1}", "message room ann: {longer}"}; !slices.Equal(got, want) {
			t.Errorf("others receive %q, want %q", got, want)
		}
		w.sendTo(Message{Channels: []string{"room", "hall", "room"}, Users: []string{"bob"}, Body: []byte("{2}"), Bodies: Bodies{"hall": []byte("{3}")}})
		got = bob.heard()
		slices.Sort(got)
		if want := []string{"message hall (backend): {3}", "message room (backend): {2}", bob.mine("{2}")}; !slices.Equal(got, want) {
			t.Errorf("bob receives %q, want %q", got, want)
		}
		if h := w.host(); h.pending != 0 {
			t.Errorf("%d bytes are left", h.pending)
		}
	})
}

func TestBodiesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		ann := w.connect("ann")
		var channels []string
		for i := range 8 {
			channels = append(channels, fmt.Sprint("c", i))
			ann.join(channels[i], WatchNone)
		}
		forget(ann)
		body := func(size int) []byte { return []byte(strings.Repeat("x", size)) }
		bodies := func(n, size int) Bodies {
			b := Bodies{}
			for _, name := range channels[:n] {
				b[name] = body(size)
			}
			return b
		}
		for _, tt := range []struct {
			name   string
			bodies Bodies
			want   error
		}{
			{"as large as one may be", bodies(1, MaxMessage-16), nil},
			{"one too large", bodies(1, MaxMessage-15), ErrTooLarge},
			{"as large as all may be", bodies(8, MaxCopies/8), nil},
			{"all too large", bodies(8, MaxCopies/8+1), ErrTooLarge},
		} {
			s, err := ann.Prepare(channels, channels, []byte("{}"))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.WithBodies(tt.bodies).Commit(); !errors.Is(err, tt.want) {
				t.Errorf("%s: a client gets %v, want %v", tt.name, err, tt.want)
			}
			synctest.Wait()
			if err := w.reg.Send(w.name, Message{Channels: channels, Body: []byte("{}"), Bodies: tt.bodies}); !errors.Is(err, tt.want) {
				t.Errorf("%s: the backend gets %v, want %v", tt.name, err, tt.want)
			}
			synctest.Wait()
		}
	})
}

// The room for a message counts what each channel receives.
func TestBodiesNeedRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		ann := w.connect("ann")
		ann.join("room", WatchNone)
		h := w.host()
		h.mu.Lock()
		h.pending = maxHostPending - 100
		h.mu.Unlock()
		s, err := ann.Prepare([]string{"room"}, []string{"room"}, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		large := Bodies{"room": []byte(strings.Repeat("x", 101))}
		if err := s.Check(); err != nil {
			t.Errorf("before the bodies: %v", err)
		}
		if err := s.WithBodies(large).Check(); !errors.Is(err, ErrBusy) {
			t.Errorf("a client that asks first gets %v", err)
		}
		if err := s.WithBodies(large).Commit(); !errors.Is(err, ErrBusy) {
			t.Errorf("a client gets %v", err)
		}
		if err := w.reg.Send(w.name, Message{Channels: []string{"room"}, Body: []byte("{}"), Bodies: large}); !errors.Is(err, ErrBusy) {
			t.Errorf("the backend gets %v", err)
		}
		h.mu.Lock()
		h.pending = 0
		h.mu.Unlock()
	})
}

func TestMessageParts(t *testing.T) {
	key := NewMessageKey("once")
	tab := NewID().PrivateChannel()
	for _, tt := range []struct {
		name string
		m    Message
		want string
	}{
		{"no bodies", Message{Channels: []string{"a", "b"}, Body: []byte("1")}, `["a" "b"]1 `},
		{"equal bodies", Message{Channels: []string{"a", "b"}, Body: []byte("1"), Bodies: Bodies{}}, `["a" "b"]1 `},
		{"by body", Message{Channels: []string{"a", "b", "c", "d"}, Body: []byte("1"), Bodies: Bodies{"b": []byte("2"), "d": []byte("2")}}, `["a" "c"]1 ["b" "d"]2 `},
		{
			"the published bytes elsewhere",
			Message{Channels: []string{"a", "b", "c"}, Body: []byte("1"), From: Source{Raw: true}, Bodies: Bodies{"b": []byte("1")}},
			`["a" "c"]raw 1 ["b"]1 `,
		},
		{
			"users and private channels",
			Message{Channels: []string{"a", tab}, Users: []string{"u"}, Body: []byte("1"), Bodies: Bodies{"a": []byte("2")}},
			`["a"]2 ["` + tab + `"]1["u"] `,
		},
		{
			"with a key",
			Message{Channels: []string{"a", "b"}, Users: []string{"u"}, Key: key, Body: []byte("1"), Bodies: Bodies{}},
			`["a"]1!a ["b"]1!b []1["u"]! `,
		},
	} {
		got := ""
		for _, p := range tt.m.Parts() {
			raw := ""
			if p.From.Raw {
				raw = "raw "
			}
			got += fmt.Sprintf("%q%s%s", p.Channels, raw, p.Body)
			if len(p.Users) > 0 {
				got += fmt.Sprintf("%q", p.Users)
			}
			switch {
			case p.Key == key:
				got += "!"
			case !p.Key.IsZero():
				got += "!" + p.Channels[0]
				if p.Key != key.ofChannel(p.Channels[0]) {
					t.Errorf("%s: the key of %q", tt.name, p.Channels)
				}
			}
			got += " "
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A repetition is known to a pod that has delivered any part of the message, before it asks
// anybody.
func TestCheckFindsRepetitions(t *testing.T) {
	w := newWorld(t, &Rules{})
	ann := w.connect("ann")
	ann.join("room", WatchNone)
	m := Message{Channels: []string{"hall", "room", "room"}, Key: NewMessageKey("once"), Body: []byte("{}")}
	if repeated, err := w.reg.Check(w.name, &m); repeated || err != nil || len(m.Channels) != 2 {
		t.Fatalf("%v, %v, %q", repeated, err, m.Channels)
	}
	parted := m
	parted.Bodies = Bodies{"room": []byte("{1}")}
	for _, part := range parted.Parts() {
		if part.Channels[0] == "room" {
			if err := w.reg.Pods().Deliver(w.name, part); err != nil {
				t.Fatal(err)
			}
		}
	}
	if repeated, err := w.reg.Check(w.name, &m); !repeated || err != nil {
		t.Errorf("after a part has arrived: %v, %v", repeated, err)
	}
	other := m
	other.Key = NewMessageKey("another")
	if repeated, _ := w.reg.Check(w.name, &other); repeated {
		t.Error("another key is a repetition")
	}
	large := Message{Channels: []string{"room"}, Body: make([]byte, MaxMessage)}
	if _, err := w.reg.Check(w.name, &large); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func TestConnectAsHasTheID(t *testing.T) {
	w := newWorld(t, &Rules{MaxConns: 1})
	id := NewID()
	c, err := w.reg.ConnectAs(id, w.name, &Rules{MaxConns: 1}, nil, new(inbox))
	if err != nil || c.ID() != id || w.host().Conn(id) != c {
		t.Fatalf("%v, %v", c, err)
	}
	if !w.host().IsFull() {
		t.Error("the host is not full")
	}
	c.Close()
}
