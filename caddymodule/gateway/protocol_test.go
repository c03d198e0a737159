package gateway

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
)

// coded is a protocol whose clients know close codes only.
type coded struct {
	Native
	codes *codeLog
	gone  bool // no site serves it
}

// codeLog has the codes of closes, with their times.
type codeLog struct {
	mu    sync.Mutex
	codes []int
	times []time.Time
}

func (coded) KnowsCodesOnly() bool        { return true }
func (p coded) Serves(of *site.Site) bool { return !p.gone }

func (p coded) Translate(code int, reason string) (sent int, why string, before []byte) {
	p.codes.mu.Lock()
	defer p.codes.mu.Unlock()
	p.codes.codes, p.codes.times = append(p.codes.codes, code), append(p.codes.times, time.Now())
	return code, reason, nil
}

// Clients that cannot be told when to come back are closed one after the other: 2,000 a second, or
// as fast as the drain timeout demands, the second half with a code that lets them pause.
func TestPacedDrain(t *testing.T) {
	for _, test := range []struct {
		conns         int
		timeout, last time.Duration // when the last one is closed
		warns         bool
	}{
		{10_000, 6 * time.Second, 5 * time.Second, false},
		{10_000, 3 * time.Second, 2250 * time.Millisecond, true},
		{1000, 3 * time.Second, 500 * time.Millisecond, false},
		{1, time.Millisecond, 0, false},
	} {
		t.Run(fmt.Sprint(test.conns, " in ", test.timeout), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, st, log := newTestHub(t), testSite(), new(codeLog)
				var sessions []*Session
				for range test.conns {
					s := enter(t, h, "portal.example.com", st, "ada")
					s.protocol = coded{codes: log}
					sessions = append(sessions, s)
				}
				core, logs := observer.New(zap.WarnLevel)
				start := time.Now()
				h.closePaced(&drain{last: &Configuration{DrainTimeout: test.timeout, Logger: zap.New(core)}, deadline: start.Add(test.timeout)}, sessions)
				synctest.Wait()
				if len(log.codes) != test.conns {
					t.Fatalf("%d of %d are closed", len(log.codes), test.conns)
				}
				half := test.conns / 2
				if n := slices.Index(log.codes, socket.CloseUnavailable); n != half || slices.Contains(log.codes[half:], socket.CloseReconnect) {
					t.Errorf("the second half begins at %d of %d", n, test.conns)
				}
				if last := log.times[test.conns-1].Sub(start); last > test.last || last < test.last-2*paceTick {
					t.Errorf("the last one is closed after %s, want %s", last, test.last)
				}
				inOne := 0
				for from, to := 0, 0; to < test.conns; to++ {
					for log.times[to].Sub(log.times[from]) >= time.Second {
						from++
					}
					inOne = max(inOne, to-from+1)
				}
				if most := max(test.conns, 1) * int(time.Second) / int(max(test.last, time.Second)); inOne > most+most/50+20 {
					t.Errorf("%d are closed in one second, want at most %d", inOne, most)
				}
				if warned := logs.FilterMessageSnippet("drain timeout").Len() > 0; warned != test.warns {
					t.Errorf("warned is %t", warned)
				}
				if err := h.Destruct(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A reload closes the connections whose protocol the site no longer serves, and no others.
func TestReloadClosesWhatTheSiteNoLongerServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, st := newTestHub(t), testSite()
		kept, gone := new(codeLog), new(codeLog)
		var sessions []*Session
		for i := range 10 {
			s := enter(t, h, "portal.example.com", st, "ada")
			s.protocol = coded{codes: kept}
			if i%2 > 0 {
				s.protocol = coded{codes: gone, gone: true}
			}
			sessions = append(sessions, s)
		}
		h.closeUnserved(sessions[0].Host(), st)
		synctest.Wait()
		if len(kept.codes) > 0 || !slices.Equal(gone.codes, slices.Repeat([]int{socket.CloseGoingAway}, 5)) {
			t.Errorf("closed with %v, and of the others with %v", gone.codes, kept.codes)
		}
		if err := h.Destruct(); err != nil {
			t.Error(err)
		}
	})
}
