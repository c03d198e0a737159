package query

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

func hostsText(list []PodHost, truth Truth) string {
	var b strings.Builder
	for _, h := range list {
		fmt.Fprint(&b, h.Host, " ", h.DataCenter, "/", h.Pod, " ", h.LoggedIn, "; ")
	}
	return fmt.Sprintf("%s{%v %v}", &b, truth.Complete, truth.Missing)
}

// Operators see the hosts of all pods, also of those that serve none of this pod's hosts.
func TestHostsOfAllPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		host := testkit.MustHost(t, "example.com")
		other := testkit.MustHost(t, "another.com")
		a := settled(t, n, "x", "a")
		b := settled(t, n, "y", "b")
		a.local.hosts = []message.HostCount{{Host: host, LoggedIn: 1}}
		b.local.hosts = []message.HostCount{{Host: host, LoggedIn: 2}, {Host: other, LoggedIn: 3}}
		list, truth := a.Hosts(t.Context(), presence.HostName{})
		if got := hostsText(list, truth); got != "another.com y/b 3; example.com x/a 1; example.com y/b 2; {true []}" {
			t.Error(got)
		}
		list, truth = b.Hosts(t.Context(), other)
		if got := hostsText(list, truth); got != "another.com y/b 3; {true []}" {
			t.Error(got)
		}
		s := n.Script(t, "y", "s", 1)
		s.Beat()                // it answers no query
		time.Sleep(time.Second) // until the answer above is no longer shared
		list, truth = a.Hosts(t.Context(), presence.HostName{})
		if got := hostsText(list, truth); got != "another.com y/b 3; example.com x/a 1; example.com y/b 2; {false [y/s]}" {
			t.Error(got)
		}
	})
}

func TestListenersOfAllPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		host := testkit.MustHost(t, "example.com")
		a := settled(t, n, "x", "a")
		b := settled(t, n, "y", "b")
		for _, p := range []*testPod{a, b} {
			if _, err := p.responder.registry.Connect(host, new(presence.Rules), nil, clustertest.Outbox{}); err != nil {
				t.Fatal(err)
			}
		}
		a.local.listeners = []message.Listener{{Conn: presence.ID{1}, User: "ann"}}
		b.local.listeners = []message.Listener{{Conn: presence.ID{2}, User: "ann"}, {Conn: presence.ID{3}, User: "bob"}}
		of, list, next, truth := a.Listeners(t.Context(), host, presence.Listeners{Channel: "c", Limit: 1})
		if len(of) != 2 || len(list) != 2 || list[0].Pod != "a" || list[1].Pod != "b" || next != "ann" || !truth.Complete {
			t.Errorf("%v %v %q %v", of, list, next, truth)
		}
	})
}

// A page of all pods has the first users of all of them.
func TestPagesOfListenersAreMerged(t *testing.T) {
	listeners := func(users ...string) (list []message.Listener) {
		for _, user := range users {
			list = append(list, message.Listener{User: user})
		}
		return list
	}
	replies := func() []podReply {
		return []podReply{
			{Peer: link.Peer{DC: "x", Pod: "1"}, parts: []*message.Reply{{Listeners: listeners("a", "a")}, {Listeners: listeners("c", "d")}}},
			{Peer: link.Peer{DC: "x", Pod: "2"}, parts: []*message.Reply{{Listeners: listeners("a", "b", "d")}}},
			{Peer: link.Peer{DC: "y", Pod: "1"}, parts: []*message.Reply{{NotServed: true, Listeners: listeners("e")}}},
		}
	}
	for _, tt := range []struct {
		limit      int
		want, next string
	}{
		{0, "a1 a1 a2 b2 c1 d1 d2 ", ""}, {1, "a1 a1 a2 ", "a"}, {3, "a1 a1 a2 b2 c1 ", "c"}, {4, "a1 a1 a2 b2 c1 d1 d2 ", ""},
	} {
		a := merge(queryKey{kind: message.KindListeners, page: presence.Page{Limit: tt.limit}}, replies())
		var got strings.Builder
		for _, l := range a.listeners {
			got.WriteString(l.User + l.Pod + " ")
		}
		if got.String() != tt.want || a.next != tt.next {
			t.Errorf("limit %d: %q, next %q", tt.limit, got.String(), a.next)
		}
	}
}
