package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// continents has a machine for each pod, with its own address, and a switch for each data center. A
// cable joins each switch to the core. Without it, packets to other data centers are dropped
// silently.
type continents struct {
	hub      string // the network namespace of the switches
	pods     []cluster.Pod
	dcs      []string
	machines []string // network namespaces, in the order of the pods
}

func newContinents(t *testing.T, pods []cluster.Pod) *continents {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	c := &continents{hub: namespace(t, "hub"), pods: pods}
	bridge := func(name string) {
		mustRun(t, "ip", "-n", c.hub, "link", "add", name, "type", "bridge")
		mustRun(t, "ip", "-n", c.hub, "link", "set", name, "up")
	}
	bridge("core")
	for _, p := range pods {
		if slices.Contains(c.dcs, p.DC) {
			continue
		}
		n := len(c.dcs)
		c.dcs = append(c.dcs, p.DC)
		bridge(c.switchOf(p.DC))
		near, far := c.cable(p.DC), fmt.Sprintf("core%d", n)
		mustRun(t, "ip", "-n", c.hub, "link", "add", near, "type", "veth", "peer", "name", far)
		mustRun(t, "ip", "-n", c.hub, "link", "set", near, "master", c.switchOf(p.DC), "up")
		mustRun(t, "ip", "-n", c.hub, "link", "set", far, "master", "core", "up")
	}
	for i, p := range pods {
		machine := namespace(t, fmt.Sprintf("m%d", i))
		mustRun(t, "ip", "-n", machine, "link", "add", "wire", "type", "veth", "peer", "name", port(i), "netns", c.hub)
		mustRun(t, "ip", "-n", c.hub, "link", "set", port(i), "master", c.switchOf(p.DC), "up")
		mustRun(t, "ip", "-n", machine, "addr", "add", machineAddress(i)+"/24", "dev", "wire")
		mustRun(t, "ip", "-n", machine, "link", "set", "wire", "up")
		c.machines = append(c.machines, machine)
	}
	return c
}

func (c *continents) switchOf(dc string) string {
	return fmt.Sprintf("switch%d", slices.Index(c.dcs, dc))
}

func (c *continents) cable(dc string) string { return fmt.Sprintf("cable%d", slices.Index(c.dcs, dc)) }

// port is the end of a machine's wire at its switch.
func port(machine int) string { return fmt.Sprintf("port%d", machine) }

// namespaces counts those of this process, so that tests can run at the same time.
var namespaces atomic.Int32

// namespace creates a network namespace until the test ends.
func namespace(t *testing.T, what string) string {
	t.Helper()
	name := fmt.Sprintf("rollcall-%d-%d-%s", os.Getpid(), namespaces.Add(1), what)
	mustRun(t, "ip", "netns", "add", name)
	t.Cleanup(func() { mustRun(t, "ip", "netns", "del", name) })
	mustRun(t, "ip", "-n", name, "link", "set", "lo", "up")
	return name
}

// machineAddress returns an address from RFC 5737.
func machineAddress(i int) string { return fmt.Sprintf("192.0.2.%d", 10+i) }

// cutDC separates a data center from all others.
func (c *continents) cutDC(t *testing.T, dc string) {
	t.Helper()
	mustRun(t, "ip", "-n", c.hub, "link", "set", c.cable(dc), "down")
}

func (c *continents) mendDC(t *testing.T, dc string) {
	t.Helper()
	mustRun(t, "ip", "-n", c.hub, "link", "set", c.cable(dc), "up")
}

// cutPod separates a pod from all others. Its link stays up.
func (c *continents) cutPod(t *testing.T, p cluster.Pod) {
	t.Helper()
	mustRun(t, "ip", "-n", c.hub, "link", "set", port(c.index(p)), "nomaster")
}

func (c *continents) mendPod(t *testing.T, p cluster.Pod) {
	t.Helper()
	mustRun(t, "ip", "-n", c.hub, "link", "set", port(c.index(p)), "master", c.switchOf(p.DC))
}

func (c *continents) index(p cluster.Pod) int { return slices.Index(c.pods, p) }

// podsApart prepares pods, each on its own machine. The test reaches them through Unix sockets.
func (c *continents) podsApart(t *testing.T, options string) deployment {
	t.Helper()
	const routePort = 6222
	addresses := make([]string, len(c.pods))
	for i := range c.pods {
		addresses[i] = fmt.Sprintf("%s:%d", machineAddress(i), routePort)
	}
	var d deployment
	for i, name := range c.pods {
		p := newPod(t, name, options, routed(addresses[i], addresses))
		p.setup.prefix = []string{"ip", "netns", "exec", c.machines[i]}
		site, admin := filepath.Join(p.dir, "site.sock"), filepath.Join(p.dir, "admin.sock")
		p.setup.globals += fmt.Sprintf("\ndefault_bind %s unix/%s", machineAddress(i), site)
		p.admin = "unix/" + admin
		p.door.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", site)
		}
		p.site.Client = keepingClient(t, p.door.Dial)
		p.api = ws.Site{URL: "http://127.0.0.1", Client: unixClient(admin)}
		d = append(d, p)
	}
	return d
}

// deployApart runs the pods of [continents.podsApart].
func (c *continents) deployApart(t *testing.T, options string) deployment {
	t.Helper()
	d := c.podsApart(t, options)
	d.run(t)
	return d
}
