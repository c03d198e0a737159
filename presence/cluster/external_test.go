package cluster

import (
	"fmt"
	"net"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/bus"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Pods that start before NATS are ready after a while, because clients need them. They report that
// they know no others, and find them when NATS is there.
func TestPodsThatAreStartedBeforeNATS(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().(*net.TCPAddr)
	_ = ln.Close() // the port is closed now
	nats, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: address.Port, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nats.Shutdown)

	host := mustHost(t, "example.com")
	var pods []*labPod
	for i := range 2 {
		p := &labPod{reg: presence.NewRegistry(clustertest.Encoder{}), local: &labLocal{}}
		cfg := Config{DataCenter: "x", Pod: fmt.Sprint(i), Logger: zap.NewNop()}
		cfg.Bus = bus.Config{URLs: []string{"nats://" + address.String()}}
		c, err := Start(cfg, p.reg, p.local)
		if err != nil {
			t.Fatal(err)
		}
		p.Cluster = c
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		c.SetSites([]message.Site{{}})
		p.connect(t, host, fmt.Sprint("user-", i), "", "room")
		pods = append(pods, p)
	}
	for i, p := range pods {
		testkit.Eventually(t, "readiness without NATS", p.Ready)
		dcs, truth := p.AllUsers(t.Context(), host, true, presence.PerUser)
		if got, want := (answer{truth: truth, dcs: dcs}).text(), fmt.Sprintf("x 1+0[{user-%d }]; missing []", i); got != want {
			t.Errorf("without NATS %q, want %q", got, want)
		}
	}

	nats.Start()
	for _, p := range pods {
		testkit.Eventually(t, "complete answer", func() bool {
			dcs, truth := p.AllUsers(t.Context(), host, true, presence.PerUser)
			return answer{truth: truth, dcs: dcs}.text() == "x 2+0[{user-0 } {user-1 }]; complete"
		})
	}
}
