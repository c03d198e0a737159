package presence

import (
	"testing"
	"testing/synctest"
	"time"
)

// step does one random thing.
func (m *model) step() {
	if len(m.clients) == 0 {
		m.connect()
		return
	}
	i := m.rng.IntN(len(m.clients))
	c, channel := m.clients[i], modelChannels[m.rng.IntN(len(modelChannels))]
	switch n := m.rng.IntN(100); {
	case n < 8:
		if len(m.clients) < 250 {
			m.connect()
		}
	case n < 14:
		m.close(i)
	case n < 20:
		m.reconnect(i)
	case n < 26:
		m.assign(c, channel)
	case n < 29:
		m.unassign(c, channel)
	case n < 50:
		m.join(c, channel, Watch(m.rng.IntN(3)))
	case n < 60:
		m.enterSigned(c, channel, Watch(m.rng.IntN(3)))
	case n < 79:
		m.leave(c, channel)
	case n < 85:
		m.send(c)
	case n < 91:
		m.setStatus(c)
	case n < 98:
		m.authenticate(c)
	default:
		m.reload()
	}
}

// After everything was flushed, host, model and the views of all watchers are equal, and each frame
// follows from the frames before it.
func TestHostAgreesWithTheModel(t *testing.T) {
	tests := []struct {
		name         string
		seeds, steps int
		users        int
		crowd        int // connections that watch from the start, so that the channel is busy
	}{
		{"few connections", 100, 400, 4, 0},
		{"busy channel", 12, 300, 150, 130},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range tt.seeds {
				if t.Failed() {
					return
				}
				synctest.Test(t, func(t *testing.T) {
					m := newModel(t, uint64(seed), tt.users)
					for range tt.crowd {
						m.join(m.connect(), "crowd", WatchList)
					}
					for step := range tt.steps {
						m.step()
						if m.rng.IntN(8) == 0 {
							m.checkEncoded()
						}
						switch m.rng.IntN(20) {
						case 0:
							time.Sleep(statusPause + maxFlushWait)
							synctest.Wait()
							m.check()
						case 1, 2:
							time.Sleep(time.Duration(m.rng.IntN(int(5 * time.Millisecond))))
						}
						if t.Failed() {
							t.Fatalf("seed %d, step %d", seed, step)
						}
					}
					for len(m.clients) > 0 {
						m.close(m.rng.IntN(len(m.clients)))
					}
					m.check()
				})
			}
		})
	}
}
