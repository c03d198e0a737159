package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// mustRun runs a command that must succeed.
func mustRun(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// network is a server and a client machine with a wire between them: two network namespaces.
type network struct{ server, client string }

// Addresses of RFC 5737, which are never routed.
const (
	serverAddress = "192.0.2.1"
	clientAddress = "192.0.2.2"
)

func newNetwork(t *testing.T) network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	n := network{fmt.Sprintf("rollcall-s%d", os.Getpid()), fmt.Sprintf("rollcall-c%d", os.Getpid())}
	for _, name := range []string{n.server, n.client} {
		mustRun(t, "ip", "netns", "add", name)
		t.Cleanup(func() { mustRun(t, "ip", "netns", "del", name) })
		mustRun(t, "ip", "-n", name, "link", "set", "lo", "up")
	}
	mustRun(t, "ip", "-n", n.server, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", n.client)
	for name, address := range map[string]string{n.server: serverAddress, n.client: clientAddress} {
		mustRun(t, "ip", "-n", name, "addr", "add", address+"/24", "dev", "wire")
		mustRun(t, "ip", "-n", name, "link", "set", "wire", "up")
	}
	return n
}

// A machine that loses power sends nothing, not even TCP segments.
func TestUserOfADeadMachineLeavesTheListing(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	p := start(t, setup{prefix: []string{"ip", "netns", "exec", n.server}, bind: serverAddress})
	url := fmt.Sprintf("ws://%s:%d/message/socket", serverAddress, p.port)
	stays := authorized(t, p.site, "USER_1")
	begin(t, job{URL: url, Host: p.site.Host, Header: stays.Header, Channel: "salesRoom", N: 1},
		"ip", "netns", "exec", n.server)
	dies := authorized(t, p.site, "USER_2")
	begin(t, job{URL: url, Host: p.site.Host, Header: dies.Header, Channel: "salesRoom", N: 1},
		"ip", "netns", "exec", n.client)

	const (
		user1 = `{"id":"USER_1","email":"USER_1@example.com"}`
		user2 = `{"id":"USER_2","email":"USER_2@example.com"}`
	)
	p.site.Await(t, "users", `{"channel":"salesRoom"}`, `{"salesRoom":[`+user1+`,`+user2+`]}`)
	dead := time.Now()
	mustRun(t, "ip", "-n", n.client, "link", "set", "wire", "down")
	const silence, slack = 35 * time.Second, 2 * time.Second // what a busy machine adds
	ws.Poll(t, silence+slack, func() error {
		got, err := p.site.Ask("users", `{"channel":"salesRoom"}`)
		if err != nil {
			return err
		}
		if diff := ws.Diff(got, `{"salesRoom":[`+user1+`]}`); diff != "" {
			return fmt.Errorf("users: %s", diff)
		}
		return nil
	})
	t.Logf("the dead user left the listing after %s", time.Since(dead).Round(100*time.Millisecond))
}
