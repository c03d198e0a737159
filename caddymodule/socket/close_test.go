package socket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

func TestCloseByThePeer(t *testing.T) {
	for _, test := range []struct {
		name   string
		sent   []byte
		answer string
		code   int
	}{
		{"normal", clientClose(1000), "\x03\xe8", 1000},
		{"with a reason", clientFrame(finClose, "\x03\xe9bye"), "\x03\xe9", 1001},
		{"private code", clientClose(4999), "\x13\x87", 4999},
		{"no status", clientFrame(finClose, ""), "", CloseNoStatus},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, client := fake(t, newRecorder())
				if _, err := client.Write(test.sent); err != nil {
					t.Fatal(err)
				}
				got := readFrames(client)
				if len(got) != 1 || got[0] != (frame{finClose, test.answer}) {
					t.Errorf("the peer got %q, want its close frame back with %q", got, test.answer)
				}
				synctest.Wait()
				p.ends(t, Cause{ReasonClient, test.code})
			})
		})
	}
}

func TestCloseByThePeerComesBehindWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, client := fake(t, newRecorder())
		unread(p)
		p.Push(text("waits"))
		if _, err := client.Write(clientClose(1000)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := []frame{{finText, "being written"}, {finText, "waits"}, {finClose, "\x03\xe8"}}
		if got := readFrames(client); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the peer got %q, want %q", got, want)
		}
		p.ends(t, Cause{ReasonClient, 1000})
	})
}

func TestCloseByTheServer(t *testing.T) {
	cause := Cause{Reason: ReasonDrain}
	want := Cause{ReasonDrain, CloseRestart}

	t.Run("the peer answers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newRecorder()
			p, client := fake(t, h)
			start := time.Now()
			p.Push(text("last"))
			p.Close(CloseRestart, RestartReason(7), cause)
			p.Close(CloseGoingAway, "again", Cause{Reason: ReasonHost})
			p.Push(text("too late"))
			for _, want := range []frame{{finText, "last"}, {finClose, "\x03\xf4{\"after_ms\":7}"}} {
				if got, err := readFrame(client); err != nil || got != want {
					t.Errorf("the peer got %q, error %v, want %q", got, err, want)
				}
			}
			// Messages that cross the close frame are not delivered: Closed was already called.
			for _, sent := range [][]byte{clientFrame(finText, "crossing"), clientClose(CloseRestart)} {
				if _, err := client.Write(sent); err != nil {
					t.Fatal(err)
				}
			}
			if rest := readFrames(client); len(rest) > 0 {
				t.Errorf("after the close frame came %q", rest)
			}
			synctest.Wait()
			p.ends(t, want)
			if time.Since(start) != 0 || len(h.received()) > 0 {
				t.Errorf("it took %s, and the handler got %q", time.Since(start), h.received())
			}
		})
	})
	t.Run("the peer reads and never answers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, client := fake(t, newRecorder())
			start := time.Now()
			p.Close(CloseRestart, "", cause)
			synctest.Wait()
			if got := p.handler.closed(); len(got) != 1 {
				t.Errorf("Closed waits for the peer: %+v", got)
			}
			if got := readFrames(client); len(got) != 1 {
				t.Errorf("the peer got %q", got)
			}
			if took := time.Since(start); took > 2*closeTimeout {
				t.Errorf("the connection was held for %s", took)
			}
			synctest.Wait()
			p.ends(t, want)
		})
	})
	t.Run("the peer does not read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, _ := fake(t, newRecorder())
			unread(p)
			start := time.Now()
			p.Close(CloseRestart, "", cause)
			for p.counters.Open.Load() > 0 {
				time.Sleep(10 * time.Millisecond)
			}
			if took := time.Since(start); took > 2*closeTimeout+20*time.Millisecond {
				t.Errorf("the connection was held for %s", took)
			}
			p.ends(t, want)
		})
	})
	t.Run("the peer keeps sending", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, client := fake(t, newRecorder())
			go io.Copy(io.Discard, client)
			start := time.Now()
			p.Close(CloseRestart, "", cause)
			for {
				if _, err := client.Write(clientFrame(finPing, "")); err != nil {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			if took := time.Since(start); took > 3*closeTimeout {
				t.Errorf("the connection was held for %s", took)
			}
			synctest.Wait()
			p.ends(t, want)
		})
	})
	t.Run("before it started", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			defer near.Close()
			p := &peer{Conn: over(t, far), handler: newRecorder()}
			p.Handle(p.handler, &p.counters, testLoop)
			p.Close(CloseGoingAway, "", Cause{Reason: ReasonHost})
			p.Start()
			if got := readFrames(near); len(got) != 1 || got[0].head != finClose {
				t.Errorf("the peer got %q", got)
			}
			synctest.Wait()
			p.ends(t, Cause{ReasonHost, CloseGoingAway})
		})
	})
}

func TestCloseCrossing(t *testing.T) {
	// Both sides close at once, many times: each sends one close frame, and Closed is called once
	// with one of the causes.
	for range 200 {
		h := newRecorder()
		near, far := net.Pipe()
		p := begin(over(t, far), h)
		var both sync.WaitGroup
		both.Go(func() { p.Close(CloseGoingAway, "", Cause{Reason: ReasonHost}) })
		both.Go(func() { near.Write(clientClose(1000)) })
		got := readFrames(near)
		both.Wait()
		testkit.Eventually(t, "the connection ends", func() bool { return p.counters.Open.Load() == 0 && len(h.closed()) > 0 })
		near.Close()
		if len(got) != 1 || got[0].head != finClose {
			t.Fatalf("the peer got %q", got)
		}
		causes := h.closed()
		if len(causes) != 1 || (causes[0] != Cause{ReasonHost, CloseGoingAway} && causes[0] != Cause{ReasonClient, 1000}) {
			t.Fatalf("Closed was called with %+v", causes)
		}
	}
}

func TestCloseWithoutACloseFrame(t *testing.T) {
	t.Run("end", func(t *testing.T) {
		p, client := connect(t, newRecorder())
		client.NetConn().Close()
		p.ends(t, Cause{Reason: ReasonReset})
	})
	t.Run("reset", func(t *testing.T) {
		p, client := connect(t, newRecorder())
		client.NetConn().(*net.TCPConn).SetLinger(0)
		client.NetConn().Close()
		p.ends(t, Cause{Reason: ReasonReset})
	})
	t.Run("end within a frame", func(t *testing.T) {
		p, client := connect(t, newRecorder())
		client.NetConn().Write(clientFrame(finText, "cut")[:8])
		client.NetConn().Close()
		p.ends(t, Cause{Reason: ReasonReset})
	})
	t.Run("Kill", func(t *testing.T) {
		p, client := connect(t, newRecorder())
		p.Kill()
		p.Kill()
		p.ends(t, Cause{Reason: ReasonReset})
		if _, _, err := client.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseAbnormalClosure) && !isNetError(err) {
			t.Errorf("the peer read the error %v", err)
		}
	})
	t.Run("Kill of one that is being written to", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, _ := fake(t, newRecorder())
			unread(p)
			p.Kill()
			synctest.Wait()
			p.ends(t, Cause{Reason: ReasonReset})
		})
	})
	t.Run("Kill after Close keeps the cause", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, _ := fake(t, newRecorder())
			p.Close(CloseRestart, "", Cause{Reason: ReasonDrain})
			p.Kill()
			synctest.Wait()
			p.ends(t, Cause{ReasonDrain, CloseRestart})
		})
	})
}

func isNetError(err error) bool {
	var network net.Error
	return errors.As(err, &network)
}

// onWheel puts a connection on a wheel of its own, in a bubble of testing/synctest.
func onWheel(t *testing.T, p *peer) {
	w := NewWheel(100 * time.Millisecond)
	t.Cleanup(w.Stop)
	w.mu.Lock()
	w.spareUntil = now() // faked time is before the process began
	w.mu.Unlock()
	w.Add(p.Conn)
}

func TestSilence(t *testing.T) {
	t.Run("over TCP", func(t *testing.T) {
		h := newRecorder()
		h.limits.Silence = 50 * time.Millisecond
		p, _ := connect(t, h)
		w := NewWheel(10 * time.Millisecond)
		defer w.Stop()
		w.Add(p.Conn)
		p.ends(t, Cause{Reason: ReasonSilent})
		w.Remove(p.Conn)
	})
	t.Run("not while something comes", func(t *testing.T) {
		h := newRecorder()
		h.limits.Ping, h.limits.Silence = 50*time.Millisecond, 300*time.Millisecond
		p, client := connect(t, h)
		w := NewWheel(10 * time.Millisecond)
		defer w.Stop()
		w.Add(p.Conn)
		go func() { // ends with the connection; it answers pings
			for {
				if _, _, err := client.ReadMessage(); err != nil {
					return
				}
			}
		}()
		testkit.Eventually(t, "20 pings are sent", func() bool { return p.counters.FramesOut.Load() >= 20 })
		if got := h.closed(); len(got) > 0 {
			t.Errorf("closed for %+v", got)
		}
		w.Remove(p.Conn)
	})
	t.Run("whatever comes ends it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newRecorder()
			p, client := fake(t, h)
			onWheel(t, p)
			go io.Copy(io.Discard, client)
			start := time.Now()
			for _, sent := range [][]byte{
				clientFrame(finText, "message"), clientFrame(finPing, "ping"), clientFrame(finPong, ""), clientFrame(finText, "again"),
			} {
				time.Sleep(h.Limits().Silence - time.Second)
				if _, err := client.Write(sent); err != nil {
					t.Fatalf("after %s: %v", time.Since(start), err)
				}
			}
			before := time.Now()
			for p.counters.Open.Load() > 0 {
				time.Sleep(100 * time.Millisecond)
			}
			if took := time.Since(before); took < h.Limits().Silence || took > h.Limits().Silence+time.Second {
				t.Errorf("dropped after %s, want %s", took, h.Limits().Silence)
			}
			p.ends(t, Cause{Reason: ReasonSilent})
		})
	})
	t.Run("not because the process stood still", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newRecorder()
			p, client := fake(t, h)
			w := &Wheel{tick: 100 * time.Millisecond, slots: make([]*Conn, wheelSlots), spareUntil: now()} // turned by the test
			w.Add(p.Conn)
			w.turn(now(), now())
			time.Sleep(2 * h.Limits().Silence)
			if _, err := client.Write(clientFrame(finText, "still here")); err != nil {
				t.Fatalf("the connection is gone: %v", err)
			}
			for range wheelSlots {
				if _, silent, _ := w.turn(now(), now()); len(silent) > 0 {
					t.Fatal("the wheel drops it")
				}
			}
			synctest.Wait()
			if len(h.received()) != 1 || len(h.closed()) > 0 {
				t.Errorf("received %q, closed %+v", h.received(), h.closed())
			}
			p.Kill()
			synctest.Wait()
		})
	})
	t.Run("half a frame does not", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newRecorder()
			h.limits.Ping, h.limits.Silence = 10*time.Second, messageTimeout-5*time.Second
			p, client := fake(t, h)
			onWheel(t, p)
			go io.Copy(io.Discard, client)
			start := time.Now()
			for _, b := range clientFrame(finText, strings.Repeat("slow", 30)) {
				if _, err := client.Write([]byte{b}); err != nil {
					break
				}
				time.Sleep(time.Second)
			}
			synctest.Wait()
			p.ends(t, Cause{Reason: ReasonSilent})
			if took := time.Since(start); took > h.Limits().Silence+time.Second {
				t.Errorf("dropped after %s", took)
			}
		})
	})
}

func TestGoroutinesEnd(t *testing.T) {
	before := runtime.NumGoroutine()
	var conns []net.Conn
	var peers []*peer
	for range 50 {
		near, far := net.Pipe()
		conns = append(conns, near)
		peers = append(peers, begin(over(t, far), newRecorder()))
	}
	for i, p := range peers {
		go io.Copy(io.Discard, conns[i])
		p.Push(text("hello"))
		switch i % 5 {
		case 0:
			p.Close(CloseGoingAway, "", Cause{Reason: ReasonHost})
		case 1:
			p.Kill()
		case 2:
			conns[i].Close()
		case 3:
			conns[i].Write(clientClose(1000))
		case 4:
			conns[i].Write([]byte("\xff\xff"))
		}
	}
	for _, p := range peers {
		testkit.Eventually(t, "the connection ends", func() bool { return p.counters.Open.Load() == 0 && len(p.handler.closed()) == 1 })
	}
	testkit.Eventually(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}
