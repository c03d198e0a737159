package presence

import (
	"slices"
	"testing"
)

func TestWatchersReceiveASnapshotThenDiffs(t *testing.T) {
	w := newWorld(t, &Rules{})
	first, second := w.connect("a<a@x>"), w.connect("b")
	first.join("room", WatchList)
	first.hears("joined room authenticated seq=0 count=1 [a<a@x>]")

	second.join("room", WatchList)
	first.hears("presence room seq=1 count=2 +b")
	second.hears("joined room authenticated seq=1 count=2 [a<a@x> b]") // in the snapshot, so in no diff

	third := w.connect("c")
	third.join("room", WatchNone)
	third.hears("joined room authenticated")
	first.hears("presence room seq=2 count=3 +c")
	second.hears("presence room seq=2 count=3 +c")

	first.leave("room")
	first.hears("left room")
	second.hears("presence room seq=3 count=2 -a<a@x>")
	third.leave("room")
	third.hears("left room")
	first.hears()
	second.hears("presence room seq=4 count=1 -c")
}

func TestSequenceGrowsByOneAFrame(t *testing.T) {
	w := newWorld(t, &Rules{})
	watcher := w.connect("w")
	watcher.join("room", WatchList)
	for range 20 {
		first, second := w.connect("a"), w.connect("a")
		first.join("room", WatchNone)
		second.join("room", WatchCount) // changes nothing for others, and uses no sequence number
		first.Close()
		second.Close()
	}
	var seqs []uint64
	for _, frame := range watcher.in.take() {
		if d, ok := w.tape.get(frame).(Diff); ok {
			seqs = append(seqs, d.Seq)
		}
	}
	want := make([]uint64, 40)
	for i := range want {
		want[i] = uint64(i + 1)
	}
	if !slices.Equal(seqs, want) {
		t.Errorf("sequence numbers %d, want 1 to 40", seqs)
	}
}

// Frames have sequence numbers, and without a watcher there are no frames.
func TestSequenceStaysWithoutWatchers(t *testing.T) {
	w := newWorld(t, &Rules{})
	watcher, c := w.connect("w"), w.connect("a")
	c.join("room", WatchNone)
	watcher.join("room", WatchList)
	c.leave("room")
	watcher.hears("joined room authenticated seq=0 count=2 [a w]", "presence room seq=1 count=1 -a")
	c.join("room", WatchNone)
	watcher.hears("presence room seq=2 count=2 +a")
	watcher.leave("room")
	w.connect("b").join("room", WatchNone)
	c.leave("room")
	forget(watcher)
	watcher.join("room", WatchList)
	watcher.hears("joined room authenticated seq=2 count=2 [b w]")
}

func TestSequenceRestartsWithTheChannel(t *testing.T) {
	w := newWorld(t, &Rules{})
	watcher := w.connect("w")
	for range 2 {
		watcher.join("room", WatchList)
		w.connect("a").join("room", WatchNone)
		watcher.hears("joined room authenticated seq=0 count=1 [w]", "presence room seq=1 count=2 +a")
		for _, c := range slices.Clone(w.host().conns) {
			if c != watcher.Conn {
				c.Close()
			}
		}
		watcher.leave("room")
		forget(watcher)
	}
}

func TestFramesOfEachWatch(t *testing.T) {
	tests := []struct {
		name  string
		class Class
		watch Watch
		want  []string // frames when one more user comes, and leaves
	}{
		{"nothing", Class{Kind: Authenticated}, WatchNone, []string{"joined room authenticated"}},
		{"names", Class{Kind: Authenticated}, WatchList, []string{
			"joined room authenticated seq=0 count=1 [w]", "presence room seq=1 count=2 +a", "presence room seq=2 count=1 -a",
		}},
		{"names of a channel that is counted only", Class{Kind: Authenticated, CountOnly: true}, WatchList, []string{
			"joined room authenticated seq=0 count=1", "presence room seq=1 count=2", "presence room seq=2 count=1",
		}},
		{"count of a channel that is counted only", Class{Kind: Authenticated, CountOnly: true}, WatchCount, []string{
			"joined room authenticated seq=0 count=1", "presence room seq=1 count=2", "presence room seq=2 count=1",
		}},
		{"names of an anonymous channel", Class{Kind: Anonymous}, WatchList, []string{
			"joined room anonymous seq=0 count=1", "presence room seq=1 count=2", "presence room seq=2 count=1",
		}},
		{"names of a hidden channel", Class{Kind: Authenticated, Hidden: true}, WatchList, []string{
			"joined room authenticated seq=0 count=1 [w]", "presence room seq=1 count=2 +a", "presence room seq=2 count=1 -a",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, rulesOf(classes{"room": tt.class}))
			watcher, c := w.connect("w"), w.connect("a")
			watcher.join("room", tt.watch)
			c.join("room", WatchNone)
			c.Close()
			watcher.hears(tt.want...)
		})
	}
}

func TestCountWatchersGetNoMembers(t *testing.T) {
	w := newWorld(t, &Rules{})
	watcher, c := w.connect("w"), w.connect("a")
	watcher.join("room", WatchCount)
	watcher.hears("joined room authenticated seq=0 count=1")
	c.join("room", WatchNone)
	frames := watcher.in.take()
	if len(frames) != 1 {
		t.Fatalf("%d frames", len(frames))
	}
	if d, ok := w.tape.get(frames[0]).(Diff); !ok || d.Seq != 1 || d.Count != 2 {
		t.Errorf("heard %q", w.tape.text(frames[0]))
	}
}

// The answer to a join comes before any frame that depends on it, on the connection itself and on
// others.
func TestJoinedComesBeforePresence(t *testing.T) {
	w := newWorld(t, &Rules{})
	c := w.connect("a")
	c.join("room", WatchList)
	w.connect("b").join("room", WatchNone)
	c.join("room", WatchCount)
	w.connect("c").join("room", WatchNone)
	if got := c.heard(); len(got) != 4 || got[0] != "joined room authenticated seq=0 count=1 [a]" ||
		got[1] != "presence room seq=1 count=2 +b" || got[2] != "joined room authenticated seq=1 count=2" {
		t.Errorf("frames %q", got)
	}
}

// A frame for many connections is encoded once.
func TestFramesAreShared(t *testing.T) {
	w := newWorld(t, &Rules{})
	first, second := w.connect("a"), w.connect("b")
	first.join("room", WatchList)
	second.join("room", WatchList)
	forget(first, second)
	w.connect("c").join("room", WatchNone)
	one, other := first.in.take(), second.in.take()
	if len(one) != 1 || len(other) != 1 || &one[0][0] != &other[0][0] {
		t.Errorf("frames %v and %v, want one and the same", one, other)
	}
}
