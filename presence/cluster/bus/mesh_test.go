package bus

import (
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// freePorts returns addresses on loopback that nobody listens on.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var addresses []string
	for range n {
		addresses = append(addresses, loopback.AddressFor(t))
	}
	return addresses
}

// meshed waits until each has a route to each, and checks that payloads of each arrive at all.
func meshed(t *testing.T, round string, pods ...*Bus) {
	t.Helper()
	var inboxes []*inbox
	for _, b := range pods {
		inboxes = append(inboxes, subscribe(t, b, "mesh"))
	}
	for i, b := range pods {
		testkit.Eventually(t, "routes", func() bool { return len(b.State().Routes) == len(pods)-1 })
		for _, in := range inboxes {
			reaches(t, b, "mesh", in, fmt.Sprint(round, i))
		}
	}
	for _, b := range pods {
		for _, r := range b.State().Routes {
			if r.Name == "" || strings.Contains(r.Name, nameSeparator) || r.Address == "" {
				t.Errorf("route %+v", r)
			}
		}
	}
}

func TestMesh(t *testing.T) {
	authority := newAuthority(t)
	for name, cfg := range map[string]Config{
		"secret":         {Secret: testSecret},
		"tls":            {RouteTLS: authority.pod(t)},
		"secret and tls": {Secret: testSecret, RouteTLS: authority.pod(t)},
	} {
		t.Run(name+", each lists all", func(t *testing.T) {
			addresses := freePorts(t, 3)
			var pods []*Bus
			for i, a := range addresses {
				c := cfg
				c.Name, c.Listen, c.Routes = fmt.Sprint("pod-", i), a, addresses
				pods = append(pods, open(t, c))
			}
			meshed(t, "m", pods...)
			testkit.Eventually(t, "round trip of routes", func() bool {
				for _, r := range pods[0].State().Routes {
					if r.RTT <= 0 {
						return false
					}
				}
				return true
			})
		})
		t.Run(name+", one is listed", func(t *testing.T) {
			c := cfg
			c.Name, c.Listen = "pod-0", "127.0.0.1:0"
			pods := []*Bus{open(t, c)}
			for i := range 2 {
				c.Name, c.Routes = fmt.Sprint("pod-", i+1), []string{pods[0].State().Listen}
				pods = append(pods, open(t, c))
			}
			meshed(t, "m", pods...)
		})
	}
}

// Pods of a deployment are not started at one moment: that one is not there yet is no error.
func TestStartLogsNoErrors(t *testing.T) {
	addresses := freePorts(t, 3)
	core, logs := observer.New(zap.DebugLevel)
	var pods []*Bus
	for i, a := range addresses {
		c := Config{Name: fmt.Sprint("pod-", i), Secret: testSecret, Listen: a, Routes: addresses, Logger: zap.New(core)}
		pods = append(pods, open(t, c))
		testkit.Eventually(t, "a try", func() bool { return i > 0 || logs.FilterMessageSnippet(firstTry).Len() >= 2 })
	}
	meshed(t, "m", pods...)
	for _, line := range logs.All() {
		if line.Level > zap.InfoLevel {
			t.Errorf("%s: %s", line.Level, line.Message)
		}
	}
}

func TestRejoinOnTheSamePort(t *testing.T) {
	addresses := freePorts(t, 3)
	start := func(i int) *Bus {
		return open(t, Config{Name: fmt.Sprint("pod-", i), Listen: addresses[i], Routes: addresses, Secret: testSecret})
	}
	pods := []*Bus{start(0), start(1), start(2)}
	meshed(t, "first", pods...)
	pods[1].Close()
	testkit.Eventually(t, "end of the route", func() bool { return len(pods[0].State().Routes) == 1 && len(pods[2].State().Routes) == 1 })
	pods[1] = start(1)
	meshed(t, "second", pods...)
}

// The one that was listed is the only one that the others know by configuration.
func TestRejoinOfTheListedOne(t *testing.T) {
	address := freePorts(t, 1)[0]
	first := func() *Bus { return open(t, Config{Name: "pod-0", Listen: address, Secret: testSecret}) }
	pods := []*Bus{first(), pod(t, "pod-1", address), pod(t, "pod-2", address)}
	meshed(t, "first", pods...)
	pods[0].Close()
	meshed(t, "second", pods[1:]...)
	pods[0] = first()
	meshed(t, "third", pods...)
}

func TestSameNameIsJoined(t *testing.T) {
	a := pod(t, "twin")
	b := pod(t, "twin", a.State().Listen)
	meshed(t, "m", a, b)
	if got := b.State(); got.Server != "twin" || got.Routes[0].Name != "twin" || got.Cluster != clusterName {
		t.Errorf("state %+v", got)
	}
}
