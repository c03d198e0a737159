package cluster

import (
	"fmt"
	"slices"
	"testing"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/bus"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// TestThreePodsOverRoutes tests everything together, on loopback.
func TestThreePodsOverRoutes(t *testing.T) {
	host := mustHost(t, "example.com")
	var (
		pods  []*labPod
		first string
	)
	for i, dc := range []string{"x", "x", "y"} {
		p := &labPod{reg: presence.NewRegistry(clustertest.Encoder{}), local: &labLocal{}}
		cfg := Config{DataCenter: dc, Pod: fmt.Sprint(i), Secret: "of the payloads", Logger: zap.NewNop()}
		cfg.Bus = bus.Config{Listen: "127.0.0.1:0", Secret: "of the routes"}
		if first != "" {
			cfg.Bus.Routes = []string{first}
		}
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
		if first == "" {
			first = c.Report(t.Context()).Bus.Listen
		}
		pods = append(pods, p)
	}
	answers := func(p *labPod) string {
		dcs, truth := p.AllUsers(t.Context(), host, true, presence.PerUser)
		return answer{truth: truth, dcs: dcs}.text()
	}
	pods[0].connect(t, host, "ann", "ann@x", "room")
	pods[1].connect(t, host, "ann", "", "room")
	pods[1].connect(t, host, "bob", "", "room")
	pods[2].connect(t, host, "eve", "", "room")
	for _, p := range pods {
		testkit.Eventually(t, "complete answer of pod "+p.link.Self().Pod, func() bool {
			return p.Ready() && answers(p) == "x 2+0[{ann ann@x} {bob }]; y 1+0[{eve }]; complete"
		})
	}

	_, box := pods[2].enter(t, host, "", "anonymous")
	testkit.Eventually(t, "message from another pod", func() bool {
		if err := pods[0].reg.Send(host, presence.Message{Channels: []string{"anonymous"}, Body: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
		return len(box.Take()) > 0
	})
	// One payload each, in order.
	sent, came := make([]string, 200), []string{}
	for i := range sent {
		sent[i] = fmt.Sprintf(`anonymous (backend) {"n":%d}`, i)
		if err := pods[0].reg.Send(host, presence.Message{Channels: []string{"anonymous"}, Body: fmt.Appendf(nil, `{"n":%d}`, i)}); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "messages in their order", func() bool {
		came = append(came, slices.DeleteFunc(box.Take(), func(line string) bool { return line == "anonymous (backend) {}" })...)
		return slices.Equal(came, sent)
	})

	// More than fits into one payload.
	want := []presence.User{{ID: "eve"}}
	for i := range 20_000 {
		u := presence.User{ID: fmt.Sprintf("user-%08d", i), Email: fmt.Sprintf("user-%08d@example.com", i)}
		pods[2].connect(t, host, u.ID, u.Email)
		want = append(want, u)
	}
	testkit.Eventually(t, "long answer", func() bool {
		dcs, truth := pods[0].AllUsers(t.Context(), host, true, presence.PerUser)
		return truth.Complete && len(dcs) == 2 && slices.Equal(dcs[1].Users, want)
	})
	r := pods[0].Report(t.Context())
	// The bus keeps the order of each subject alone: the first known heartbeat of a pod can
	// overtake another of its payloads, which then counts as repeated. On a slow machine, a reply
	// that comes when its query has ended counts as unknown.
	r.Ignored.Repeated, r.Ignored.Unknown = 0, 0
	if len(r.Pods) != 3 || !r.Ready || r.Pods[1].RoundTrip <= 0 || r.Ignored != (Ignored{}) {
		t.Errorf("report: %+v", r)
	}

	pods[2].Drain()
	if err := pods[2].Close(); err != nil {
		t.Fatal(err)
	}
	for _, p := range pods[:2] {
		testkit.Eventually(t, "answer without the pod that ended", func() bool {
			return answers(p) == "x 2+0[{ann ann@x} {bob }]; complete"
		})
	}
}
