package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// forget forgets a pod with the command, by asking p.
func (p *pod) forget(t *testing.T, name string) (string, error) {
	t.Helper()
	return caddy(t, "rollcall", "cluster", "forget", name, "--address", strings.TrimPrefix(p.admin, "http://"))
}

// expectIncomplete checks for a while that each answer of the pods names exactly the missing pod.
// Answers of the first 100 ms are not checked: equal requests share an answer for as long, so it
// can be from before the pod was lost.
func expectIncomplete(t *testing.T, pods []*pod, missing *pod, period time.Duration) {
	t.Helper()
	const shared = 100 * time.Millisecond
	begin, checked := time.Now(), 0
	for time.Since(begin) < period || checked < someAnswers {
		for _, p := range pods {
			a, err := cluster.AllUsers(p.site, cluster.Shape{})
			if err != nil {
				t.Fatal(err)
			}
			if a.Asked.Sub(begin) <= shared {
				continue
			}
			checked++
			if a.Complete || !slices.Equal(a.Missing, []string{missing.String()}) {
				t.Fatalf("after %s without %s, %s answers %+v", a.Asked.Sub(begin), missing.Pod, p.Pod, a)
			}
		}
	}
}

// expectUsers waits for answers that are complete and have that number of users in eu-west.
func expectUsers(t *testing.T, pods []*pod, users int) {
	t.Helper()
	ws.Poll(t, ws.Patience, func() error {
		for _, p := range pods {
			a, err := cluster.AllUsers(p.site, cluster.Shape{})
			if err != nil {
				return err
			}
			if !a.Complete || a.DCs["eu-west"].Authenticated != users {
				return fmt.Errorf("%s answers %+v, want %d users", p.Pod, a, users)
			}
		}
		return nil
	})
}

// In a data center of two, one pod cannot know whether the other has crashed. It names it until an
// operator says that it will not come back. If it does, it is heard again.
func TestForgottenPodIsNoLongerMissing(t *testing.T) {
	t.Parallel() // it mostly waits
	d := deploy(t, append(podNames(2, "eu-west"), cluster.Pod{DC: "us-east", Name: "pod-1"}), "")
	lost, others := d[1], []*pod{d[0], d[2]}
	d[0].connect(t, userOf("ada"))
	lost.connect(t, userOf("bob"))
	expectUsers(t, d, 2)
	heard := func() error {
		for _, p := range d {
			if err := p.sees(d); err != nil {
				return err
			}
		}
		return nil
	}

	for _, test := range []struct {
		name       string
		end, again func()
		users      int // when it is back
	}{
		{
			"paused",
			func() { lost.signal(t, syscall.SIGSTOP) },
			func() { lost.signal(t, syscall.SIGCONT) }, 2,
		},
		{
			"killed",
			func() { lost.signal(t, syscall.SIGKILL); lost.await(t, ws.Patience) },
			func() { lost.run(t) }, 1,
		},
	} {
		t.Logf("%s is %s", lost.Pod, test.name)
		for _, p := range d { // refused while it is heard
			if out, err := p.forget(t, lost.String()); err == nil || !strings.Contains(out, "was heard in the last 5 s") {
				t.Errorf("%s forgets a pod that is heard: %v\n%s", p.Pod, err, out)
			}
		}
		test.end()
		expectIncomplete(t, others, lost, longCut)
		out, err := caddy(t, "rollcall", "cluster", "--address", strings.TrimPrefix(d[0].admin, "http://"))
		if err == nil || hasLines(out, map[string][]string{"eu-west pod-2": {"unreachable"}}) != nil {
			t.Errorf("caddy rollcall cluster: %v\n%s", err, out)
		}
		if out, err := d[0].forget(t, "eu-west/pod-9"); err == nil || !strings.Contains(out, "no such pod is missing") {
			t.Errorf("%s forgets a pod that never was: %v\n%s", d[0].Pod, err, out)
		}
		if out, err := d[0].forget(t, lost.String()); err != nil || !strings.Contains(out, lost.String()+" is forgotten") {
			t.Fatalf("%s does not forget it: %v\n%s", d[0].Pod, err, out)
		}
		expectUsers(t, others, 1)
		out, err = caddy(t, "rollcall", "cluster", "--address", strings.TrimPrefix(d[0].admin, "http://"))
		if err != nil || strings.Contains(out, "unreachable") {
			t.Errorf("caddy rollcall cluster, after it was forgotten: %v\n%s", err, out)
		}
		test.again()
		ws.Poll(t, ws.Patience, heard)
		expectUsers(t, d, test.users)
	}
	for p, reason := range map[*pod]string{d[0]: "forgotten", d[2]: "ended, as another pod says"} {
		n := 0
		for line := range strings.Lines(p.log.String()) {
			var l struct{ Level, Msg, Reason string }
			if json.Unmarshal([]byte(line), &l) == nil && l.Level == "info" && l.Msg == "pod is no longer missing" && l.Reason == reason {
				n++
			}
		}
		if n != 2 {
			t.Errorf("%s logs %d times that the pod is %s, want 2", p.Pod, n, reason)
		}
	}
}
