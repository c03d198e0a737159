package breaker

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestThePauseDoublesUpToAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Breaker
		var n uint64
		open := func() (pause time.Duration) {
			t.Helper()
			for range failures {
				if _, err := b.Admit(); err != nil {
					t.Fatalf("call %d: %v", n, err)
				}
				n++
				pause = b.RecordFailure(n, false)
			}
			return pause
		}
		pause := open()
		for _, seconds := range []float64{1, 2, 4, 8, 16, 32, 60, 60, 60} {
			if pause.Seconds() != seconds {
				t.Fatalf("paused for %v, want %v s", pause, seconds)
			}
			time.Sleep(pause - time.Nanosecond)
			if _, err := b.Admit(); err == nil {
				t.Fatalf("a call was let through before %v had passed", pause)
			}
			time.Sleep(time.Nanosecond)
			if probe, err := b.Admit(); !probe || err != nil {
				t.Fatalf("after %v: %v, %v", pause, probe, err)
			}
			if _, err := b.Admit(); err == nil {
				t.Fatal("a second call was let through in addition to the probe")
			}
			n++
			pause = b.RecordFailure(n, true)
		}
		// A successful probe restores the first pause.
		time.Sleep(pause)
		if probe, err := b.Admit(); !probe || err != nil {
			t.Fatal(probe, err)
		}
		n++
		b.Reset(n)
		if pause := open(); pause != time.Second {
			t.Errorf("paused for %v after it worked again", pause)
		}
	})
}
