package gateway

import (
	"slices"
	"testing"

	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// A user has connections that are signed in, connections that count as the user since they entered
// a channel, and connections of somebody else that are in a channel as the user.
func TestCalledConnsOfAUser(t *testing.T) {
	r := presence.NewRegistry(wire.Encoder{})
	name := testkit.MustHost(t, "portal.example.com")
	connect := func(id byte, user string) *presence.Conn {
		var u *presence.User
		if user != "" {
			u = &presence.User{ID: user}
		}
		c, err := r.ConnectAs(presence.ID{id}, name, new(presence.Rules), u, new(testkit.Ear))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	enter := func(c *presence.Conn, channels ...string) {
		for _, channel := range channels {
			if err := c.Enter(channel, presence.Entry{Proof: true, Member: &presence.Identity{ID: "ada"}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	enter(connect(1, "ada"), "presence-a")
	identified := connect(2, "")
	if err := identified.Identify(presence.User{ID: "ada"}, nil); err != nil {
		t.Fatal(err)
	}
	enter(identified, "presence-a")
	enter(connect(3, "bob"), "presence-a", "presence-b")
	connect(4, "bob")
	for what, test := range map[string]struct {
		call cluster.Call
		want []byte
	}{
		"the user":                {cluster.Call{Users: []string{"ada"}}, []byte{1, 2}},
		"signed in":               {cluster.Call{Users: []string{"ada"}, SignedIn: true}, []byte{1}},
		"signed in, and members":  {cluster.Call{Users: []string{"ada"}, SignedIn: true, Members: true}, []byte{1, 2, 3}},
		"the user, and members":   {cluster.Call{Users: []string{"ada", "ada"}, Members: true}, []byte{1, 2, 3}},
		"somebody who is nowhere": {cluster.Call{Users: []string{"eve"}, Members: true}, nil},
		"two users":               {cluster.Call{Users: []string{"ada", "bob"}, SignedIn: true, Members: true}, []byte{1, 2, 3, 4}},
	} {
		var got []byte
		for _, c := range calledConns(r.Host(name), &test.call) {
			got = append(got, c.ID()[0])
		}
		slices.Sort(got)
		if !slices.Equal(slices.Compact(got), test.want) {
			t.Errorf("%s: connections %v, want %v", what, got, test.want)
		}
	}
}
