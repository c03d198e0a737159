package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/webhooks"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// crowd are clients that come and go at random. Two have the same user, and every tenth is
// anonymous.
type crowd struct {
	t       *testing.T
	pods    deployment
	members []*guestClient
	stop    chan struct{}
	running sync.WaitGroup
}

// guestClient is one of them. While the crowd runs, its goroutine owns it.
type guestClient struct {
	user     string // "" if anonymous
	token    string
	conn     *cluster.Client // nil while it is gone
	channels map[string]bool
}

const crowdChannels = 25

func newCrowd(t *testing.T, pods deployment, name string, n int) *crowd {
	c := &crowd{t: t, pods: pods}
	for i := range n {
		g := new(guestClient)
		if i%10 != 0 {
			g.user = fmt.Sprintf("%s-user-%d", name, i/2)
			g.token = token(t, *userOf(g.user))
		}
		c.members = append(c.members, g)
	}
	t.Cleanup(func() {
		for _, g := range c.members {
			g.cut()
		}
	})
	return c
}

func (g *guestClient) cut() {
	if g.conn != nil {
		g.conn.Cut()
		g.conn = nil
	}
}

// start lets all come and go until rest, each about once in the given time.
func (c *crowd) start(pace time.Duration) {
	c.stop = make(chan struct{})
	for _, g := range c.members {
		c.running.Go(func() {
			for {
				select {
				case <-c.stop:
					return
				case <-time.After(rand.N(2 * pace)):
					g.step(c.pods)
				}
			}
		})
	}
}

// step does something. What fails is gone.
func (g *guestClient) step(pods deployment) {
	if g.conn == nil {
		conn, err := cluster.Connect(pods[rand.N(len(pods))].door, g.token)
		if err != nil {
			return
		}
		g.conn, g.channels = conn, make(map[string]bool)
	}
	channel := fmt.Sprintf("room-%d", rand.N(crowdChannels))
	if g.user == "" || rand.N(8) == 0 {
		channel = fmt.Sprintf("anonymous-%d", rand.N(crowdChannels))
	}
	var err error
	switch n := rand.N(10); {
	case n == 0:
		g.conn.Close()
		g.conn = nil
	case n == 1:
		g.cut()
	case n < 4 && g.channels[channel]:
		if err = g.conn.Leave(channel); err == nil {
			delete(g.channels, channel)
		}
	default:
		if err = g.conn.Join(channel); err == nil {
			g.channels[channel] = true
		}
	}
	if err != nil {
		g.cut()
	}
}

// rest stops the clients, and returns what is true then, as the receiver of docs/events.md keeps
// it.
func (c *crowd) rest() (want []string) {
	close(c.stop)
	c.running.Wait()
	var all sync.WaitGroup
	for _, g := range c.members {
		all.Go(func() {
			if g.conn != nil && g.conn.Ping() != nil {
				g.cut()
			}
		})
	}
	all.Wait()
	add := func(key ...string) {
		raw, err := json.Marshal(key)
		if err != nil {
			c.t.Fatal(err)
		}
		want = append(want, string(raw))
	}
	for _, g := range c.members {
		if g.conn == nil {
			continue
		}
		if g.user != "" {
			add("online", g.user)
		}
		for channel := range g.channels {
			add("channel", channel)
			if g.user != "" && !strings.HasPrefix(channel, "anonymous") {
				add("member", channel, g.user)
			}
		}
	}
	slices.Sort(want)
	return slices.Compact(want)
}

// difference says what is too much and what is missing.
func difference(got, want []string) error {
	count := func(list, in []string) (n int, some []string) {
		for _, k := range list {
			if _, ok := slices.BinarySearch(in, k); !ok {
				if n++; n <= 5 {
					some = append(some, k)
				}
			}
		}
		return n, some
	}
	more, tooMuch := count(got, want)
	less, missing := count(want, got)
	return fmt.Errorf("the receiver knows %d that are not there, like %v, and lacks %d of %d, like %v", more, tooMuch, less, len(want), missing)
}

// eventScene is a deployment with a receiver of its events.
type eventScene struct {
	*continents
	pods     deployment
	receiver *receiver
	down     time.Duration // time for which the receiver is down in between
	runs     int           // runs so far
}

func newEventScene(t *testing.T, down time.Duration) *eventScene {
	t.Helper()
	c := newContinents(t, append(podNames(2, "eu-west"), podNames(1, "us-east")...))
	s := &eventScene{continents: c, receiver: newReceiver(t, c), down: down}
	s.pods = c.deployApart(t, "grace 1s\n"+s.receiver.options())
	return s
}

func (s *eventScene) anyPod() *pod { return s.pods[rand.N(len(s.pods))] }

// killed kills a pod, as a crash does.
func (p *pod) killed(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
	p.await(t, ws.Patience)
}

// pause is for what happens at the same time.
const pause = 2 * time.Second

// eventFaults are the faults that the clients of a run live through.
var eventFaults = []struct {
	name string
	do   func(t *testing.T, s *eventScene)
}{
	{"a pod is killed", func(t *testing.T, s *eventScene) {
		p := s.anyPod()
		p.killed(t)
		time.Sleep(pause)
		if s.down >= time.Minute && rand.N(2) == 0 {
			time.Sleep(longCut) // the others have given it up
		}
		p.run(t)
	}},
	{"a pod is stopped and continued", func(t *testing.T, s *eventScene) {
		p := s.anyPod()
		p.signal(t, syscall.SIGSTOP)
		time.Sleep(longCut)
		p.signal(t, syscall.SIGCONT)
	}},
	{"data centers are cut off", func(t *testing.T, s *eventScene) {
		dc := s.dcs[rand.N(len(s.dcs))]
		s.cutDC(t, dc)
		time.Sleep(longCut)
		s.mendDC(t, dc)
	}},
	{"a pod is cut off", func(t *testing.T, s *eventScene) {
		p := s.anyPod()
		s.cutPod(t, p.Pod)
		time.Sleep(pause + rand.N(longCut-pause))
		s.mendPod(t, p.Pod)
	}},
	{"pods are restarted one by one", func(t *testing.T, s *eventScene) {
		for _, p := range s.pods {
			p.stop(t)
			p.run(t)
		}
	}},
	{"everything while the receiver is down", func(t *testing.T, s *eventScene) {
		begin := time.Now()
		s.receiver.kill()
		p, dc := s.anyPod(), s.dcs[rand.N(len(s.dcs))]
		s.cutDC(t, dc)
		p.signal(t, syscall.SIGSTOP)
		time.Sleep(pause + rand.N(longCut-pause))
		p.signal(t, syscall.SIGCONT)
		s.mendDC(t, dc)
		p = s.anyPod()
		p.stop(t)
		p.run(t)
		for _, p := range s.pods {
			p.killed(t)
		}
		time.Sleep(s.down - time.Since(begin))
		for _, p := range s.pods {
			p.run(t)
		}
		s.receiver.start(t)
	}},
}

// run lets new clients come and go during a fault, and compares what the receiver knows with what
// is there whenever all is at rest.
func (s *eventScene) run(t *testing.T, clients int, fault func(t *testing.T, s *eventScene)) {
	s.runs++
	crowd := newCrowd(t, s.pods, fmt.Sprintf("run-%d", s.runs), clients)
	crowd.start(1500 * time.Millisecond)
	time.Sleep(pause)
	fault(t, s)
	time.Sleep(pause / 4)
	s.pods.await(t)
	want, begin := crowd.rest(), time.Now()
	s.receiver.expect(t, want)
	t.Logf("right within %s, %d of %d clients, %d facts", time.Since(begin).Round(time.Millisecond), clientsOf(crowd), clients, len(want))
}

// TestScenarioEventsAreRightAtRest lets pods be killed, stopped, cut off and restarted while
// clients come and go. Whenever all is at rest, the receiver of docs/events.md knows what is there.
//
// Runs follow each other in a deployment, so each also has to forget the clients of the one before.
func TestScenarioEventsAreRightAtRest(t *testing.T) { //nolint:tparallel // its deployments follow each other
	t.Parallel()
	runs, down := len(eventFaults), 15*time.Second
	if n, isSet := scenarioRuns(t); isSet {
		runs, down = n, time.Minute
	}
	events, again := 0, 0
	for done := 0; done < runs && !t.Failed(); {
		t.Run(fmt.Sprint(done/len(eventFaults)+1), func(t *testing.T) {
			s := newEventScene(t, down)
			for _, fault := range eventFaults[:min(len(eventFaults), runs-done)] {
				if !t.Run(fault.name, func(t *testing.T) { s.run(t, 2000, fault.do) }) {
					break
				}
				done++
			}
			of, repeated := webhooks.Seen(t, s.receiver.folder)
			events, again = events+of, again+repeated
			t.Logf("%d events, %d of them with an id that was there before", of, repeated)
		})
	}
	t.Attr("runs", fmt.Sprint(runs))
	t.Attr("events", fmt.Sprint(events))
	t.Attr("duplicates", fmt.Sprint(again))
}

func clientsOf(c *crowd) (n int) {
	for _, g := range c.members {
		if g.conn != nil {
			n++
		}
	}
	return n
}
