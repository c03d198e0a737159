package query

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

func TestReplies(t *testing.T) {
	part := func(id uint64, n uint32, last bool, users ...string) *message.Reply {
		r := &message.Reply{ID: id, Part: n, Last: last}
		for _, u := range users {
			r.Members = append(r.Members, presence.Member{User: presence.User{ID: u}})
		}
		return r
	}
	for _, tc := range []struct {
		name    string
		parts   func(id uint64) []*message.Reply
		want    string
		ignored link.Ignored
	}{
		{"in order", func(id uint64) []*message.Reply {
			return []*message.Reply{part(id, 0, false, "a"), part(id, 1, false, "b"), part(id, 2, true, "c")}
		}, "dc 3+0[{a } {b } {c }]; complete", link.Ignored{}},
		{"out of order", func(id uint64) []*message.Reply {
			return []*message.Reply{part(id, 2, true, "c"), part(id, 0, false, "a"), part(id, 1, false, "b")}
		}, "dc 3+0[{a } {b } {c }]; complete", link.Ignored{}},
		{"parts twice", func(id uint64) []*message.Reply {
			return []*message.Reply{part(id, 0, false, "a"), part(id, 0, false, "x"), part(id, 1, true, "b")}
		}, "dc 2+0[{a } {b }]; complete", link.Ignored{Unknown: 1}},
		{"all twice", func(id uint64) []*message.Reply {
			return []*message.Reply{part(id, 0, true, "a"), part(id, 0, true, "x")}
		}, "dc 1+0[{a }]; complete", link.Ignored{Unknown: 1}},
		{"not whole", func(id uint64) []*message.Reply {
			return []*message.Reply{part(id, 0, false, "a"), part(id, 2, true, "b")}
		}, "dc 0+0[]; missing [dc/s]", link.Ignored{}},
		{"no end", func(id uint64) []*message.Reply {
			return []*message.Reply{part(id, 0, false, "a")}
		}, "dc 0+0[]; missing [dc/s]", link.Ignored{}},
		{"two ends", func(id uint64) []*message.Reply {
			return []*message.Reply{part(id, 3, false, "a"), part(id, 1, true, "b"), part(id, 0, false, "c")}
		}, "dc 0+0[]; missing [dc/s]", link.Ignored{Unknown: 1}},
		{"after the end", func(id uint64) []*message.Reply {
			return []*message.Reply{part(id, 1, true, "b"), part(id, 2, false, "x"), part(id, 0, false, "a")}
		}, "dc 2+0[{a } {b }]; complete", link.Ignored{Unknown: 1}},
		{"another question", func(id uint64) []*message.Reply {
			return []*message.Reply{part(id+1, 0, true, "x"), part(id, 0, true, "a")}
		}, "dc 1+0[{a }]; complete", link.Ignored{Unknown: 1}},
		{"too many parts", func(id uint64) []*message.Reply {
			return []*message.Reply{part(id, maxReplyParts, true, "x"), part(id, 0, true, "a")}
		}, "dc 0+0[]; missing [dc/s]", link.Ignored{Unknown: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "dc", "a")
				s := n.Script(t, "dc", "s", 1)
				s.Replies(tc.parts)
				s.Beat()
				dcs, truth := a.AllUsers(t.Context(), testkit.MustHost(t, "example.com"), true, presence.PerUser)
				wantText(t, answer{truth: truth, dcs: dcs}, tc.want)
				synctest.Wait()
				if got := a.link.Ignored(); got != tc.ignored {
					t.Errorf("ignored: %+v, want %+v", got, tc.ignored)
				}
			})
		})
	}
}

func TestReplyBytesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "dc", "a")
		s, other := n.Script(t, "dc", "s", 1), n.Script(t, "dc", "other", 1)
		s.Beat()
		other.Beat()
		col := a.queries.collect([]link.Peer{s.Peer(), other.Peer()})
		hashes := make([]uint64, maxReplyBytes/8/4)
		for i := range uint32(4) {
			if !a.queries.AddReply(s.Peer(), &message.Reply{ID: col.id, Part: i, Count: message.Count{Hashes: hashes}}) {
				t.Errorf("part %d was not waited for", i)
			}
		}
		if a.queries.AddReply(s.Peer(), &message.Reply{ID: col.id, Part: 4, Last: true}) {
			t.Error("it is still waited for")
		}
		a.queries.wait(col, message.Query{ID: col.id})
		if _, missing := col.result(); !slices.Equal(distinct(missing), []string{"dc/other", "dc/s"}) {
			t.Errorf("missing: %q", missing)
		}
		a.queries.forget(col)
		time.Sleep(timing.Default().Remote) // other was asked again: its late replies are expected until then
		synctest.Wait()
		if len(a.queries.collectors) != 0 {
			t.Error("the collector stays")
		}
	})
}

func TestEqualQueriesShareAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "dc", "a")
		s := n.Script(t, "dc", "s", 1)
		answers := uint64(0)
		s.Answer(func(q *message.Query) []*message.Reply {
			answers++
			n := answers
			go func() {
				time.Sleep(40 * time.Millisecond)
				s.Send(s.Link.Inbox(a.link.Self()), anonymous(n)(q.ID)[0])
			}()
			return nil
		})
		s.Beat()
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { wantText(t, a.count(t), "dc 0+1; complete") })
		}
		all.Wait()
		wantText(t, a.count(t), "dc 0+1; complete") // 40 ms after the start
		time.Sleep(59 * time.Millisecond)
		wantText(t, a.count(t), "dc 0+1; complete") // 99 ms
		time.Sleep(time.Millisecond)
		wantText(t, a.count(t), "dc 0+2; complete")
		host := testkit.MustHost(t, "example.com")
		for _, other := range []func(){
			func() { a.AllUsers(t.Context(), host, true, presence.PerUser) },
			func() { a.AllUsers(t.Context(), host, false, presence.PerConnection) },
			func() { a.AllUsers(t.Context(), testkit.MustHost(t, "other.com"), false, presence.PerUser) },
			func() { a.Users(t.Context(), host, membership.ScopeAll, presence.PerUser, presence.Page{}) },
			func() { a.Users(t.Context(), host, membership.ScopeAll, presence.PerUser, presence.Page{Limit: 1}) },
			func() {
				a.Users(t.Context(), host, membership.ScopeAll, presence.PerUser, presence.Page{Limit: 1, After: "c"})
			},
			func() { a.Users(t.Context(), host, membership.ScopeDC, presence.PerUser, presence.Page{}) },
			func() { a.ChannelUsers(t.Context(), host, membership.ScopeAll, "c", presence.PerUser) },
			func() { a.Explain(t.Context(), host, "c") },
			func() { a.Channels(t.Context(), host, membership.ScopeAll) },
		} {
			before := len(s.Queried())
			other()
			if got := len(s.Queried()) - before; got != 1 {
				t.Errorf("%d queries for another question", got)
			}
		}
		time.Sleep(time.Second)
		a.queries.mu.Lock()
		defer a.queries.mu.Unlock()
		if got := len(a.queries.shared); got != 0 {
			t.Errorf("%d answers are kept", got)
		}
	})
}

func TestBusyPodDropsQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "dc", "a")
		s := n.Script(t, "dc", "s", 1)
		s.Beat()
		a.local.hold = make(chan struct{})
		for i := range uint64(maxQueries + responders + 10) {
			s.Send(s.Link.Queries(), &message.Query{ID: i, Kind: message.KindCount, Host: testkit.MustHost(t, "example.com")})
			synctest.Wait()
		}
		dropped := a.responder.Dropped()
		close(a.local.hold)
		if dropped != 10 {
			t.Errorf("%d dropped, want 10", dropped)
		}
		time.Sleep(link.BundleWindow)
		synctest.Wait()
		if got := len(clustertest.SentOf[*message.Reply](a.port)); got != maxQueries+responders {
			t.Errorf("%d replies", got)
		}
	})
}

func TestUsersAreCountedByUnion(t *testing.T) {
	hashes := func(ids ...string) []uint64 { return sortedHashes(slices.Values(ids), len(ids), 5) }
	reply := func(users uint64, hashes ...uint64) podReply {
		return podReply{parts: []*message.Reply{{Count: message.Count{Users: users, Hashes: hashes}}}}
	}
	inParts := func(users uint64, parts ...[]uint64) podReply {
		r := reply(users)
		r.more = func() (part []uint64) {
			if len(parts) > 0 {
				part, parts = parts[0], parts[1:]
			}
			return part
		}
		return r
	}
	var many []uint64
	for i := range uint64(100_000) {
		many = append(many, i<<40)
	}
	for _, tc := range []struct {
		name    string
		replies []podReply
		want    int
	}{
		{"no user", []podReply{reply(0), reply(0)}, 0},
		{"one pod needs no hashes", []podReply{reply(0), reply(7), reply(0)}, 7},
		{"distinct", []podReply{reply(1, hashes("a")...), reply(1, hashes("b")...)}, 2},
		{"doubled", []podReply{reply(2, hashes("a", "b")...), reply(2, hashes("b", "a")...)}, 2},
		{"in parts", []podReply{inParts(3, []uint64{1, 2}, []uint64{3}), reply(2, 3, 4)}, 4},
		{"in parts, of which one ends early", []podReply{inParts(3, []uint64{1, 9}), inParts(3), reply(2, 3, 9)}, 3},
		{"zero", []podReply{reply(1, 0), reply(2, 0, 1)}, 2},
		{"the highest", []podReply{reply(1, 1<<64-1), reply(2, 0, 1<<64-1)}, 2},
		{"many", []podReply{reply(100_000, many...), reply(100_000, many...), reply(1, 5)}, 100_001},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := countUsers(tc.replies); got != tc.want {
				t.Errorf("%d users, want %d", got, tc.want)
			}
		})
	}
	if slices.Equal(hashes("a"), sortedHashes(slices.Values([]string{"a"}), 1, 6)) {
		t.Error("the seed does not matter")
	}
}

func TestConnectionsInPartsBecomeOne(t *testing.T) {
	replies := []podReply{
		{Peer: link.Peer{DC: "x", Pod: "1"}, parts: []*message.Reply{
			{Conns: []message.Connection{{ID: "a", Channels: []string{"1"}}, {ID: "a", Channels: []string{"2"}}}},
			{Conns: []message.Connection{{ID: "a", Channels: []string{"3"}}, {ID: "b"}}},
		}},
		{Peer: link.Peer{DC: "x", Pod: "2"}, parts: []*message.Reply{{Conns: []message.Connection{{ID: "b"}}}}},
	}
	a := merge(queryKey{kind: message.KindExplain}, replies)
	a.truth.Complete = true
	wantText(t, a, "x/1 a [1 2 3]; x/1 b []; x/2 b []; complete")
}
