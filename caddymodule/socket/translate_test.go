package socket

import (
	"testing"
	"testing/synctest"
	"time"
)

// foreign is the handler of a protocol with codes of its own.
type foreign struct{ *recorder }

func (foreign) Translate(code int, reason string) (sent int, why string, before []byte) {
	return 4900 + code%100, "so: " + reason, Text(func(b []byte) []byte { return append(b, "before"...) })
}

// A protocol has close codes of its own: the peer receives them, after the frame that goes before,
// and the cause has the code that was sent.
func TestTranslate(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(t *testing.T, c *Conn)
		want Cause
		why  string
	}{
		{"closed by the server", func(_ *testing.T, c *Conn) {
			c.Close(CloseDisconnected, "disconnected", Cause{Reason: ReasonDisconnected})
		}, Cause{ReasonDisconnected, 4902}, "so: disconnected"},
		{"silent", onWheelOf, Cause{ReasonSilent, 4901}, "so: no sign of life"},
		{"too slow", func(_ *testing.T, c *Conn) {
			for range 3 {
				c.Queue(make([]byte, 600<<10), 1)
			}
			c.Flush()
		}, Cause{ReasonSlow, 4900}, "so: too slow"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newRecorder()
				h.limits.TellSilent, h.limits.Ping = true, time.Hour
				p, client := fake(t, h)
				p.handler = h
				p.Conn.handler = foreign{h}
				go test.end(t, p.Conn)
				first, err := readFrame(client)
				if err != nil || first.payload != "before" {
					t.Fatalf("the first frame is %q: %v", first.payload, err)
				}
				last, err := readFrame(client)
				if err != nil || last.payload[2:] != test.why {
					t.Errorf("the last frame is %q: %v", last.payload, err)
				}
				client.Close()
				p.ends(t, test.want)
			})
		})
	}
}

func onWheelOf(t *testing.T, c *Conn) {
	w := NewWheel(100 * time.Millisecond)
	t.Cleanup(w.Stop)
	w.mu.Lock()
	w.spareUntil = now() // faked time is before the process began
	w.mu.Unlock()
	w.Add(c)
}

// Without a code for it, a silent peer receives none.
func TestSilentPeersOfOurProtocolAreNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRecorder()
		h.limits.Ping = time.Hour
		p, client := fake(t, h)
		onWheel(t, p)
		if f, err := readFrame(client); err == nil {
			t.Errorf("it receives %q", f.payload)
		}
		p.ends(t, Cause{Reason: ReasonSilent})
	})
}
