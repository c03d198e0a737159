package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// external returns the content of a cluster block.
func external(n *natsServer, secret string) string {
	return fmt.Sprintf("nats %s\nsecret %s", n.ClientURL(), secret)
}

// deployOn runs pods with an external NATS.
func deployOn(t *testing.T, n *natsServer, names []cluster.Pod, options string) deployment {
	t.Helper()
	var d deployment
	for _, name := range names {
		d = append(d, newPod(t, name, options, external(n, clusterSecret)))
	}
	d.run(t)
	return d
}

// TestPodsOnASharedNATS runs two pods on a NATS without authentication: another deployment has the
// same name and another secret, and an attacker publishes payloads that must be ignored.
func TestPodsOnASharedNATS(t *testing.T) {
	t.Parallel()
	n := startNATS(t, &server.Options{NoSystemAccount: true})
	pods := deployOn(t, n, podNames(1, "eu-west", "us-east"), "grace 1s")
	nc := n.client(t)
	e := eavesdrop(t, nc)
	s := newScene(t, pods)
	s.awaitViews(pods, s.members())
	begin := time.Now()
	for _, p := range pods {
		s.ask(p, s.outlook, 0)
	}
	e.awaitAll(t)
	before := pods.ignores(t)
	sent := attack(t, nc, e)
	pods.awaitIgnored(t, before, sent)
	replay(t, nc, e.heard())

	stranger := newPod(t, cluster.Pod{DC: "eu-west", Name: "stranger"}, "", external(n, "another-secret-of-many-letters"))
	stranger.run(t)
	ws.Poll(t, ws.Patience, stranger.ready)
	stranger.connect(t, userOf("stranger"))
	ws.Poll(t, ws.Patience, func() error { // each side keeps sending heartbeats
		for _, p := range append(deployment{stranger}, pods...) {
			r, err := p.cluster()
			if err != nil {
				return err
			}
			if r.Ignored.Forged < sent.Forged+3 && p != stranger || r.Ignored.Forged < 3 {
				return fmt.Errorf("%s has ignored %+v", p.Pod, r.Ignored)
			}
		}
		return nil
	})
	s.awaitAnswers(time.Now(), someAnswers)
	s.stopAsking("shared", begin)
	s.awaitViews(pods, s.members())
	for _, p := range pods {
		s.expectEvents(p, begin, 0, s.members(), 0, 0)
		if err := p.sees(pods); err != nil {
			t.Error(err)
		}
	}
	if err := stranger.sees(deployment{stranger}); err != nil {
		t.Error(err)
	}
	a, err := cluster.AllUsers(stranger.site, cluster.Shape{Include: true})
	if err != nil || !a.Complete || len(a.DCs) != 1 || len(a.DCs["eu-west"].Users) != 1 {
		t.Errorf("the stranger answers %+v (%v)", a, err)
	}
}

// TestExternalNATSGoesAwayAndComesBack stops NATS for longer than pods wait for a silent pod. Every
// socket stays open, no answer is complete, and when NATS is back, everything is as before.
func TestExternalNATSGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	const outage = 7 * time.Second
	opts := server.Options{NoSystemAccount: true, Port: podPort(t)}
	first := opts
	n := startNATS(t, &first)
	pods := deployOn(t, n, podNames(1, "eu-west", "us-east"), "grace 1s")
	s := newScene(t, pods)
	stays := s.sockets
	s.awaitViews(pods, s.members())
	outlooks := []*cluster.Outlook{cluster.NewOutlook(pods.names()), cluster.NewOutlook(pods.names())}
	for i, p := range pods {
		s.ask(p, outlooks[i], 0)
	}
	s.startLoad(pods)
	s.awaitAnswers(time.Now(), someAnswers)

	each := func(do func(o *cluster.Outlook, p, other cluster.Pod)) {
		for i, o := range outlooks {
			do(o, pods[i].Pod, pods[1-i].Pod)
		}
	}
	down := time.Now()
	each(func(o *cluster.Outlook, _, other cluster.Pod) { o.Begin(down, other, cluster.Unsure, cluster.MayMiss) })
	each(func(o *cluster.Outlook, p, _ cluster.Pod) { o.Begin(down, p, cluster.MayBeBlind) })
	n.end()
	gone := time.Now()
	each(func(o *cluster.Outlook, p, other cluster.Pod) {
		o.Begin(gone, other, cluster.Absent)
		o.Begin(gone, p, cluster.Blind)
	})
	s.awaitAnswers(down.Add(outage), 2)

	each(func(o *cluster.Outlook, p, other cluster.Pod) {
		o.End(time.Now(), other, cluster.Absent)
		o.End(time.Now(), p, cluster.Blind)
	})
	up := time.Now()
	second := opts
	startNATS(t, &second)
	pods.await(t)
	ws.Poll(t, ws.Patience, func() error {
		for _, k := range s.askers {
			if _, complete := k.Since(up); complete == 0 {
				return fmt.Errorf("%s gave no complete answer", k.Pod)
			}
		}
		return nil
	})
	back := time.Now()
	t.Logf("NATS was away for %s, and all pods were back %s later", up.Sub(down).Round(time.Millisecond), back.Sub(up).Round(time.Millisecond))
	each(func(o *cluster.Outlook, p, other cluster.Pod) {
		o.End(back, other, cluster.Unsure, cluster.MayMiss)
		o.End(back, p, cluster.MayBeBlind)
	})
	s.awaitAnswers(back, someAnswers)
	s.stopLoading()
	s.stopAsking("outage", down)
	s.awaitViews(pods, s.members())
	for _, c := range stays {
		if err := c.Ping(); err != nil {
			t.Errorf("a socket of before: %v", err)
		}
	}
	for _, p := range pods {
		if r, err := p.cluster(); err != nil || !r.NATS.Connected || r.NATS.Embedded {
			t.Errorf("%s: %+v (%v)", p.Pod, r.NATS, err)
		}
		if strings.Contains(p.log.String(), clusterSecret) {
			t.Errorf("the log of %s has the secret", p.Pod)
		}
	}
}
