package socket

import (
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pings records when a server's pings arrived.
type pings struct {
	mu    sync.Mutex
	times []time.Time
}

func (p *pings) came() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.times)
}

// answer reads and answers the pings, until the connection ends.
func (p *pings) answer(client net.Conn) {
	for {
		f, err := readFrame(client)
		if err != nil {
			return
		}
		if f.head == finPing {
			p.mu.Lock()
			p.times = append(p.times, time.Now())
			p.mu.Unlock()
			if _, err := client.Write(clientFrame(finPong, f.payload)); err != nil {
				return
			}
		}
	}
}

func TestWheelPingsEverybodyOnceAnInterval(t *testing.T) {
	for _, interval := range []time.Duration{
		150 * time.Millisecond, time.Second, 25 * time.Second, 51200 * time.Millisecond, 3 * time.Minute,
	} {
		t.Run(interval.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const conns, rounds, tick = 60, 5, 100 * time.Millisecond
				w := NewWheel(tick)
				defer w.Stop()
				h := newRecorder()
				h.limits.Ping, h.limits.Silence = interval, interval+10*time.Second
				got := make([]pings, conns)
				added := make([]time.Time, conns)
				var peers []*peer
				for i := range conns {
					p, client := fake(t, h)
					peers = append(peers, p)
					added[i] = time.Now()
					w.Add(p.Conn)
					go got[i].answer(client)
					time.Sleep(rand.N(2 * tick)) // at any moment between two ticks
				}
				time.Sleep(rounds * interval)
				synctest.Wait()
				for i, p := range peers {
					if p.counters.Open.Load() != 1 {
						t.Fatalf("connection %d was dropped", i)
					}
					times := got[i].came()
					if len(times) == 0 {
						t.Fatalf("connection %d was never pinged", i)
					}
					if first := times[0].Sub(added[i]); first < interval/2-2*tick || first > interval+2*tick {
						t.Errorf("connection %d: the first ping came after %s", i, first)
					}
					for k := 1; k < len(times); k++ {
						if gap := times[k].Sub(times[k-1]); gap < interval-2*tick || gap > interval+2*tick {
							t.Errorf("connection %d: ping %d came after %s, want %s", i, k, gap, interval)
						}
					}
				}
				for _, p := range peers {
					w.Remove(p.Conn)
					p.Kill()
				}
				synctest.Wait()
			})
		})
	}
}

func TestWheelSpreadsTheFirstPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWheel(100 * time.Millisecond)
		defer w.Stop()
		h := newRecorder()
		conns := make([]Conn, 1000)
		slots := make(map[int16]int)
		for i := range conns {
			conns[i].slot = -1
			conns[i].handler = h
			conns[i].recordSign()
			w.Add(&conns[i])
			slots[conns[i].slot]++
		}
		for slot, n := range slots {
			if n > 60 { // 1,000 in 125 slots: 8 on average
				t.Errorf("%d of 1,000 are in slot %d", n, slot)
			}
		}
	})
}

func TestWheelRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWheel(100 * time.Millisecond)
		h := newRecorder()
		h.limits.Ping = time.Second
		const conns = 30
		got := make([]pings, conns)
		var peers []*peer
		for i := range conns {
			p, client := fake(t, h)
			peers = append(peers, p)
			w.Add(p.Conn)
			go got[i].answer(client)
		}
		time.Sleep(1500 * time.Millisecond)
		for i, p := range peers {
			if i%3 != 0 {
				w.Remove(p.Conn)
				w.Remove(p.Conn) // does nothing
			}
		}
		synctest.Wait()
		before := make([]int, conns)
		for i := range got {
			before[i] = len(got[i].came())
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		for i := range got {
			came := len(got[i].came()) - before[i]
			if removed := i%3 != 0; (removed && came != 0) || (!removed && came < 2) {
				t.Errorf("connection %d: %d pings, removed %v", i, came, removed)
			}
		}
		for _, p := range peers {
			w.Remove(p.Conn)
		}
		w.mu.Lock()
		for i, first := range w.slots {
			if first != nil {
				t.Errorf("slot %d holds a connection", i)
			}
		}
		w.mu.Unlock()
		for i, p := range peers {
			if p.prev != nil || p.next != nil || p.slot != -1 {
				t.Errorf("connection %d is linked", i)
			}
			p.Kill()
		}
		w.Stop()
		synctest.Wait()
	})
}

// A wheel that is late for a while, because the process was suspended, forgets no connection.
func TestWheelThatIsLate(t *testing.T) {
	const tick = 100 * time.Millisecond
	w := &Wheel{tick: tick, slots: make([]*Conn, wheelSlots)}
	h := newRecorder()
	conns := make([]Conn, 200)
	const start = 1000
	for i := range conns {
		conns[i].slot, conns[i].handler = -1, h
		conns[i].lastSign.Store(start)
		w.mu.Lock()
		w.insert(&conns[i], h.limits, rand.N(25*time.Second), start)
		w.mu.Unlock()
	}
	pinged := make(map[*Conn]bool)
	for i := range 250 {
		late := time.Duration(0)
		if i > 100 {
			late = 3 * time.Second
		}
		due, silent, _ := w.turn(start+(time.Duration(i)*tick+tick/2+late).Milliseconds(), 0)
		for _, c := range due {
			pinged[c] = true
		}
		if len(silent) > 0 {
			t.Fatalf("turn %d drops %d connections", i, len(silent))
		}
	}
	if len(pinged) != len(conns) {
		t.Errorf("%d of %d were pinged in their first interval", len(pinged), len(conns))
	}
}

// event is something that happens to a machine and its clocks, in this order.
type event struct {
	run   time.Duration // the wheel turns
	still time.Duration // the process is suspended
	step  time.Duration // step of the wall clock: it is set, or the machine sleeps
}

func TestWheelExpiresLogins(t *testing.T) {
	const tick, limit = 100 * time.Millisecond, 3 * time.Hour
	tests := []struct {
		name   string
		expiry time.Duration // by the wall clock, from the start
		events []event
		want   time.Duration // from the start, by the monotonic clock
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
				conn.lastSign.Store(now.Milliseconds())
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
			conn.lastSign.Store(now)
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

func BenchmarkWheelTurn(b *testing.B) {
	w := &Wheel{tick: 100 * time.Millisecond, slots: make([]*Conn, wheelSlots)}
	h := newRecorder()
	conns := make([]Conn, 100_000)
	now := int64(1)
	for i := range conns {
		conns[i].slot, conns[i].handler = -1, h
		w.insert(&conns[i], h.limits, rand.N(25*time.Second), now)
	}
	b.ReportAllocs()
	for b.Loop() {
		now += w.tick.Milliseconds()
		pinged, silent, _ := w.turn(now, now)
		for _, c := range append(pinged, silent...) {
			c.lastSign.Store(now)
		}
	}
}
