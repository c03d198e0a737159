package presence

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestListenersReceiveTheirNumber(t *testing.T) {
	for _, channel := range []string{"public", "private-a", "private-encrypted-a"} {
		t.Run(channel, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCacheWorld(t, nil)
				w.rules.SubscriptionCount, w.rules.Grace = true, time.Minute
				a, b, c := w.connect(), w.connect(), w.connect()
				has := func(n int) string { return fmt.Sprintf("%s has %d", channel, n) }
				a.enter(t, channel, WatchNone)
				a.wants(t, "joined "+channel, has(1))
				b.enter(t, channel, WatchCount)
				a.wants(t, has(2))
				b.wants(t, "joined "+channel, has(2))
				b.enter(t, channel, WatchCount)
				a.wants(t)
				b.wants(t, "joined "+channel, has(2))
				for _, c := range []*pageConn{b, c} { // several connections of a user
					if err := c.Enter(channel, Entry{Proof: true, Member: &Identity{ID: "one"}}); err != nil {
						t.Fatal(err)
					}
				}
				a.wants(t, has(3))
				b.Close() // the grace period is that of users
				a.wants(t, has(2))
				_ = a.Leave(channel, "")
				c.wants(t, "joined "+channel, has(3), has(2), has(1))
			})
		})
	}
}

func TestChannelsOfUsersAndOtherSitesHaveNoNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCacheWorld(t, nil)
		a, b := w.connect(), w.connect()
		a.enter(t, "public", WatchCount)
		a.wants(t, "joined public")
		w.rules.SubscriptionCount = true
		b.enter(t, "presence-a", WatchCount)
		b.wants(t, "joined presence-a")
		b.enter(t, "public", WatchNone)
		b.wants(t, "joined public", "public has 2")
		a.wants(t, "public has 2")
		w.rules.SubscriptionCount = false
		_ = b.Leave("public", "")
		a.wants(t)
	})
}

// A crowd is told its number at most once in 5 seconds, and the last number in any case.
func TestNumberOfACrowdIsSentSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCacheWorld(t, nil)
		w.rules.SubscriptionCount = true
		first := w.connect()
		first.enter(t, "public", WatchNone)
		crowd := make([]*pageConn, 120)
		for i := range crowd {
			crowd[i] = w.connect()
			crowd[i].enter(t, "public", WatchNone)
		}
		time.Sleep(maxFlushWait)
		want := []string{"joined public"}
		for n := range manyListeners - 1 { // then, presence is flushed less often
			want = append(want, fmt.Sprintf("public has %d", n+1))
		}
		first.wants(t, want...)
		time.Sleep(countPause - maxFlushWait)
		first.wants(t, "public has 121")
		crowd[0].Close()
		time.Sleep(countPause - time.Millisecond)
		first.wants(t)
		crowd[0] = w.connect()
		crowd[0].enter(t, "public", WatchNone)
		crowd[1].Close()
		time.Sleep(maxFlushWait)
		first.wants(t, "public has 120")
		time.Sleep(2 * countPause)
		first.wants(t)
		for _, c := range crowd {
			c.Close()
		}
		time.Sleep(countPause)
		first.page.mu.Lock()
		first.page.text.Reset()
		first.page.mu.Unlock()
		crowd[0] = w.connect()
		crowd[0].enter(t, "public", WatchNone)
		first.wants(t, "public has 2")
	})
}
