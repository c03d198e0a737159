package command

import (
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence/cluster"
	"github.com/rollcall-gateway/rollcall/presence/cluster/bus"
)

func TestUnwellClusters(t *testing.T) {
	for name, test := range map[string]struct {
		pods []cluster.PodReport
		want string
	}{
		"well":        {[]cluster.PodReport{{State: "self"}, {State: "alive"}, {State: "suspect"}, {State: "draining"}}, ""},
		"unreachable": {[]cluster.PodReport{{State: "self"}, {DataCenter: "a", Pod: "b", State: "unreachable"}}, "a/b cannot be reached: start it, mend the network, or forget it if it has ended for good"},
		"conflict":    {[]cluster.PodReport{{State: "self"}, {DataCenter: "a", Pod: "b", State: "alive", Conflict: true}}, "a/b is the name of two processes: give each its own pod"},
	} {
		err := unwell(&cluster.Report{Ready: true, Pods: test.pods})
		if (err == nil) != (test.want == "") || (err != nil && err.Error() != test.want) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
	if got := plain("a\x1b[2Jb\n"); got != "a?[2Jb?" {
		t.Errorf("plain made %q", got)
	}
}

// Otherwise an operator does not know which pods still count, and can be forgotten.
func TestCrashedPodsAreShown(t *testing.T) {
	const line = "\ncrashed, forget those that do not come back: us-east-1/web-3, us-east-1/web-4\n"
	for _, crashed := range [][]string{nil, {"us-east-1/web-3", "us-east-1/web-4"}} {
		var out strings.Builder
		if err := printReport(&out, &cluster.Report{Name: "rollcall", Crashed: crashed}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), line) != (crashed != nil) {
			t.Errorf("%q crashed, it prints\n%s", crashed, out.String())
		}
	}
}

func TestTheLineOfNATS(t *testing.T) {
	for name, test := range map[string]struct {
		bus  bus.State
		want string
	}{
		"inside Caddy": {bus.State{Connected: true, Embedded: true}, "connected, server of this process, 0 routes, reconnected 0 times, dropped 0"},
		"no route":     {bus.State{Connected: true, Embedded: true, Errors: 3}, "connected, server of this process, 0 routes, errors of rollcall.cluster.nats in the log, reconnected 0 times, dropped 0"},
		"external":     {bus.State{Connected: true, Server: "n1", URL: "nats://h:4222"}, "connected, server n1 at nats://h:4222, reconnected 0 times, dropped 0"},
		"down":         {bus.State{LastError: "connection refused"}, "not connected, reconnected 0 times, dropped 0, last error: connection refused"},
	} {
		if got := natsLine(&cluster.Report{Bus: test.bus}); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
