package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
	"github.com/rollcall-gateway/rollcall/presence/cluster/bus"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// otherPod is a pod without Caddy.
type otherPod struct {
	*cluster.Cluster
	registry *presence.Registry
	host     presence.HostName
}

func (p *otherPod) Serves(host presence.HostName) bool                         { return host == p.host }
func (p *otherPod) Connections() int                                           { return 1 }
func (p *otherPod) Explain(presence.HostName, string) (c []message.Connection) { return c }

func (p *otherPod) Disconnect(presence.HostName, string, *message.Call) int { return 0 }
func (p *otherPod) Leave(presence.HostName, *message.Call) int              { return 0 }

// Hosts implements Local.
func (p *otherPod) Hosts(presence.HostName) []message.HostCount {
	return []message.HostCount{{Host: p.host, LoggedIn: 1}}
}

// Listeners implements Local.
func (p *otherPod) Listeners(_ presence.HostName, l presence.Listeners) (of presence.Listing, list []message.Listener, ok bool) {
	of, conns, ok := p.registry.Host(p.host).Listeners(l)
	for _, c := range conns {
		list = append(list, message.Listener{Conn: c.ID, User: c.User.ID, Email: c.User.Email})
	}
	return of, list, ok
}

// startOther starts a pod that serves the portal and forms a route to the address.
func startOther(t *testing.T, dc, pod, route string) *otherPod {
	t.Helper()
	p := &otherPod{registry: presence.NewRegistry(wire.Encoder{}), host: testkit.MustHost(t, "portal.example.com")}
	var err error
	p.Cluster, err = cluster.Start(cluster.Config{
		DataCenter: dc, Pod: pod, Secret: clusterSecret,
		Bus: bus.Config{Listen: loopback.AddressFor(t), Routes: []string{route}, Secret: clusterSecret},
	}, p.registry, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	p.SetSites([]message.Site{{Sets: [][]string{{p.host.String()}}}})
	return p
}

func (p *otherPod) arrive(t *testing.T, id, email, channel string) *presence.Conn {
	t.Helper()
	conn, err := p.registry.Connect(p.host, new(presence.Rules), &presence.User{ID: id, Email: email}, sink{})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Join(channel, presence.WatchNone, ""); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestTwoPods connects this module's pod with another one, in two data centers, over real routes.
func TestTwoPods(t *testing.T) {
	address := loopback.AddressFor(t)
	c := mustLoad(t, clustered("listen "+address+"\nsecret "+clusterSecret))
	h := c.handler(t)
	stage(t, c.app.hub, c.app.hub.StartPods)
	s := c.snapshot()
	c.app.hub.Offer(s)
	popped := false
	t.Cleanup(func() {
		if !popped {
			c.app.hub.TakeBack(s)
		}
	})
	other := startOther(t, "eu-west-1", "web-2", address)
	other.arrive(t, "ada", "ada@example.com", "room")
	grace := arrive(t, h, "portal.example.com", "grace", "grace@example.com", "room")

	const both = `{"eu-west-1":{"authenticated":1,"anonymous":0},"us-east-1":{"authenticated":1,"anonymous":0},"_total":{"authenticated":2,"anonymous":0}}`
	ask := func(endpoint, body string) *httptest.ResponseRecorder {
		return post(t, h, "/message/"+endpoint, `{"apiKey":"k"`+body+`}`)
	}
	testkit.Eventually(t, "both pods are in a complete answer", func() bool {
		w := ask("allusers", `,"requireComplete":true`)
		return w.Code == http.StatusOK && w.Body.String() == both
	})
	if w := getAdmin(t, "/rollcall/health"); w.Code != http.StatusOK {
		t.Errorf("health %d: %s", w.Code, w.Body)
	}
	if w := ask("users", `,"channel":"room","scope":"all"`); w.Body.String() !=
		`{"room":[{"id":"ada","email":"ada@example.com"},{"id":"grace","email":"grace@example.com"}]}` {
		t.Errorf("users of all pods: %s", w.Body)
	}
	for _, scope := range []string{"pod", "dc"} {
		if w := ask("users", `,"channel":"room","scope":"`+scope+`"`); w.Body.String() != `{"room":[{"id":"grace","email":"grace@example.com"}]}` {
			t.Errorf("users with scope %s: %s", scope, w.Body)
		}
	}
	visitor, backstage := arrive(t, h, "portal.example.com", "", "", "anonymousChat"), other.arrive(t, "ada", "", "backstage")
	for scope, want := range map[string]string{
		"pod": `{"authenticated":["room"],"anonymous":["anonymousChat"]}`,
		"dc":  `{"authenticated":["room"],"anonymous":["anonymousChat"]}`,
		"all": `{"authenticated":["backstage","room"],"anonymous":["anonymousChat"]}`,
	} {
		if w := ask("channels", `,"requireComplete":true,"scope":"`+scope+`"`); w.Code != http.StatusCreated || w.Body.String() != want {
			t.Errorf("channels with scope %s: status %d: %s, want %s", scope, w.Code, w.Body, want)
		}
	}
	visitor.Close()
	backstage.Close()
	var r cluster.Report
	decode(t, getAdmin(t, "/rollcall/cluster"), &r)
	if len(r.Pods) != 2 || r.Pods[0].State != "self" || r.Pods[1].Pod != "web-2" || r.Pods[1].State != "alive" || !r.Bus.Embedded {
		t.Errorf("report %+v", r)
	}
	running := c.app.hub.Joined()
	whole := t // configurations stay in effect when a subtest ends

	t.Run("a reload keeps the cluster", func(t *testing.T) {
		next := mustLoad(whole, clustered("listen "+address+"\nsecret "+clusterSecret+"\n# another"))
		if err := c.app.hub.CheckCluster(next.app.cluster); err != nil {
			t.Fatal(err)
		}
		n := next.snapshot()
		c.app.hub.Offer(n)
		c.app.hub.TakeBack(s)
		s = n
		if c.app.hub.Joined() != running {
			t.Error("it was started again")
		}
		h = next.app.handlers[0]
		if w := ask("allusers", `,"requireComplete":true`); w.Body.String() != both {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})

	t.Run("the cluster takes over other settings", func(t *testing.T) {
		next := mustLoad(whole, clustered("listen "+address+"\nsecret "+clusterSecret+"\nquery_timeout 400ms"))
		n := next.snapshot()
		c.app.hub.Offer(n)
		c.app.hub.TakeBack(s)
		s = n
		if c.app.hub.Joined() != running {
			t.Error("it was started again")
		}
		h = next.app.handlers[0]
		if w := ask("allusers", `,"requireComplete":true`); w.Body.String() != both {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})

	t.Run("another secret starts another one", func(t *testing.T) {
		cut := mustLoad(whole, clustered("listen "+address+"\nsecret "+strings.ToLower(clusterSecret)+"-2")).snapshot()
		c.app.hub.Offer(cut)
		c.app.hub.TakeBack(s)
		if now := c.app.hub.Joined(); now == running || now == nil {
			t.Fatalf("the cluster is %+v", now)
		}
		next := mustLoad(whole, clustered("listen "+address+"\nsecret "+clusterSecret))
		s = next.snapshot()
		c.app.hub.Offer(s)
		c.app.hub.TakeBack(cut)
		h = next.app.handlers[0]
		testkit.Eventually(t, "the other pod is back", func() bool {
			w := ask("allusers", `,"requireComplete":true`)
			return w.Code == http.StatusOK && w.Body.String() == both
		})
	})

	t.Run("a goodbye is instant", func(t *testing.T) {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
		testkit.Eventually(t, "the other one is gone", func() bool {
			w := ask("allusers", "")
			return w.Header().Get("Rollcall-Complete") == "true" && !strings.Contains(w.Body.String(), "eu-west-1")
		})
	})

	t.Run("the drain says goodbye", func(t *testing.T) {
		witness := startOther(t, "us-east-1", "web-3", address)
		states := func() (got []string) {
			for _, p := range witness.Report(t.Context()).Pods[1:] {
				got = append(got, p.Pod+" "+p.State)
			}
			return got
		}
		testkit.Eventually(t, "the witness sees the pod", func() bool { return reflect.DeepEqual(states(), []string{"web-1 alive"}) })
		grace.Close() // not a session, so it is not notified
		c.app.hub.TakeBack(s)
		popped = true
		testkit.Eventually(t, "the witness is alone", func() bool { return len(states()) == 0 })
	})
}
