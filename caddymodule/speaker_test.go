package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// hearer is a receiver of events of one host that does what docs/events.md says.
type hearer struct {
	*httptest.Server
	mu       sync.Mutex
	epochs   map[int]uint64            // greatest epoch of each shard
	complete map[int]uint64            // last complete epoch of each shard
	members  map[string]map[string]int // by channel, with the shard
	named    map[string]uint64         // epochs of channels and members
	types    []string
	emails   map[string]bool // of users who came
	count    int             // of the last member.joined
}

func newHearer(t *testing.T) *hearer {
	t.Helper()
	h := &hearer{epochs: make(map[int]uint64), complete: make(map[int]uint64), members: make(map[string]map[string]int), named: make(map[string]uint64), emails: make(map[string]bool)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct{ Events []heardEvent }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, e := range body.Events {
			h.hear(e)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

type heardEvent struct {
	Type, Channel string
	Shard         int
	Epoch         uint64
	User          struct{ ID, Email string }
	Count         int
	Users         []struct{ ID string }
}

func (h *hearer) hear(e heardEvent) {
	if e.Epoch < h.epochs[e.Shard] {
		return
	}
	h.epochs[e.Shard] = e.Epoch
	h.types = append(h.types, e.Type)
	name := func(id string) {
		if h.members[e.Channel] == nil {
			h.members[e.Channel] = make(map[string]int)
		}
		h.members[e.Channel][id] = e.Shard
		h.named[e.Channel+"/"+id] = e.Epoch
	}
	switch e.Type {
	case "channel.occupied":
		name("")
	case "channel.vacated":
		delete(h.members, e.Channel)
	case "member.joined":
		h.count, h.emails[e.User.Email] = e.Count, true
		name(e.User.ID)
	case "user.online":
		name(e.User.ID)
	case "member.left", "user.offline":
		delete(h.members[e.Channel], e.User.ID)
	case "channel.state":
		name("")
		for _, u := range e.Users {
			name(u.ID)
		}
	case "epoch.complete":
		h.complete[e.Shard] = e.Epoch
		for channel, ids := range h.members {
			for id, shard := range ids {
				if shard == e.Shard && h.named[channel+"/"+id] < e.Epoch {
					delete(ids, id)
				}
			}
		}
	}
}

// text returns the members of each channel, and the users who are online before them.
func (h *hearer) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var lines []string
	for channel, ids := range h.members {
		var list []string
		for id := range ids {
			if id != "" {
				list = append(list, id)
			}
		}
		if len(list) > 0 {
			slices.Sort(list)
			lines = append(lines, channel+":"+strings.Join(list, ","))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, " ")
}

func (h *hearer) expect(t *testing.T, want string) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("the receiver has %q", want), func() bool { return h.text() == want })
}

func (h *hearer) completed() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for shard, epoch := range h.epochs {
		if h.complete[shard] == epoch {
			n++
		}
	}
	return n
}

func siteWithEvents(url string) string {
	return "http://portal.example.com {\n\trollcall {\n\t\tapi_key k\n\t\tevents " + url + " {\n\t\t\tsecret " + backendSecret +
		"\n\t\t\ttypes channel.occupied channel.vacated member.joined member.left user.online user.offline\n\t\t}\n\t}\n}"
}

// TestEventsOfOnePod follows a pod through a reload that takes events away, one that brings them
// back, and a stop.
func TestEventsOfOnePod(t *testing.T) {
	dataFolder(t)
	heard := newHearer(t)
	c := mustLoad(t, siteWithEvents(heard.URL))
	h := c.handler(t)
	s := c.snapshot()
	c.app.hub.Offer(s)
	arrive(t, h, "portal.example.com", "ada", "", "room")
	bob := arrive(t, h, "portal.example.com", "bob", "", "room", "other")
	heard.expect(t, ":ada,bob other:bob room:ada,bob")
	if err := bob.Leave("other", ""); err != nil {
		t.Fatal(err)
	}
	heard.expect(t, ":ada,bob room:ada,bob")
	testkit.Eventually(t, "the epochs of all shards are complete", func() bool { return heard.completed() == 8 })

	_, s = inEffect(t, "http://portal.example.com {\n\trollcall {\n\t\tapi_key k\n\t}\n}", s)
	if err := bob.Leave("room", ""); err != nil {
		t.Fatal(err)
	}
	arrive(t, h, "portal.example.com", "cid", "", "room")
	_, s = inEffect(t, siteWithEvents(heard.URL), s)
	heard.expect(t, ":ada,bob,cid room:ada,cid")
	c.app.hub.TakeBack(s)
}

// TestPluginsNameUsersOfEvents has a plugin that writes stars over addresses, and leaves staff out.
func TestPluginsNameUsersOfEvents(t *testing.T) {
	dataFolder(t)
	heard := newHearer(t)
	const abi = `(func (export "rollcall_abi_v1"))`
	file := assemble(t, "mask", abi, abi+` (func (export "rollcall_members_live"))`)
	site := strings.Replace(siteWithEvents(heard.URL), "api_key k\n", "api_key k\n"+plugin(file, ""), 1)
	c := mustLoad(t, site)
	h := c.handler(t)
	s := c.snapshot()
	c.app.hub.Offer(s)
	defer c.app.hub.TakeBack(s)
	arrive(t, h, "portal.example.com", "staff", "", "room")
	arrive(t, h, "portal.example.com", "ada", "ada@example.com", "room")
	heard.expect(t, ":ada room:ada")
	arrive(t, h, "portal.example.com", "bob", "bob@example.com", "room")
	heard.expect(t, ":ada,bob room:ada,bob")
	heard.mu.Lock()
	defer heard.mu.Unlock()
	if len(heard.emails) != 1 || !heard.emails["***************"] || heard.count != 3 {
		t.Errorf("e-mail addresses %v, the last count %d", heard.emails, heard.count)
	}
}

// TestEventsOfTwoPods has one pod with events, and one without, whose connections are told by the
// first.
func TestEventsOfTwoPods(t *testing.T) {
	dataFolder(t)
	heard := newHearer(t)
	address := loopback.AddressFor(t)
	global := clustered("listen " + address + "\nsecret " + clusterSecret)
	c := mustLoad(t, global[:strings.Index(global, "http://")]+siteWithEvents(heard.URL))
	h := c.handler(t)
	stage(t, c.app.hub, c.app.hub.StartPods)
	s := c.snapshot()
	c.app.hub.Offer(s)
	t.Cleanup(func() { c.app.hub.TakeBack(s) })
	other := startOther(t, "eu-west-1", "web-2", address)
	ada := other.arrive(t, "ada", "ada@example.com", "room")
	arrive(t, h, "portal.example.com", "bob", "", "room")
	heard.expect(t, ":ada,bob room:ada,bob")
	if err := ada.Leave("room", ""); err != nil {
		t.Fatal(err)
	}
	heard.expect(t, ":ada,bob room:bob")
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	heard.expect(t, ":bob room:bob")
}
