package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// crowd are clients that come and go at random. Two have the same user, and every tenth is anonymous.
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

func newCrowd(t *testing.T, pods deployment, n int) *crowd {
	c := &crowd{t: t, pods: pods}
	for i := range n {
		g := new(guestClient)
		if i%10 != 0 {
			g.user = fmt.Sprintf("user-%d", i/2)
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

// rest stops the clients, and returns what is true then, as the receiver of docs/events.md keeps it.
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
func difference(what string, got, want []string) error {
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
	return fmt.Errorf("%s: the receiver knows %d that are not there, like %v, and lacks %d of %d, like %v", what, more, tooMuch, less, len(want), missing)
}

// TestScenarioEventsAreRightAtRest lets pods be killed, stopped, cut off and restarted while clients
// come and go. Whenever all is at rest, the receiver of docs/events.md knows what is there.
func TestScenarioEventsAreRightAtRest(t *testing.T) {
	scenario(t, func(t *testing.T) {
		clients := 200
		if os.Getenv(scenariosVariable) != "" {
			clients = 2000
		}
		names := append(podNames(2, "eu-west"), podNames(1, "us-east")...)
		c := newContinents(t, names)
		r := newReceiver(t, c)
		pods := c.deployApart(t, "grace 1s\n"+r.options())
		crowd := newCrowd(t, pods, clients)
		anyPod := func() *pod { return pods[rand.N(len(pods))] }
		const while = 2 * time.Second
		for _, fault := range []struct {
			name string
			do   func()
		}{
			{"a pod is killed", func() {
				p := anyPod()
				p.signal(t, syscall.SIGKILL)
				p.await(t, ws.Patience)
				time.Sleep(while)
				if rand.N(2) == 0 {
					time.Sleep(longCut) // the others have given it up
				}
				p.run(t)
			}},
			{"a pod is stopped and continued, and the receiver is down", func() {
				p := anyPod()
				r.kill()
				p.signal(t, syscall.SIGSTOP)
				time.Sleep(longCut)
				p.signal(t, syscall.SIGCONT)
				time.Sleep(while)
				r.start(t)
			}},
			{"data centers are cut off from each other", func() {
				dc := c.dcs[rand.N(len(c.dcs))]
				c.cutDC(t, dc)
				time.Sleep(longCut)
				c.mendDC(t, dc)
			}},
			{"a pod is cut off", func() {
				p := anyPod()
				c.cutPod(t, p.Pod)
				time.Sleep(longCut)
				c.mendPod(t, p.Pod)
			}},
			{"pods are restarted one by one", func() {
				for _, p := range pods {
					p.stop(t)
					p.run(t)
				}
			}},
			{"all pods are killed", func() {
				r.kill()
				for _, p := range pods {
					p.signal(t, syscall.SIGKILL)
					p.await(t, ws.Patience)
				}
				r.start(t)
				for _, p := range pods {
					p.run(t)
				}
			}},
		} {
			crowd.start(time.Second)
			time.Sleep(while)
			fault.do()
			time.Sleep(while / 2)
			pods.await(t)
			want := crowd.rest()
			begin := time.Now()
			r.expect(t, fault.name, want)
			t.Logf("%s: right after %s, %d of %d clients, %d facts", fault.name, time.Since(begin).Round(time.Millisecond), clientsOf(crowd), clients, len(want))
		}
	})
}

func clientsOf(c *crowd) (n int) {
	for _, g := range c.members {
		if g.conn != nil {
			n++
		}
	}
	return n
}
