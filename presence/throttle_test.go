package presence

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// meter is an Outbox that counts frames, and records when the last join was answered.
type meter struct {
	tape               *tape
	answers, diffs     int
	answeredAt, heldAt time.Time
}

func (m *meter) Queue(frame []byte, _ int) bool { m.Push(frame); return false }

func (m *meter) Flush() {}

func (m *meter) Push(frame []byte) {
	switch m.tape.get(frame).(type) {
	case Joined:
		m.answers++
		m.answeredAt = time.Now()
	case Diff:
		m.diffs++
	}
}

// crowd makes n users join the room as watchers, with a pause before each. It returns their meters.
func (w *world) crowd(n int, watch Watch, pause time.Duration) []*meter {
	w.t.Helper()
	meters := make([]*meter, n)
	for i := range meters {
		time.Sleep(pause)
		meters[i] = &meter{tape: w.tape, heldAt: time.Now()}
		c, err := w.reg.Connect(w.name, w.rules, &User{ID: fmt.Sprintf("crowd%d", i)}, meters[i])
		if err != nil {
			w.t.Fatal(err)
		}
		if err := c.Join("room", watch, ""); err != nil {
			w.t.Fatal(err)
		}
	}
	return meters
}

// sum adds up the frames of a crowd, and resets the meters.
func sum(meters []*meter) (answers, diffs int) {
	for _, m := range meters {
		answers += m.answers
		diffs += m.diffs
		m.answers, m.diffs = 0, 0
	}
	return answers, diffs
}

// settle waits until everything was flushed.
func settle() {
	time.Sleep(maxFlushWait)
	synctest.Wait()
}

func TestCrowdThatJoinsAtOnceCostsFarLessThanItsSquare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 2000
		w := newWorld(t, &Rules{})
		meters := w.crowd(n, WatchList, 0)
		settle()
		// The first 99 joins do not wait, and each is flushed to those before. All others are in
		// one more frame.
		const atOnce = int(minFlushWait/flushCostPerWatcher) - 1
		want := atOnce*(atOnce-1)/2 + atOnce
		answers, diffs := sum(meters)
		if answers != n || diffs != want {
			t.Errorf("%d answers and %d presence frames, want %d and %d", answers, diffs, n, want)
		}
		for i, m := range meters {
			if took := m.answeredAt.Sub(m.heldAt); took > minFlushWait {
				t.Fatalf("join %d was answered after %v", i, took)
			}
		}
	})
}

func TestCrowdThatTricklesInIsAnsweredSoonAndCheaply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			n     = 5000
			pause = 100 * time.Microsecond
		)
		w := newWorld(t, &Rules{})
		meters := w.crowd(n, WatchList, pause)
		settle()
		answers, diffs := sum(meters)
		// A channel that is flushed every flushCostPerWatcher*watchers sends at most 50,000 frames
		// a second, except while it has few watchers.
		most := int((n*pause + maxFlushWait) / flushCostPerWatcher)
		if answers != n || diffs > most {
			t.Errorf("%d answers and %d presence frames, want %d and at most %d (the square would be %d)",
				answers, diffs, n, most, n*n/2)
		}
		for i, m := range meters {
			if took := m.answeredAt.Sub(m.heldAt); took > maxFlushWait {
				t.Fatalf("join %d was answered after %v", i, took)
			}
		}
	})
}

func TestJoinersWaitNoLongerThanAQuarterSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		w.crowd(15_000, WatchCount, 0) // enough for 300 ms without the limit
		settle()
		time.Sleep(time.Second)
		first, second := w.connect("a"), w.connect("b")
		first.join("room", WatchCount) // the last flush is long ago, so nothing waits
		first.hears("joined room authenticated seq=100 count=15001")
		second.join("room", WatchCount)
		time.Sleep(maxFlushWait - 1)
		synctest.Wait()
		second.hears()
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		second.hears("joined room authenticated seq=101 count=15002")
	})
}

// lists returns the numbers of encoded lists and of encoded answers.
func (tp *tape) lists() (lists, answers int) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	for _, v := range tp.values {
		switch v.(type) {
		case []User:
			lists++
		case Joined:
			answers++
		}
	}
	return lists, answers
}

func TestListOfALargeChannelIsRarelyEncoded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			n     = 20_000
			every = 2 * time.Millisecond
			times = 500
		)
		w := newWorld(t, &Rules{})
		w.crowd(n, WatchNone, 0)
		greedy, other := w.connect("greedy"), w.connect("other")
		settle()
		before, _ := w.tape.lists()
		for i := range times {
			greedy.join("room", WatchList)
			if i%2 == 0 {
				other.join("room", WatchNone) // changes the list
			} else if err := other.Leave("room", ""); err != nil {
				t.Fatal(err)
			}
			time.Sleep(every)
		}
		settle()
		after, _ := w.tape.lists()
		// Two lists for each flush: one for the flush, and one for a join before it.
		if most := int(times*every/(n*flushCostPerMember)+1) * 2; after-before > most {
			t.Errorf("%d lists were made for %d joins, want at most %d", after-before, times, most)
		}
		if got := len(greedy.in.take()); got < times {
			t.Errorf("%d frames for %d joins", got, times)
		}
	})
}

func TestEqualAnswersAreEncodedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 2000
		w := newWorld(t, &Rules{})
		w.crowd(1000, WatchList, 0)
		settle()
		_, before := w.tape.lists()
		w.crowd(n, WatchList, 0) // all joins wait for one flush
		settle()
		if _, after := w.tape.lists(); after-before > n/100 {
			t.Errorf("%d answers were made for %d joins with the same reference", after-before, n)
		}
	})
}
