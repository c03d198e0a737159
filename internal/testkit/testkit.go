// Package testkit has what tests of several packages share.
package testkit

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Patience is how long a test waits for an event; a test that passes does not wait that long.
const Patience = 60 * time.Second

// Eventually polls until the condition holds.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", Patience, what)
		}
		time.Sleep(time.Millisecond)
	}
}

// MustHost returns the canonical form of a host.
func MustHost(t testing.TB, name string) presence.HostName {
	t.Helper()
	host, err := presence.ParseHostName(name)
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// Ear is an Outbox that remembers the payloads of short text frames. The zero value is ready to use.
type Ear struct {
	mu     sync.Mutex
	frames []string
}

// Push implements presence.Outbox.
func (e *Ear) Push(frame []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.frames = append(e.frames, string(frame[strings.IndexByte(string(frame), '{'):]))
}

// Queue implements presence.Outbox.
func (e *Ear) Queue(frames []byte, _ int) bool { e.Push(frames); return false }

// Flush implements presence.Outbox.
func (e *Ear) Flush() {}

// Hears waits for as many frames as are wanted, and compares all that came since, in any order.
func (e *Ear) Hears(t *testing.T, want ...string) {
	t.Helper()
	Eventually(t, fmt.Sprintf("%d frames", len(want)), func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.frames) >= len(want)
	})
	got := e.Take()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("frames %q, want %q", got, want)
	}
}

// Heard waits, in a bubble of testing/synctest, until nothing happens, and compares what came since.
func (e *Ear) Heard(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := e.Take(); !slices.Equal(got, want) {
		t.Errorf("frames %q, want %q", got, want)
	}
}

// Take returns what came since the last look.
func (e *Ear) Take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	frames := e.frames
	e.frames = nil
	return frames
}

// JoinedFrame is the frame that tells a client that the server has joined it to a channel.
func JoinedFrame(channel string) string {
	return `{"type":"joined","channel":"` + channel + `","kind":"authenticated"}`
}

// RemovedFrame is the frame that tells a client that the server has taken it out of a channel.
func RemovedFrame(channel string) string {
	return `{"type":"left","channel":"` + channel + `","reason":"removed"}`
}
