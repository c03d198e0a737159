package presence

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// lock is an Outbox that accepts all frames, and whose Flush can block.
type lock struct {
	inbox
	gate    chan struct{} // Flush blocks until it is closed; if nil, Flush does not block
	batches []int         // number of frames in each batch
}

func (l *lock) Queue(frames []byte, n int) bool {
	l.inbox.Queue(frames, n)
	l.batches = append(l.batches, n)
	return true
}

func (l *lock) Flush() {
	if l.gate != nil {
		<-l.gate
	}
}

// locked connects a client with a lock.
func (w *world) locked(user string) (*client, *lock) {
	w.t.Helper()
	l := &lock{inbox: inbox{tape: w.tape}}
	c, err := w.reg.Connect(w.name, w.rules, parseUser(user), l)
	if err != nil {
		w.t.Fatal(err)
	}
	return &client{Conn: c, t: w.t, in: &l.inbox}, l
}

// idle checks that no delivery is left.
func (w *world) idle() {
	w.t.Helper()
	synctest.Wait()
	h := w.host()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pending != 0 {
		w.t.Errorf("%d bytes are pending", h.pending)
	}
	for name, ch := range h.channels {
		if ch.outgoing != nil {
			w.t.Errorf("%s has %+v to deliver", name, ch.outgoing)
		}
	}
}

func TestMessagesSentDuringAWriteAreOneBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		ann, l := w.locked("ann")
		ann.join("room", WatchNone)
		forget(ann)
		l.gate = make(chan struct{})
		var want []string
		for i := range 10 {
			ann.send(fmt.Sprint(i), "room")
			want = append(want, fmt.Sprintf("message room ann: %d", i))
		}
		ann.hears(want[0])
		close(l.gate)
		synctest.Wait()
		ann.hears(want[1:]...)
		if got := fmt.Sprint(l.batches); got != "[1 9]" {
			t.Errorf("batches of %s frames", got)
		}
		w.idle()
	})
}

func TestBatchesAreCutBetweenFrames(t *testing.T) {
	frame := func(n int) []byte { return make([]byte, n) }
	for _, tt := range []struct {
		name   string
		frames []int
		want   string // frames and bytes of each batch
	}{
		{"one", []int{10}, "[1:10]"},
		{"as many as fit", []int{batchSize - 10, 10, 1}, fmt.Sprintf("[2:%d 1:1]", batchSize)},
		{"a large one alone", []int{1, batchSize + 1, 1}, fmt.Sprintf("[1:1 1:%d 1:1]", batchSize+1)},
		{"behind a full one", []int{batchSize, 1, 2}, fmt.Sprintf("[1:%d 2:3]", batchSize)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var o outgoing
			total := 0
			for _, n := range tt.frames {
				o.add(0, frame(n), nil)
				total += n
			}
			var got []string
			for _, p := range o.batches {
				got = append(got, fmt.Sprintf("%d:%d", p.n, len(p.frames)))
			}
			if fmt.Sprint(got) != tt.want || o.bytes != total {
				t.Errorf("batches %v of %d bytes, want %s of %d", got, o.bytes, tt.want, total)
			}
		})
	}
}

// A frame can be part of a larger slice that belongs to the encoder.
func TestJoiningFramesKeepsMemoryOfTheEncoder(t *testing.T) {
	memory := []byte("frame others")
	var o outgoing
	o.add(0, memory[:5], nil)
	o.add(0, []byte("second"), nil)
	if string(memory) != "frame others" || string(o.batches[0].frames) != "framesecond" {
		t.Errorf("%q, and a batch %q", memory, o.batches[0].frames)
	}
}

// wide is a tape whose frames are as long as their messages.
type wide struct{ *tape }

func (e wide) Message(channel string, from Source, message []byte) []byte {
	return append(e.tape.Message(channel, from, message), message...)
}

func TestMessagesFasterThanWritesAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, relay := newWorld(t, &Rules{}), new(wires)
		w.reg = NewRegistry(wide{w.tape})
		w.reg.Pods().SetRelay(relay)
		ann, l := w.locked("ann")
		bob := w.connect("bob")
		ann.join("room", WatchNone)
		bob.join("hall", WatchNone)
		l.gate = make(chan struct{})
		message := make([]byte, 100<<10)
		accepted := 0
		for ; accepted < 100; accepted++ {
			err := ann.Send([]string{"room"}, message)
			if errors.Is(err, ErrBusy) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // the first one is being written
		}
		if want := 1 + maxPending/len(message); accepted != want {
			t.Errorf("%d messages are accepted, want %d", accepted, want)
		}
		if err := w.reg.Send(w.name, Message{Channels: []string{"hall", "room"}, Body: message}); !errors.Is(err, ErrBusy) {
			t.Errorf("the backend: %v", err)
		}
		if _, err := ann.Prepare([]string{"room"}, []string{"room"}, message); !errors.Is(err, ErrBusy) {
			t.Errorf("prepared: %v", err)
		}
		if _, err := ann.Prepare([]string{"room"}, nil, message); err != nil {
			t.Errorf("prepared for no listener: %v", err)
		}
		if _, err := bob.Prepare([]string{"hall"}, []string{"hall"}, message); err != nil {
			t.Errorf("prepared for another channel: %v", err)
		}
		if len(relay.sent) != accepted {
			t.Errorf("the relay received %d messages", len(relay.sent))
		}
		if err := w.reg.Pods().Deliver(w.name, Message{Channels: []string{"room", "hall"}, Body: message}); !errors.Is(err, ErrBusy) {
			t.Errorf("another pod: %v", err)
		}
		synctest.Wait()
		if got := len(bob.in.take()); got != 2 { // the answer to the join
			t.Errorf("%d frames: what comes from another pod goes where it can", got)
		}
		forget(ann)
		bob.send("{}", "hall") // another channel does not wait
		bob.hears("message hall bob: {}")
		close(l.gate)
		synctest.Wait()
		if got := len(ann.in.take()); got != accepted-1 {
			t.Errorf("%d messages, want %d", got, accepted-1)
		}
		w.idle()
		ann.send("{}", "room")
		ann.hears("message room ann: {}")
	})
}

func TestHostIsBoundedInAllChannelsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		ann := w.connect("ann")
		ann.join("room", WatchNone)
		w.setPending(maxHostPending) // of other channels
		if err := ann.Send([]string{"room"}, []byte("{}")); !errors.Is(err, ErrBusy) {
			t.Errorf("got %v", err)
		}
		w.setPending(0)
		ann.send("{}", "room")
		w.idle()
	})
}

func TestLeavingDuringADelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		first, l := w.locked("first")
		first.join("room", WatchNone)
		var rest []*client
		for i := range roundStep + 50 {
			c := w.connect(fmt.Sprint("user", i))
			c.join("room", WatchNone)
			rest = append(rest, c)
		}
		forget(rest...)
		l.gate = make(chan struct{})
		first.send("{1}", "room")
		// The listeners of the first step have queued it, and the first one is being written to.
		last := rest[len(rest)-1]
		last.hears()
		rest[0].hears("message room first: {1}")
		rest[1].leave("room")
		gone := rest[len(rest)-2]
		gone.leave("room")
		again := rest[len(rest)-3]
		again.leave("room")
		again.join("room", WatchNone)
		fresh := w.connect("fresh")
		fresh.join("room", WatchNone)
		closed := rest[len(rest)-4]
		closed.Close()
		forget(rest[1], gone, again, fresh)
		close(l.gate)
		synctest.Wait()
		last.hears("message room first: {1}")
		rest[roundStep].hears("message room first: {1}")
		gone.hears()
		again.hears()
		fresh.hears() // the message was sent before the join
		closed.hears()
		w.idle()

		first.send("{2}", "room")
		for _, c := range []*client{last, again, fresh} {
			c.hears("message room first: {2}")
		}
		gone.hears()
	})
}

func TestChannelThatEndsDropsWhatIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		ann, l := w.locked("ann")
		ann.join("room", WatchNone)
		forget(ann)
		l.gate = make(chan struct{})
		ann.send("{1}", "room")
		ann.send("{2}", "room")
		ann.leave("room")
		ann.join("room", WatchNone)
		h := w.host()
		h.mu.Lock()
		if h.pending != 0 || h.channels["room"].outgoing != nil {
			t.Errorf("%d bytes are pending, %+v", h.pending, h.channels["room"].outgoing)
		}
		h.mu.Unlock()
		close(l.gate)
		ann.send("{3}", "room")
		ann.hears("message room ann: {1}", "left room", "joined room authenticated", "message room ann: {3}")
		w.idle()
	})
}

// The order of messages and presence frames is the same for all watchers.
func TestMessagesAndPresenceFramesHaveOneOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		ann, bob, cid := w.connect("ann"), w.connect("bob"), w.connect("cid")
		ann.join("room", WatchList)
		bob.join("room", WatchList)
		forget(ann, bob)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { _ = ann.Send([]string{"room"}, []byte("{}")) })
			wg.Go(func() { cid.join("room", WatchNone); cid.leave("room") })
			wg.Wait()
		}
		synctest.Wait()
		if a, b := ann.heard(), bob.heard(); strings.Join(a, "\n") != strings.Join(b, "\n") || len(a) < 100 {
			t.Errorf("%d and %d frames differ", len(a), len(b))
		}
	})
}

// While others come and go, each listener receives the messages of each sender in order and at most
// once, and listeners that stay receive all.
func TestManySendersKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		const senders, messages = 8, 200
		stays := w.connect("stays")
		stays.join("room", WatchNone)
		var wg sync.WaitGroup
		for i := range senders {
			c := w.connect(fmt.Sprint("s", i))
			c.join("room", WatchNone)
			wg.Go(func() {
				for n := range messages {
					if err := c.Send([]string{"room"}, fmt.Append(nil, n)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for i := range 4 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(1, uint64(i)))
				for range 100 {
					c := w.connect(fmt.Sprint("guest", i))
					c.join("room", Watch(rng.IntN(3)))
					c.Close()
					inOrder(t, w.tape, c.in.take())
				}
			})
		}
		wg.Wait()
		w.idle()
		if n := inOrder(t, w.tape, stays.in.take()); n != senders*messages {
			t.Errorf("%d messages, want %d", n, senders*messages)
		}
	})
}

// inOrder counts messages, and checks that the numbers of each sender grow by one.
func inOrder(t *testing.T, tp *tape, frames [][]byte) (n int) {
	t.Helper()
	next := make(map[string]int)
	for _, frame := range frames {
		m, ok := tp.get(frame).(sent)
		if !ok {
			continue
		}
		n++
		var number int
		if _, err := fmt.Sscan(m.message, &number); err != nil {
			t.Error(err)
		}
		if last, known := next[m.from]; known && number != last {
			t.Errorf("%s: %d, want %d", m.from, number, last)
		}
		next[m.from] = number + 1
	}
	return n
}
