package pusher

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// clientEvent is a frame of a client.
func clientEvent(event, channel, data string) string {
	return fmt.Sprintf(`{"event":%s,"channel":%s,"data":%s}`, quote(event), quote(channel), data)
}

// TestT19ClientEvents reach the others on all pods, and those that are refused reach nobody.
func TestT19ClientEvents(t *testing.T) {
	t.Parallel()
	pods := deploy(t, 2, setup{pusher: "client_events", options: "channels {\ndefault anonymous\n}"})
	sender, near, far := pods[0].open(t), pods[0].open(t), pods[1].open(t)
	sender.skipMembers, near.skipMembers, far.skipMembers = true, true, true
	channels := []string{"private-x", "presence-x", "private-encrypted-x", "public"}
	for _, channel := range channels {
		for i, c := range []*client{sender, near, far} {
			if channel == "presence-x" {
				c.sendRaw(t, c.subscribeFrame(channel, channelData([]string{"ada", "bob", "carol"}[i], "")))
				c.until(t, "pusher_internal:subscription_succeeded")
				continue
			}
			c.sendRaw(t, c.subscribeFrame(channel, ""))
			c.until(t, "pusher_internal:subscription_succeeded")
		}
	}
	awaitCount(t, pods[0], "presence-x", 3)
	drain(t, pods[0], sender, near, far)

	sender.sendRaw(t, clientEvent("client-a", "private-x", `{"n":1}`))
	sender.sendRaw(t, clientEvent("client-b", "presence-x", `"{\"n\":2}"`))
	sender.expectNothing(t)
	for _, c := range []*client{near, far} {
		got := make(map[string]bool) // events of two channels have no order
		for range 2 {
			f := c.next(t)
			got[fmt.Sprintf("%s %s %s %q", f.Event, f.Channel, f.text(), f.UserID)] = true
		}
		if !got[`client-a private-x {"n":1} ""`] || !got[`client-b presence-x {"n":2} "ada"`] {
			t.Errorf("the events are %v", got)
		}
	}
	for name, text := range map[string]string{
		"public":         clientEvent("client-c", "public", `{}`),
		"encrypted":      clientEvent("client-c", "private-encrypted-x", `{}`),
		"not subscribed": clientEvent("client-c", "private-y", `{}`),
		"no channel":     `{"event":"client-c","data":{}}`,
		"long name":      clientEvent("client-"+strings.Repeat("x", 200), "private-x", `{}`),
		"large":          clientEvent("client-c", "private-x", quote(strings.Repeat("x", 10<<10+1))),
	} {
		sender.sendRaw(t, text)
		f := sender.next(t)
		if f.Event != "pusher:error" || !strings.Contains(string(f.Data), `"code":null`) {
			t.Errorf("%s: %s", name, f.raw)
		}
	}
	sender.sendRaw(t, clientEvent("hello", "private-x", `{}`)) // no client event, and no command
	drain(t, pods[0], near, far)

	other := pods[0].open(t) // has its own rate
	other.subscribe(t, "private-x")
	for range 10 {
		other.sendRaw(t, clientEvent("client-d", "private-x", `{}`))
	}
	other.expectNothing(t)
	other.sendRaw(t, clientEvent("client-e", "private-x", `{}`))
	other.expectError(t, "4301")
	for _, c := range []*client{near, far} {
		for range 10 {
			c.expectData(t, "client-d", "private-x", `{}`)
		}
	}
	drain(t, pods[0], near, far)

	off := start(t, setup{})
	a, b := off.open(t), off.open(t)
	a.subscribe(t, "private-x")
	b.subscribe(t, "private-x")
	a.sendRaw(t, clientEvent("client-a", "private-x", `{}`))
	a.expectError(t, "null")
	drain(t, off, b)
}

// drain checks that nothing arrives at the clients before an event of the API in their channel
// private-x.
func drain(t *testing.T, p *pod, clients ...*client) {
	t.Helper()
	p.trigger(t, "private-x", "marker", `{}`)
	for _, c := range clients {
		c.expectData(t, "marker", "private-x", `{}`)
	}
}

// awaitCount waits until a channel has n connections over all pods.
func awaitCount(t *testing.T, p *pod, channel string, n int) {
	t.Helper()
	want := fmt.Sprintf(`{"occupied":%t,"subscription_count":%d}`, n > 0, n)
	ws.Poll(t, ws.Patience, func() error {
		if diff := ws.Diff(p.ask(t, "/channels/"+channel, map[string]string{"info": "subscription_count"}), want); diff != "" {
			return fmt.Errorf("%s: %s", channel, diff)
		}
		return nil
	})
}

// TestT20ForgedUser drops the user_id that a client claims.
func TestT20ForgedUser(t *testing.T) {
	t.Parallel()
	p := start(t, setup{pusher: "client_events"})
	mallory, bob := p.open(t), p.open(t)
	bob.enter(t, "presence-x", "bob", "")
	bob.subscribe(t, "private-x")
	mallory.enter(t, "presence-x", "mallory", "")
	mallory.subscribe(t, "private-x")
	bob.expect(t, "pusher_internal:member_added", "presence-x")
	for channel, want := range map[string]string{"presence-x": "mallory", "private-x": ""} {
		mallory.sendRaw(t, `{"event":"client-a","channel":`+quote(channel)+`,"user_id":"ada","data":{},"from":{"id":"ada"}}`)
		if f := bob.expect(t, "client-a", channel); f.UserID != want || strings.Contains(f.raw, "ada") {
			t.Errorf("the event is %s, want it from %q", f.raw, want)
		}
	}
}

// TestT21CacheChannel gives the last event of the server to a late subscriber on another pod.
func TestT21CacheChannel(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	pods := deploy(t, 2, setup{pusher: "client_events\ncache_ttl 3s", options: "channels {\ndefault anonymous\n}"})
	const channel = "private-cache-x"
	first := pods[0].open(t)
	first.subscribe(t, channel)
	first.expectData(t, "pusher:cache_miss", channel, `{}`)
	pods[0].trigger(t, channel, "one", `{"n":1}`)
	published := time.Now()
	pods[0].trigger(t, channel, "two", `{"n":2}`)
	first.expectData(t, "one", channel, `{"n":1}`)
	first.expectData(t, "two", channel, `{"n":2}`)
	first.sendRaw(t, clientEvent("client-three", channel, `{"n":3}`))
	first.expectNothing(t)

	late := pods[1].open(t)
	late.subscribe(t, channel)
	late.expectData(t, "two", channel, `{"n":2}`)
	late.expectNothing(t)
	info := map[string]string{"info": "cache"}
	for _, p := range pods {
		if got := p.ask(t, "/channels/"+channel, info); !strings.Contains(got, `"data":"{\"n\":2}"`) || !strings.Contains(got, `"ttl":`) {
			t.Errorf("%s: %s", p.name, got)
		}
	}
	<-time.After(time.Until(published.Add(ttl + 500*time.Millisecond)))
	later := pods[1].open(t)
	later.subscribe(t, channel)
	later.expectData(t, "pusher:cache_miss", channel, `{}`)
	if got := pods[0].ask(t, "/channels/"+channel, info); ws.Diff(got, `{"occupied":true,"cache":null}`) != "" {
		t.Errorf("after the time to live: %s", got)
	}
}
