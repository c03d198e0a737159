package e2e

import (
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// A pod that has started answers incomplete, and refuses messages, until it knows the others. What
// it accepts reaches them.
func TestScenarioNoWorkBeforeJoined(t *testing.T) {
	scenario(t, func(t *testing.T) {
		pods := deploy(t, podNames(3, "eu-west"), "grace 1s\n"+fast)
		s := newStage(t, pods)
		victim := pods[2]
		var boxes []*mailbox
		for i, p := range pods[:2] {
			id := fmt.Sprintf("listener-%d", i)
			stay := s.history.Arriving(p.Pod, id)
			boxes = append(boxes, p.listen(t, id, probedChannel))
			stay.Arrived()
		}
		strict := cluster.NewOutlook(pods.names())
		for _, p := range pods {
			strict.Begin(time.Now(), p.Pod, cluster.MayMiss)
		}
		severe := &cluster.Asker{
			Pod: pods[0].Pod, Site: pods[0].site, History: s.history, Outlook: strict, Pace: 20 * time.Millisecond, Margin: cluster.Kept,
		}
		severe.Start()
		t.Cleanup(func() { _ = severe.Stop() })
		s.down(victim, syscall.SIGTERM)
		s.unheard(time.Now(), victim)
		var sending sync.WaitGroup
		var backend, client accepted
		sending.Go(func() { backend = sendUntilReady(victim, "backend", victim.sendMessage) })
		sending.Go(func() { client = sendUntilReady(victim, "client", s.sendAsClient(victim)) })
		s.run(victim)
		up := time.Now()
		sending.Wait()
		joined := time.Now()
		s.heard(victim)
		s.within(joined, 3*time.Second)
		for name, w := range map[string]accepted{"sendmessage": backend, "a client's send": client} {
			lost := 0
			for _, probe := range w.probes {
				if slices.ContainsFunc(boxes, func(b *mailbox) bool { return !b.probed(probe) }) {
					lost++
				}
			}
			t.Logf("%s: %d were accepted, the first %s before the pod was ready; %d are lost", name, len(w.probes), w.early, lost)
			if w.early > 0 || lost > 0 {
				t.Errorf("%s: %d of %d messages are lost; the first was accepted %s before the pod was ready",
					name, lost, len(w.probes), w.early)
			}
		}
		_ = severe.Stop()
		if wrong := severe.Wrong(); len(wrong) > 0 {
			t.Logf("complete answers of %s lack its connections, in %d answers from %s to %s after it answered",
				pods[0].Pod, len(wrong), wrong[0].Sub(up), wrong[len(wrong)-1].Sub(up))
		}
		s.judge(up)
	})
}

// accepted is what a pod that starts has accepted.
type accepted struct {
	probes []string
	early  time.Duration // from the first of them until the pod was ready; 0 if it was ready before
}

// sendUntilReady sends messages until the pod is ready and accepts one.
func sendUntilReady(p *pod, name string, send func(probe string) error) (w accepted) {
	const pause = 5 * time.Millisecond
	var first time.Time
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for n := range int(ws.Patience / pause) {
		<-tick.C
		ready := p.ready() == nil
		probe := fmt.Sprintf("%s-%d", name, n)
		if send(probe) != nil {
			continue
		}
		ready = ready || p.ready() == nil // it was accepted in between
		w.probes = append(w.probes, probe)
		switch {
		case !ready && first.IsZero():
			first = time.Now()
		case ready && !first.IsZero():
			w.early = time.Since(first)
			return w
		case ready:
			return w
		}
	}
	return w
}

// probedChannel is the channel of messages with probes.
const probedChannel = "team"

// sendMessage sends a probe as a backend.
func (p *pod) sendMessage(probe string) error {
	_, err := p.site.Ask("sendmessage", fmt.Sprintf(`{"channels":[%q],"message":{"probe":%q}}`, probedChannel, probe))
	return err
}

// sendAsClient returns a function that sends a probe from a connection to the pod, which it opens
// as soon as that is possible.
func (s *stage) sendAsClient(p *pod) func(probe string) error {
	const user = "sender"
	var c *cluster.Client
	signed := token(s.t, *userOf(user))
	s.t.Cleanup(func() {
		if c != nil {
			c.Cut()
		}
	})
	return func(probe string) error {
		if c == nil {
			stay := s.history.Arriving(p.Pod, user)
			opened, err := cluster.Connect(p.door, signed)
			if err != nil {
				stay.Left()
				return err
			}
			stay.Arrived()
			c = opened
			if err := c.Join(probedChannel); err != nil {
				return err
			}
		}
		return c.Send(probedChannel, fmt.Sprintf(`{"probe":%q}`, probe))
	}
}
