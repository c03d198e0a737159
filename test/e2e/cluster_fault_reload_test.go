package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
)

// A reload that changes the cluster block takes no connection out of complete answers.
func TestScenarioReloadChangesTheCluster(t *testing.T) {
	scenario(t, func(t *testing.T) {
		pods := deploy(t, podNames(3, "eu-west"), "grace 1s")
		s := newStage(t, pods)
		victim := pods[2]
		before, begin := victim.setup, time.Now()
		for _, to := range []setup{before.changed(), before, before.changed()} {
			reloaded := time.Now()
			victim.reconfigure(t, to)
			t.Logf("loaded from %s to %s", reloaded.Sub(begin), time.Since(begin))
			s.awaitComplete(time.Now().Add(time.Second))
		}
		s.within(time.Now(), meetAgain)
		s.judge(begin)
	})
}

// A renewed certificate changes without leaving: every answer is complete.
func TestScenarioRenewedCertificate(t *testing.T) {
	scenario(t, func(t *testing.T) {
		a := newAuthority(t, t.TempDir())
		names := podNames(3, "eu-west")
		addresses := make([]string, len(names))
		for i := range names {
			addresses[i] = fmt.Sprintf("127.0.0.1:%d", podPort(t))
		}
		var pods deployment
		for i, name := range names {
			a.issue(t, name.Name)
			pods = append(pods, newPod(t, name, "grace 1s", routed(addresses[i], addresses)+"\n"+a.tls(name.Name)))
		}
		pods.run(t)
		s := newStage(t, pods)
		for _, p := range pods {
			for _, o := range s.outlooks {
				o.End(time.Now(), p.Pod, cluster.MayMiss)
			}
		}
		begin := time.Now()
		for _, p := range pods {
			a.issue(t, p.Name)
			p.reconfigure(t, p.setup)
		}
		s.within(begin, meetAgain)
		for _, p := range pods {
			if all, complete := s.askers[p].Since(begin); all != complete {
				t.Errorf("%d of %d answers of %s are incomplete", all-complete, all, p.Pod)
			}
		}
		s.judge(begin)
	})
}

// reconfigure loads another configuration into a pod.
func (p *pod) reconfigure(t *testing.T, to setup) {
	t.Helper()
	p.setup = to
	p.write(t, to)
	a := p.api.Request(t, http.MethodPost, "/load", p.caddyfile(to), "Content-Type", "text/caddyfile", "Cache-Control", "must-revalidate")
	if a.Status != http.StatusOK {
		t.Fatalf("loading a configuration into %s: status %d: %s", p.Pod, a.Status, a.Body)
	}
}
