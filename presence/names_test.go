package presence

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// filled joins users to the room, the first n of u0, u1 and so on.
func (w *world) filled(n int) []*client {
	list := make([]*client, n)
	for i := range list {
		list[i] = w.connect(fmt.Sprintf("u%d", i))
		list[i].join("room", WatchNone)
	}
	return list
}

// A channel has no names above the bound, and has names again below half of it. Those inside hear
// of both without a list, and receive one when they join again.
func TestNamesEndAboveTheBound(t *testing.T) {
	w := newWorld(t, &Rules{MaxNames: 4})
	crowd := w.filled(3)
	lists, counts := crowd[0], w.connect("u1")
	lists.join("room", WatchList)
	counts.join("room", WatchCount)
	forget(lists, counts)
	changes := func(want string) {
		t.Helper()
		lists.hears(want)
		counts.hears(want)
	}

	fourth, fifth := w.connect("u3"), w.connect("u4")
	fourth.join("room", WatchNone)
	changes("presence room seq=1 count=4 +u3")
	fifth.join("room", WatchList)
	changes("presence room seq=2 count=5 names=false")
	fifth.hears("joined room authenticated seq=2 count=5 unnamed")
	fourth.join("room", WatchCount)
	fourth.hears("joined room authenticated", "joined room authenticated seq=2 count=5 unnamed")
	equalLines(t, "endpoints", w.channels(PerUser), []string{"room [u0 u1 u2 u3 u4]"})
	if got := w.host().EncodedChannel("room").lines(); len(got) != 1 || strings.Count(got[0], "u") != 5 {
		t.Errorf("endpoints list %q", got)
	}

	fifth.leave("room")
	changes("presence room seq=3 count=4 names=false")
	fifth.authenticate("u4<new@x>")
	crowd[2].authenticate("u2<new@x>") // is not shown
	lists.hears()
	fourth.leave("room")
	crowd[2].leave("room")
	lists.hears("presence room seq=4 count=3 names=false", "presence room seq=5 count=2 names=false")
	counts.leave("room")
	crowd[1].leave("room")
	lists.hears("presence room seq=6 count=1 names=true")

	lists.join("room", WatchList)
	lists.hears("joined room authenticated seq=6 count=1 [u0]")
	fifth.in.take()
	fifth.join("room", WatchList)
	fifth.hears("joined room authenticated seq=7 count=2 [u0 u4<new@x>]")
	lists.hears("presence room seq=7 count=2 +u4<new@x>")
}

func TestNamesAfterAChangeOfTheRules(t *testing.T) {
	w := newWorld(t, &Rules{MaxNames: 4})
	crowd := w.filled(4)
	watcher := crowd[0]
	watcher.join("room", WatchList)
	forget(watcher)
	reload := func(limit int, class Class, want ...string) {
		t.Helper()
		w.host().SetRules(&Rules{MaxNames: limit, Classifier: classes{"room": class}})
		watcher.hears(want...)
	}
	named, counted, open := Class{Kind: Authenticated}, Class{Kind: Authenticated, CountOnly: true}, Class{Kind: Anonymous}
	reload(3, named, "presence room seq=1 count=4 names=false")
	reload(8, named)
	reload(9, named, "presence room seq=2 count=4 names=true")
	watcher.join("room", WatchList)
	forget(watcher)
	reload(3, named, "presence room seq=3 count=4 names=false")
	reload(3, open, "presence room seq=4 count=4 kind=anonymous")
	reload(3, named, "presence room seq=5 count=4 kind=authenticated names=false")
	reload(3, counted)
	reload(9, named, "presence room seq=6 count=4 names=true")
	reload(9, open, "presence room seq=7 count=4 kind=anonymous -u0 -u1 -u2 -u3")
	reload(3, counted, "presence room seq=8 count=4 kind=authenticated")
	reload(3, named, "presence room seq=9 count=4 names=false")
	reload(0, named, "presence room seq=10 count=4 names=true")
}

// Each pod counts the members of all pods that it knows of.
func TestNamesOverPods(t *testing.T) {
	w := newWorld(t, &Rules{MaxNames: 2})
	w.reg.Pods().SetRelay(new(wires))
	ann := w.connect("ann")
	ann.join("room", WatchList)
	pods := w.reg.Pods()
	pods.Ready(w.name, "room")
	forget(ann)
	others := []Member{{User: User{ID: "bob"}}, {User: User{ID: "eve"}}}
	pods.MergeDelta(w.name, "room", "web-2", Delta{Clock: 1, Joined: others, Conns: 2})
	ann.hears("presence room seq=1 count=3 names=false")
	pods.MergeDelta(w.name, "room", "web-2", Delta{Clock: 2, Base: 1, Left: []Departure{{ID: "bob"}, {ID: "eve"}}})
	ann.hears("presence room seq=2 count=1 names=false") // half of the bound, not below
	w.host().SetRules(&Rules{MaxNames: 3})
	ann.hears("presence room seq=3 count=1 names=true")
	equalLines(t, "endpoints", w.channels(PerUser), []string{"room [ann]"})
}

// longTexts is a tape for which every user has 7 KiB.
type longTexts struct{ *tape }

const longText = 7 << 10

func (e longTexts) Members(users []View, hide Fields) []byte {
	return append(e.put(slices.Clone(users)), make([]byte, longText*len(users))...)
}

func (e longTexts) Presence(d Diff) []byte {
	return append(e.put(d), make([]byte, longText*(len(d.Joined)+len(d.Left)+len(d.Updated)))...)
}

func TestNamesEndWithALongList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{MaxNames: 10_000})
		w.reg = NewRegistry(longTexts{w.tape})
		const most = maxList / longText
		crowd := w.filled(most + 20)
		counts := crowd[0]
		counts.join("room", WatchCount)
		forget(counts)
		w.filled(1)[0].join("room", WatchList) // the list would be too long
		synctest.Wait()
		time.Sleep(maxFlushWait)
		synctest.Wait()
		counts.hears(fmt.Sprintf("presence room seq=1 count=%d names=false", most+20))
		back := 0 // number of members when names are there again
		for i := len(crowd) - 1; i > shortList; i-- {
			crowd[i].leave("room")
			for _, line := range counts.heard() {
				if strings.HasSuffix(line, "names=true") {
					back = i
				}
			}
		}
		if back >= most/2 || back < most/2-most/16 { // it is measured after an eighth of a half has changed
			t.Errorf("names return with %d members, want less than %d", back, most/2)
		}

		// All members of a channel that becomes authenticated do not fit into a frame.
		w.host().SetRules(&Rules{Classifier: classes{"room": {Kind: Anonymous}}})
		for i := range most + 5 {
			c := w.connect(fmt.Sprintf("v%d", i))
			c.join("room", WatchNone)
		}
		time.Sleep(maxFlushWait)
		synctest.Wait()
		forget(counts)
		w.host().SetRules(&Rules{Classifier: classes{"room": {Kind: Authenticated}}})
		if got := counts.heard(); len(got) != 1 || !strings.HasSuffix(got[0], "kind=authenticated names=false") {
			t.Errorf("got %.300q", got)
		}
	})
}

// bytesIn is an Outbox that counts.
type bytesIn struct{ bytes, frames atomic.Int64 }

func (in *bytesIn) Push(frame []byte) {
	in.bytes.Add(int64(len(frame)))
	in.frames.Add(1)
}
func (in *bytesIn) Queue(frames []byte, _ int) bool { in.Push(frames); return false }
func (in *bytesIn) Flush()                          {}

// sized is an Encoder whose frames have about the bytes that users take in JSON.
type sized struct{ fixed }

func (sized) Members(users []View, _ Fields) []byte { return make([]byte, 40*len(users)) }
func (sized) Joined(j Joined) []byte                { return make([]byte, 100+len(j.Members)) }
func (sized) Presence(d Diff) []byte {
	return make([]byte, 100+40*(len(d.Joined)+len(d.Left)+len(d.Updated)))
}

// Members come and go around the bound, with 100 watchers, of which one joins again with each 100th
// change. What a watcher receives, and what a change costs, is bounded.
func BenchmarkNames(b *testing.B) {
	const members = 20_000
	for _, bb := range []struct {
		name          string
		limit, spread int // spread: how many leave and return
	}{
		{"far below the bound", 10 * members, 200},
		{"at the bound", members - 100, 200},
		{"far above the bound", members / 10, 200},
		{"between the bound and half of it", members - 1, members/2 + 10},
	} {
		b.Run(bb.name, func(b *testing.B) {
			reg := NewRegistry(sized{})
			name, _ := ParseHostName("example.com")
			rules, in := &Rules{MaxNames: bb.limit}, new(bytesIn)
			conns := make([]*Conn, members)
			for i := range conns {
				conns[i], _ = reg.Connect(name, rules, &User{ID: fmt.Sprintf("user%d", i)}, in)
				_ = conns[i].Join("room", WatchNone, "")
			}
			for _, c := range conns[:100] {
				_ = c.Join("room", WatchList, "")
			}
			in.bytes.Store(0)
			b.ResetTimer()
			for n := 0; b.Loop(); n++ {
				c := conns[members-1-n%bb.spread]
				if n/bb.spread%2 == 0 {
					_ = c.Leave("room", "")
				} else {
					_ = c.Join("room", WatchNone, "")
				}
				if n%100 == 0 {
					_ = conns[n/100%100].Join("room", WatchList, "")
				}
			}
			b.ReportMetric(float64(in.bytes.Load())/float64(b.N), "B/change")
		})
	}
}
