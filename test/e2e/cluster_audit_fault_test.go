package e2e

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/caddymodule/audit"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// auditApart runs an audit of pods on machines of their own, until stop is called.
func auditApart(t *testing.T, pods deployment, grace time.Duration) (a *audit.Audit, stop func() audit.Report) {
	t.Helper()
	o := audit.Options{
		Host: auditHost, Prefix: "/message", APIKey: apiKey, Grace: grace, Users: 12, Channels: 3,
		Token: func(user string) (string, error) {
			return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": user}).SignedString([]byte(secret))
		},
	}
	for _, p := range pods {
		o.Pods = append(o.Pods, audit.Pod{Name: p.String(), URL: "http://" + auditHost, Dial: p.door.Dial})
	}
	a = audit.New(o)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }() // ends with the context
	ws.Poll(t, 2*ws.Patience, func() error {
		for _, p := range a.Report().Pods {
			if p.Messages.Delivered < 10 {
				return fmt.Errorf("%s: %+v", p.Pod, p)
			}
		}
		return nil
	})
	return a, func() audit.Report {
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		return a.Report()
	}
}

// TestScenarioAudit lets an audit watch a run with a kill, a cut and a rolling restart. It agrees
// with the model of the test, which judges the same pods on another site.
func TestScenarioAudit(t *testing.T) {
	const grace = time.Second
	scenario(t, func(t *testing.T) {
		c := newContinents(t, podNames(3, "eu-west"))
		pods := c.podsApart(t, "grace "+grace.String())
		for _, p := range pods {
			p.setup.sites = strings.ReplaceAll(auditSite(t), "jwt {", "grace "+grace.String()+"\njwt {")
		}
		pods.run(t)
		s := newStage(t, pods)
		a, stop := auditApart(t, pods, grace)
		begin, before := time.Now(), a.Report()

		s.down(pods[2], syscall.SIGKILL)
		s.within(time.Now(), crashKnown)
		s.up(pods[2])
		s.within(time.Now(), meetAgain)

		// The pod that is cut off runs, and counts as crashed: the exception.
		s.unheard(time.Now(), pods[1])
		c.cutPod(t, pods[1].Pod)
		<-time.After(longCut)
		c.mendPod(t, pods[1].Pod)
		s.heard(pods[1])
		s.within(time.Now(), meetAgain)

		for _, p := range pods {
			s.unheard(time.Now(), p)
			s.down(p, syscall.SIGTERM)
			s.run(p)
			s.heard(p)
			ws.Poll(t, ws.Patience, p.ready)
		}
		s.within(time.Now(), meetAgain)
		got := stop()
		var table strings.Builder
		if err := got.WriteTable(&table); err != nil {
			t.Error(err)
		}
		t.Logf("the audit over %s:\n%s", time.Since(begin).Round(time.Second), table.String())
		s.judge(begin)
		if n := got.Wrong(); n > 0 {
			t.Errorf("the audit finds %d wrong answers, the model none", n)
		}
		for i, p := range pods {
			doubtful := got.Pods[i].IncompleteSeconds + got.Pods[i].SilentSeconds - before.Pods[i].IncompleteSeconds - before.Pods[i].SilentSeconds
			model := s.askers[p].Doubtful(begin).Seconds()
			t.Logf("%s: %.1f s without complete answers by the audit, %.1f s by the model", p.Pod, doubtful, model)
			const apart = 3 // seconds: each asks at its own moments, and there are a dozen changes
			if doubtful < model-apart || doubtful > model+apart {
				t.Errorf("%s: the audit and the model disagree", p.Pod)
			}
		}
	})
}
