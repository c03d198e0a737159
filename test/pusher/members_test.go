package pusher

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestT16MembersEqualTheModel lets 50 clients join and leave at random on three pods. After each
// step, the members of a watcher on each pod, by pusher-js, equal the model.
func TestT16MembersEqualTheModel(t *testing.T) {
	t.Parallel()
	const users, steps = 50, 60
	pods := deploy(t, 3, setup{options: "limits {\nframes_per_second 1000\n}"})
	n := newNode(t)
	model := make(map[string]bool) // users in the channel
	for i, p := range pods {
		watcher := fmt.Sprintf("watcher-%d", i)
		n.run(fmt.Sprintf(`connect(%q, %s, %[1]q, {at: %[3]d})`, watcher, pusherOptions(p), i))
		n.run(fmt.Sprintf(`follow(%q, "presence-room")`, watcher))
		model[watcher] = true
	}
	clients := make([]*client, users)
	for i := range clients {
		clients[i] = pods[i%len(pods)].open(t)
	}
	// A step changes several clients at once, on all pods: what is compared is where they come to
	// rest.
	expect := func(step int) {
		t.Helper()
		want := strings.Join(slices.Sorted(maps.Keys(model)), ",")
		for i := range pods {
			watcher := fmt.Sprintf("watcher-%d", i)
			n.waitFor(fmt.Sprintf("the members of %s after step %d to be %s", watcher, step, want),
				fmt.Sprintf(`membersOf(%q, "presence-room") === %q && client(%[1]q).channel("presence-room").members.count === %[3]d`,
					watcher, want, len(model)))
		}
	}
	expect(0)
	for step := 1; step <= steps; step++ {
		for range 1 + rand.IntN(6) {
			i := rand.IntN(users)
			user := fmt.Sprintf("user-%d", i)
			if model[user] {
				clients[i].send(t, "pusher:unsubscribe", `{"channel":"presence-room"}`)
				delete(model, user)
			} else {
				clients[i].sendRaw(t, clients[i].subscribeFrame("presence-room", channelData(user, "")))
				model[user] = true
			}
		}
		expect(step)
	}
	// Nobody was added or removed twice.
	for i := range pods {
		got := n.eval(fmt.Sprintf(`contradictions("watcher-%d").filter((what) => !what.includes("watcher-")).join()`, i))
		if got != `""` {
			t.Errorf("the watcher on %s was told %s", pods[i].name, got)
		}
	}
}

// TestT17UserInThreeTabs joins one user on three pods: it is added once, and removed once. A killed
// pod's user is removed once.
func TestT17UserInThreeTabs(t *testing.T) {
	t.Parallel()
	pods := deploy(t, 3, setup{options: "grace 1s"})
	watcher := pods[0].open(t)
	watcher.enter(t, "presence-room", "watcher", "")
	var tabs []*client
	for _, p := range pods {
		tab := p.open(t)
		tab.enter(t, "presence-room", "ada", `{"name":"Ada"}`)
		tabs = append(tabs, tab)
	}
	lone := pods[2].open(t)
	lone.enter(t, "presence-room", "grace", "")
	watcher.expectData(t, "pusher_internal:member_added", "presence-room", `{"user_id":"ada","user_info":{"name":"Ada"}}`)
	watcher.expectData(t, "pusher_internal:member_added", "presence-room", `{"user_id":"grace"}`)

	killed := time.Now()
	pods[2].kill()
	watcher.expectData(t, "pusher_internal:member_removed", "presence-room", `{"user_id":"grace"}`)
	const latest = 5*time.Second + time.Second + time.Second // a heartbeat, the grace, and a busy machine
	if took := time.Since(killed); took > latest {
		t.Errorf("the user of the killed pod was removed after %s, want at most %s", took, latest)
	}
	tabs[0].send(t, "pusher:unsubscribe", `{"channel":"presence-room"}`)
	tabs[1].send(t, "pusher:unsubscribe", `{"channel":"presence-room"}`)
	watcher.expectData(t, "pusher_internal:member_removed", "presence-room", `{"user_id":"ada"}`)
	last := pods[1].open(t)
	last.enter(t, "presence-room", "last", "")
	watcher.expectData(t, "pusher_internal:member_added", "presence-room", `{"user_id":"last"}`)
	watcher.expectNothing(t)
}

// TestT18ReloadOfAPage loses the connection and is back within the grace: nobody hears of it.
func TestT18ReloadOfAPage(t *testing.T) {
	t.Parallel()
	hooks := newReceiver(t)
	p := start(t, setup{
		options: "grace 3s",
		pusher:  "webhook " + hooks.url + " {\nevents member_added member_removed channel_occupied channel_vacated\n}",
	})
	watcher := p.open(t)
	watcher.enter(t, "presence-room", "watcher", "")
	page := p.open(t)
	page.enter(t, "presence-room", "ada", `{"name":"Ada"}`)
	watcher.expectData(t, "pusher_internal:member_added", "presence-room", `{"user_id":"ada","user_info":{"name":"Ada"}}`)
	page.cut()
	<-time.After(time.Second) // as long as a page takes to load
	page = p.open(t)
	page.enter(t, "presence-room", "ada", `{"name":"Ada"}`)
	after := p.open(t)
	after.enter(t, "presence-room", "after", "")
	watcher.expectData(t, "pusher_internal:member_added", "presence-room", `{"user_id":"after"}`)
	hooks.await(t, "member_added presence-room after")
	want := []string{
		"channel_occupied presence-room", "member_added presence-room ada",
		"member_added presence-room after", "member_added presence-room watcher",
	}
	if got := hooks.names(); !slices.Equal(got, want) {
		t.Errorf("the webhooks are %q, want %q", got, want)
	}
	page.cut()
	left := time.Now()
	watcher.expectData(t, "pusher_internal:member_removed", "presence-room", `{"user_id":"ada"}`)
	if took := time.Since(left); took < 2900*time.Millisecond {
		t.Errorf("the member was removed after %s, before the end of the grace", took)
	}
}

// TestT14MemberData takes and refuses channel data of a presence channel, as received.
func TestT14MemberData(t *testing.T) {
	t.Parallel()
	p := start(t, setup{})
	large := func(bytes int) string { return quote(strings.Repeat("x", bytes-2)) }
	for _, row := range []struct {
		name, data string
		id         string // "" if it is refused
		info       string // "null" for none
	}{
		{"number", `{"user_id":1}`, "1", "null"},
		{"text", `{"user_id":"1"}`, "1", "null"},
		{"fraction", `{"user_id":1.5}`, "", ""},
		{"empty", `{"user_id":""}`, "", ""},
		{"128 bytes", `{"user_id":` + large(130) + `}`, strings.Repeat("x", 128), "null"},
		{"129 bytes", `{"user_id":` + large(131) + `}`, "", ""},
		{"prototype", `{"user_id":"__proto__"}`, "__proto__", "null"},
		{"constructor", `{"user_id":"constructor"}`, "constructor", "null"},
		{"missing", `{"user_info":{}}`, "", ""},
		{"no object", `"ada"`, "", ""},
		{"no JSON", `{`, "", ""},
		{"object", `{"user_id":"ada","user_info":{"name" : "Ada"}}`, "ada", `{"name":"Ada"}`},
		{"array", `{"user_id":"ada","user_info":[1,2]}`, "ada", `[1,2]`},
		{"true", `{"user_id":"ada","user_info":true}`, "ada", `true`},
		{"null", `{"user_id":"ada","user_info":null}`, "ada", `null`},
		{"2 KiB", `{"user_id":"ada","user_info":` + large(2<<10) + `}`, "ada", large(2 << 10)},
		{"2 KiB and a byte", `{"user_id":"ada","user_info":` + large(2<<10+1) + `}`, "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := p.open(t)
			channel := "presence-" + strings.ReplaceAll(row.name, " ", "-")
			c.sendRaw(t, c.subscribeFrame(channel, row.data))
			if row.id == "" {
				if f := c.expect(t, "pusher:subscription_error", channel); f.text() == "" {
					t.Errorf("refused with %s", f.raw)
				}
				return
			}
			id := quote(row.id)
			c.expectData(t, "pusher_internal:subscription_succeeded", channel,
				`{"presence":{"ids":[`+id+`],"hash":{`+id+`:`+row.info+`},"count":1}}`)
		})
	}
}
