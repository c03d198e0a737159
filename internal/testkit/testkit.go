// Package testkit holds helpers that tests of several packages share.
package testkit

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Patience is the longest wait of a test for an event. Passing tests wait less.
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

// Metrics returns the values of metrics: counters, gauges and the counts of histograms, by the name
// and the values of the labels, with spaces in between.
func Metrics(t testing.TB, from ...prometheus.Collector) map[string]float64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(from...)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var name strings.Builder
			name.WriteString(family.GetName())
			for _, label := range m.GetLabel() {
				name.WriteString(" " + label.GetValue())
			}
			got[name.String()] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return got
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

// Ear is an Outbox that records the payloads of short text frames. The zero value is ready to use.
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

// Hears waits for len(want) frames, and compares all new frames with want, in any order.
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

// Heard waits, in a bubble of testing/synctest, until all goroutines are blocked, and compares the
// new frames with want.
func (e *Ear) Heard(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := e.Take(); !slices.Equal(got, want) {
		t.Errorf("frames %q, want %q", got, want)
	}
}

// Take returns and removes the new frames.
func (e *Ear) Take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	frames := e.frames
	e.frames = nil
	return frames
}

// JoinedFrame is the frame that a client gets when the server joins it to a channel.
func JoinedFrame(channel string) string {
	return `{"type":"joined","channel":"` + channel + `","kind":"authenticated"}`
}

// RemovedFrame is the frame that a client gets when the server removes it from a channel.
func RemovedFrame(channel string) string {
	return `{"type":"left","channel":"` + channel + `","reason":"removed"}`
}
