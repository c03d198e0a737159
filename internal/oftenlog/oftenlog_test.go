package oftenlog

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestOneLineInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limit
		const pause = 10 * time.Second
		steps := []struct {
			after   time.Duration
			also    bool
			skipped int
			ok      bool
		}{
			{0, true, 0, true},
			{0, true, 0, false},
			{pause - 1, true, 0, false},
			{1, true, 2, true},
			{pause, false, 0, false}, // the other limit is reached
			{0, true, 1, true},       // no pause is started
			{0, true, 0, false},
			{pause, true, 1, true},
			{pause, true, 0, true},
		}
		for i, s := range steps {
			time.Sleep(s.after)
			asked := false
			skipped, ok := l.AllowIf(pause, func() bool { asked = true; return s.also })
			if skipped != s.skipped || ok != s.ok {
				t.Errorf("step %d: %d skipped, %t, want %d, %t", i, skipped, ok, s.skipped, s.ok)
			}
			if asked != (s.ok || !s.also) {
				t.Errorf("step %d: also was asked: %t", i, asked)
			}
		}
		if _, ok := l.Allow(pause); ok {
			t.Error("Allow has no limit")
		}
	})
}
