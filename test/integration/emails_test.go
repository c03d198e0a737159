package integration

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// A frame tells a browser the e-mail address of another user only if the site says so, whatever
// plugins do: the run has random steps of users, reloads to other plugins, and failures.
func TestNoFrameHasTheAddressOfAnotherUser(t *testing.T) {
	const marked = "(func (export \"rollcall_abi_v1\"))"
	live := []string{marked, marked + ` (func (export "rollcall_members_live"))`}
	// Stars for addresses; IDs with s are hidden, those with t end the instance.
	mask := install(t, "mask", guest(t, "mask", live...))
	trap := install(t, "trap", guest(t, "trap", append(live, "(export \"rollcall_classify\")", "", "(export \"rollcall_authorize\")", "")...))
	plugin := func(path, options string) string {
		return pluginOption(path, "message_timeout 30s\n "+options)
	}
	site := func(options string) string {
		text := portal(jwtOptions + "limits {\n frames_per_second 1000000\n }\n" + options)
		return strings.Replace(text, "members {\n show email info status\n }\n", "", 1)
	}
	const showing = "members {\n show email info status\n }\n"
	configurations := []struct {
		text    string
		showing bool // frames may have addresses
	}{
		{text: site("")},
		{text: site("members {\n show id\n }\n")},
		{text: site(plugin(mask, ""))},
		{text: site(plugin(mask, "on_failure pass"))},
		{text: site(plugin(mask, "") + plugin(trap, "on_failure pass"))},
		{text: site(plugin(trap, "on_failure pass") + plugin(mask, ""))},
		{text: site(plugin(mask, "") + plugin(trap, ""))},
		{text: site("members {\n show status info badge\n }\n" + plugin(mask, "on_failure pass"))},
		{text: site(showing), showing: true},
		{text: site(showing + plugin(mask, "on_failure pass")), showing: true},
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	load(t, configurations[0].text)
	u := &watchedUsers{rand: r}
	for range 8 {
		u.conns = append(u.conns, u.dial(t))
	}
	const steps = 600
	for step := range steps {
		if step%50 == 49 {
			next := configurations[r.IntN(len(configurations))]
			u.showing = u.showing || next.showing
			reload(t, next.text)
			for _, c := range u.conns {
				u.drain(t, c) // frames of before
			}
			u.showing = next.showing
		}
		u.step(t)
	}
	for _, c := range u.conns {
		u.drain(t, c)
	}
	if u.named == 0 || u.hidden == 0 {
		t.Errorf("%d users were named and %d senders hidden: does the run show anything?", u.named, u.hidden)
	}
	// The site can show addresses, and a plugin that fails does not mask them with on_failure pass.
	reload(t, site("members {\n show email\n }\n"+plugin(mask, "on_failure pass")))
	c := portalHost.Dial(t, login(t, "t1", "t1@private.example")...)
	c.Send(t, `{"type":"join","channel":"control","presence":"list"}`)
	for !strings.Contains(c.Next(t), `[{"id":"t1","email":"t1@private.example"}]`) {
		continue // until the plugin has failed
	}
}

// watchedUsers are connections whose frames are searched for addresses.
type watchedUsers struct {
	rand          *rand.Rand
	conns         []*ws.Client
	pings         int
	showing       bool // frames may have addresses
	named, hidden int  // frames
}

// user returns the ID of a random user; the first letter is what the plugin does with it.
func (u *watchedUsers) user() string {
	return string("abst"[u.rand.IntN(4)]) + string("123"[u.rand.IntN(3)])
}

func (u *watchedUsers) dial(t *testing.T) *ws.Client {
	t.Helper()
	id := u.user()
	return portalHost.Dial(t, login(t, id, id+"@private.example")...)
}

// step does one random thing.
func (u *watchedUsers) step(t *testing.T) {
	t.Helper()
	i := u.rand.IntN(len(u.conns))
	c := u.conns[i]
	channel := []string{"red", "green"}[u.rand.IntN(2)]
	switch u.rand.IntN(9) {
	case 0:
		u.drain(t, c)
		c.Close(t)
		u.conns[i] = u.dial(t)
	case 1:
		c.Send(t, `{"type":"leave","channel":"`+channel+`"}`)
	case 2, 3:
		c.Send(t, `{"type":"send","channels":["`+channel+`"],"message":{"text":"hello"}}`)
	case 5:
		c.Send(t, fmt.Sprintf(`{"type":"status","status":{"n":%d}}`, u.rand.IntN(100)))
	case 4:
		id := u.user()
		c.Send(t, `{"type":"authenticate","token":"`+token(t, id, id+"@private.example", time.Hour)+`"}`)
	default:
		c.Send(t, `{"type":"join","channel":"`+channel+`","presence":"list"}`)
	}
	u.drain(t, u.conns[i])
}

// drain reads the frames of a connection up to the answer to a ping. Its own address is in welcome
// and authenticated alone.
func (u *watchedUsers) drain(t *testing.T, c *ws.Client) {
	t.Helper()
	u.pings++
	c.Send(t, fmt.Sprintf(`{"type":"ping","id":%d}`, u.pings))
	for {
		frame := c.Next(t)
		if frame == fmt.Sprintf(`{"type":"pong","id":%d}`, u.pings) {
			return
		}
		switch {
		case strings.HasPrefix(frame, `{"type":"authenticated"`):
		case strings.Contains(frame, "private.example") && !u.showing:
			t.Fatalf("a frame has an address: %s", frame)
		case strings.Contains(frame, `"joined":[{"id":`):
			u.named++
		case strings.Contains(frame, `"from":null`):
			u.hidden++
		}
	}
}
