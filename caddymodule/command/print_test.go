package command

import (
	"testing"

	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

func TestUnwellClusters(t *testing.T) {
	for name, test := range map[string]struct {
		pods []cluster.PodReport
		want string
	}{
		"well":        {[]cluster.PodReport{{State: "self"}, {State: "alive"}, {State: "suspect"}, {State: "draining"}}, ""},
		"unreachable": {[]cluster.PodReport{{State: "self"}, {DataCenter: "a", Pod: "b", State: "unreachable"}}, "a/b cannot be reached"},
		"conflict":    {[]cluster.PodReport{{State: "self"}, {DataCenter: "a", Pod: "b", State: "alive", Conflict: true}}, "a/b is the name of two processes"},
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
