package socket

import (
	"testing"
	"time"
)

// event is what happens to a machine and its clocks, in this order.
type event struct {
	run   time.Duration // the wheel turns
	still time.Duration // the process gets no time
	step  time.Duration // of the wall clock: it is set, or the machine sleeps
}

func TestWheelExpiresLogins(t *testing.T) {
	const tick, limit = 100 * time.Millisecond, 3 * time.Hour
	tests := []struct {
		name   string
		expiry time.Duration // by the wall clock at the begin
		events []event
		want   time.Duration // since the begin, by a clock that nobody sets
	}{
		{"at its time", 10 * time.Minute, nil, 10 * time.Minute},
		{"over before", -time.Second, nil, 0},
		{"soon", 150 * time.Millisecond, nil, 150 * time.Millisecond},
		{"over while the machine slept", time.Hour, []event{{run: time.Minute, step: 8 * time.Hour}}, time.Minute},
		{"after the machine slept", time.Hour, []event{{run: time.Minute, step: 58 * time.Minute}}, 2 * time.Minute},
		{"clock set forward", time.Hour, []event{{run: time.Minute, step: time.Hour}}, time.Minute},
		{"clock set back", time.Hour, []event{{run: time.Minute, step: -24 * time.Hour}}, time.Hour},
		{"clock set back and right again", time.Hour, []event{{run: time.Minute, step: -time.Hour}, {run: time.Minute, step: time.Hour}}, time.Hour},
		{"clock set back and then forward", 2 * time.Hour, []event{{run: time.Minute, step: -time.Hour}, {run: time.Minute, step: 2 * time.Hour}}, time.Hour},
		{"over while the process stood still", 10 * time.Second, []event{{run: time.Second, still: 20 * time.Second}}, 21 * time.Second},
		{"after the process stood still", 24 * time.Second, []event{{run: time.Second, still: 20 * time.Second}}, 24 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newRecorder()
			w := &Wheel{tick: tick, slots: make([]*Conn, wheelSlots)}
			conn := &Conn{slot: -1, handler: h}
			now, wall := time.Hour, 20000*24*time.Hour
			begin := now
			turn := func() (ended bool) {
				conn.heard.Store(now.Milliseconds())
				_, _, expired := w.turn(now.Milliseconds(), wall.Milliseconds())
				return len(expired) > 0
			}
			turn()
			w.mu.Lock()
			w.insert(conn, h.limits, h.limits.Ping, now.Milliseconds())
			w.mu.Unlock()
			w.expire(conn, time.UnixMilli(0).Add(wall+tt.expiry), now.Milliseconds(), wall.Milliseconds())

			var ended bool
			run := func(d time.Duration) {
				for end := now + d; !ended && now < end; {
					now, wall = now+tick, wall+tick
					ended = turn()
				}
			}
			for _, e := range tt.events {
				run(e.run)
				now, wall = now+e.still, wall+e.still+e.step
			}
			run(limit)
			if lasted := now - begin; !ended || lasted < tt.want || lasted > tt.want+3*tick {
				t.Errorf("ended: %v, after %s, want %s", ended, lasted, tt.want)
			}
			ended = false
			if run(time.Minute); ended {
				t.Error("it ended twice")
			}
		})
	}
}

func TestWheelExpiresByTheLastLogin(t *testing.T) {
	const start = 1000
	h := newRecorder()
	w := &Wheel{tick: 100 * time.Millisecond, slots: make([]*Conn, wheelSlots)}
	conn := &Conn{slot: -1, handler: h}
	w.expire(conn, time.UnixMilli(start+1000), start, start) // before the connection is on the wheel
	w.mu.Lock()
	w.insert(conn, h.limits, h.limits.Ping, start)
	w.mu.Unlock()
	w.expire(conn, time.UnixMilli(start+60_000), start, start)
	w.expire(conn, time.UnixMilli(start+30_000), start, start)
	now := int64(start)
	run := func(until int64) (ended bool) {
		for !ended && now < until {
			now += 100
			conn.heard.Store(now)
			_, _, expired := w.turn(now, now)
			ended = len(expired) > 0
		}
		return ended
	}
	if run(start + 29_900) {
		t.Fatalf("it ended after %d ms, want 30000", now-start)
	}
	w.expire(conn, time.Time{}, now, now)
	if run(start + 600_000) {
		t.Errorf("it ended after %d ms, and its last login has no end", now-start)
	}
}
