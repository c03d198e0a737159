package presence

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// learnRelay answers each question about a last event from another goroutine: no pod has one.
type learnRelay struct {
	askRelay
	pods Pods
}

func (l *learnRelay) AskLast(host HostName, channel string, id uint64) {
	go l.pods.LearnLast(host, channel, id, LastEvent{}, false, true) // ends at once
}

// Connections that join at any moment receive the answer first, then the last event or a miss, and
// then each later event once, in order.
func TestJoinsAmidEventsReceiveEachOnce(t *testing.T) {
	const channel = "private-cache-a"
	w := newCacheWorld(t, nil)
	w.reg.OnCacheMiss(nil)
	w.reg.Pods().SetRelay(&learnRelay{pods: w.reg.Pods()})
	w.connect() // the host stays
	done := make(chan struct{})
	var senders, joiners sync.WaitGroup
	senders.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
				_ = w.reg.Send(w.name, Message{Channels: []string{channel}, Body: fmt.Appendf(nil, "%d", n)}) // it may be busy
				runtime.Gosched()
			}
		}
	})
	for range 4 {
		joiners.Go(func() {
			for range 200 {
				p := new(page)
				c, err := w.reg.Connect(w.name, &w.rules, nil, p)
				if err != nil {
					t.Error(err)
					return
				}
				if err := c.Enter(channel, Entry{Proof: true}); err != nil {
					t.Error(err)
				}
				deadline := time.Now().Add(20 * time.Second)
				for p.lines() < 4 && time.Now().Before(deadline) {
					runtime.Gosched()
				}
				c.Close()
				p.check(t, channel)
			}
		})
	}
	joiners.Wait()
	close(done)
	senders.Wait()
}

func (p *page) lines() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Count(p.text.String(), "\n")
}

// check checks the frames of a connection that has joined one channel, whose events are numbers.
func (p *page) check(t *testing.T, channel string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	got := strings.Split(strings.TrimSuffix(p.text.String(), "\n"), "\n")
	if len(got) < 4 || got[0] != "joined "+channel {
		t.Errorf("frames: %q", got)
		return
	}
	last := -1
	for i, line := range got[1:] {
		n := -1
		_, err := fmt.Sscanf(line, channel+" %d", &n)
		miss := i == 0 && line == "miss "+channel
		if !miss && (err != nil || n <= last) {
			t.Errorf("frames: %q", got)
			return
		}
		last = n
	}
}
