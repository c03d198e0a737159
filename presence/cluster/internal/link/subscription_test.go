package link

import (
	"slices"
	"testing"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

func TestWindow(t *testing.T) {
	tests := []struct {
		name string
		most Order
		come []uint64
		want []uint64
	}{
		{"strictly", Strict, []uint64{5, 5, 4, 6, 1, 9, 6}, []uint64{5, 6, 9}},
		{"strictly, over blocks", Strict, []uint64{63, 64, 63, 127, 126, 128, 64}, []uint64{63, 64, 127, 128}},
		{"late and twice", Loose, []uint64{10, 30, 20, 20, 5, 40, 30, 25, 63, 64, 64}, []uint64{10, 30, 20, 5, 40, 25, 63, 64}},
		{
			"too late", 3,
			[]uint64{640, 1280, 1281, 1920, 645, 63, 2560, 2560, 645, 700, 1300, 1280},
			[]uint64{640, 1280, 1281, 1920, 645, 2560, 1300},
		},
		{"the highest", Strict, []uint64{1<<64 - 1, 1, 1<<64 - 1}, []uint64{1<<64 - 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w window
			var got []uint64
			for _, seq := range tt.come {
				if w.add(seq, tt.most) {
					got = append(got, seq)
				}
				if len(w.blocks) > int(tt.most) {
					t.Fatalf("%d blocks are kept", len(w.blocks))
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// A long payload has a lower number than the short ones that other goroutines publish while it is
// encoded.
func TestLongPayloadsAreNotRepetitions(t *testing.T) {
	const short = 5_000 // 50 ms, at the rate at which a pod answers checks
	tr := new(heldTransport)
	a := New(tr, "r", "", Peer{Pod: "a", DC: "x"}, zap.NewNop())
	b := New(tr, "r", "", Peer{Pod: "b", DC: "x"}, zap.NewNop())
	var replies, deltas int
	handle := func(_ Peer, m message.Message) {
		if _, ok := m.(*message.Reply); ok {
			replies++
		} else {
			deltas++
		}
	}
	if _, err := a.Subscribe(a.Inbox(a.Self()), Loose, handle); err != nil {
		t.Fatal(err)
	}
	b.Send(a.Inbox(a.Self()), &message.Reply{ID: 1})
	host, err := presence.ParseHostName("a.example")
	if err != nil {
		t.Fatal(err)
	}
	for range short {
		b.Send(a.Inbox(a.Self()), &message.Delta{Host: host, Channel: "room", Parts: 1})
	}
	for range 2 {
		tr.handle(tr.held)
	}
	if replies != 1 || deltas != short || a.Counts.Repeated.Load() != 1 {
		t.Errorf("%d replies, %d of %d deltas, %d repeated", replies, deltas, short, a.Counts.Repeated.Load())
	}
}

func TestForgottenPodHasNoWindow(t *testing.T) {
	tr := &heldTransport{held: []byte("nothing is held")}
	a := New(tr, "r", "", Peer{Pod: "a", DC: "x"}, zap.NewNop())
	b := New(tr, "r", "", Peer{Pod: "b", DC: "x"}, zap.NewNop())
	in, err := a.Subscribe(a.Inbox(a.Self()), Strict, func(Peer, message.Message) {})
	if err != nil {
		t.Fatal(err)
	}
	b.Send(a.Inbox(a.Self()), &message.Reply{ID: 1})
	if len(in.windows) != 1 {
		t.Fatalf("%d windows after a payload", len(in.windows))
	}
	a.Forget(b.Self())
	if len(in.windows) > 0 {
		t.Errorf("%v is kept of pods that are gone", in.windows)
	}
}

// heldTransport holds back the first payload.
type heldTransport struct {
	handle func([]byte)
	held   []byte
}

func (h *heldTransport) Publish(_ string, payload []byte) error {
	if h.held == nil {
		h.held = payload
	} else {
		h.handle(payload)
	}
	return nil
}

func (h *heldTransport) Subscribe(_ string, handle func([]byte)) (func(), error) {
	h.handle = handle
	return func() {}, nil
}
