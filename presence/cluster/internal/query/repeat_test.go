package query

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

func ms(list ...int) []time.Duration {
	times := make([]time.Duration, len(list))
	for i, n := range list {
		times[i] = time.Duration(n) * time.Millisecond
	}
	return times
}

func TestSilentPodIsAskedAgainUntilItsDeadline(t *testing.T) {
	for _, tc := range []struct {
		name    string
		dc      string
		timeout time.Duration // of pods in this data center
		replies []time.Duration
		want    []time.Duration // times of the queries in the inbox
	}{
		{"in this data center", "dc", 500 * time.Millisecond, nil, ms(300)},
		{"in another data center", "other", 500 * time.Millisecond, nil, ms(300, 600, 900, 1200)},
		{"the deadline is short", "dc", 200 * time.Millisecond, nil, nil},
		{"the deadline is the time of the first repetition", "dc", 300 * time.Millisecond, nil, nil},
		{"replies at once", "other", 500 * time.Millisecond, ms(0), nil},
		{"replies late", "other", 500 * time.Millisecond, ms(650), ms(300, 600)},
		{"sends parts of a long reply", "other", 500 * time.Millisecond, ms(200, 400, 600, 800), nil},
		{"stops to send parts", "other", 500 * time.Millisecond, ms(200, 1600), ms(500, 800, 1100, 1400)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "dc", "a", func(tm *timing.Timing) { tm.Timeout = tc.timeout })
				s := n.Script(t, tc.dc, "s", 1)
				var began time.Time
				var asked []time.Duration
				s.Answer(func(q *message.Query) []*message.Reply {
					if q.Try > 0 {
						asked = append(asked, time.Since(began))
						return nil
					}
					for i, at := range tc.replies {
						part := &message.Reply{ID: q.ID, Part: uint32(i), Last: i == len(tc.replies)-1}
						time.AfterFunc(at, func() { s.Send(s.Link.Inbox(a.link.Self()), part) })
					}
					return nil
				})
				s.Beat()
				began = time.Now()
				a.count(t)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if !slices.Equal(asked, tc.want) {
					t.Errorf("asked again at %v, want %v", asked, tc.want)
				}
				for i, q := range s.Repeated() {
					if first := s.Queried()[0]; q.ID != first.ID || q.Seed != first.Seed || q.Try != uint32(i+1) {
						t.Errorf("%+v repeats %+v", q, first)
					}
				}
			})
		})
	}
}

// Only the pod that has not answered is asked again.
func TestPodThatHasRepliedIsNotAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "dc", "a")
		silent, other := n.Script(t, "dc", "silent", 1), n.Script(t, "dc", "other", 1)
		other.Replies(anonymous(1))
		silent.Beat()
		other.Beat()
		wantText(t, a.count(t), "dc 0+1; missing [dc/silent]")
		if got := fmt.Sprint(len(silent.Repeated()), len(other.Repeated())); got != "1 0" {
			t.Errorf("asked again %s times", got)
		}
		if got := a.link.Ignored(); got != (link.Ignored{}) {
			t.Errorf("ignored: %+v", got)
		}
	})
}

// The parts of several replies are not mixed, in whatever order they arrive. Replies that come late
// are not counted as unknown if the pod was asked again.
func TestRepliesToARepeatedQuery(t *testing.T) {
	type piece struct {
		at       int // milliseconds since the query
		try, num uint32
		last     bool
		users    int
	}
	for _, tc := range []struct {
		name    string
		pieces  []piece
		want    string
		unknown uint64
	}{
		{"to the second try", []piece{{310, 1, 0, true, 2}}, "other 2+0; complete", 0},
		{"to the first try, late", []piece{{310, 0, 0, true, 1}}, "other 1+0; complete", 0},
		{"to both", []piece{{310, 0, 0, true, 1}, {320, 1, 0, true, 2}}, "other 1+0; complete", 0},
		{"to the first, after the second", []piece{{310, 1, 0, true, 2}, {320, 0, 0, true, 1}}, "other 2+0; complete", 0},
		{"the first lacks its last part", []piece{{0, 0, 0, false, 1}, {310, 1, 0, false, 2}, {311, 1, 1, true, 2}}, "other 4+0; complete", 0},
		{"the first lacks its first part", []piece{{0, 0, 1, true, 1}, {310, 1, 0, false, 2}, {311, 1, 1, true, 2}}, "other 4+0; complete", 0},
		{"a part of the first comes last", []piece{{0, 0, 0, false, 1}, {310, 1, 0, false, 2}, {311, 0, 1, true, 1}, {312, 1, 1, true, 2}}, "other 4+0; complete", 0},
		{"only together they are whole", []piece{{0, 0, 0, false, 1}, {310, 1, 1, true, 2}}, "missing [other/s]", 0},
		{"a part twice", []piece{{310, 1, 0, false, 2}, {311, 1, 0, false, 2}, {312, 1, 1, true, 2}}, "other 4+0; complete", 1},
		{"after the answer, without a repetition", []piece{{0, 0, 0, true, 1}, {310, 1, 0, true, 2}}, "other 1+0; complete", 1},
		{"long after the answer", []piece{{310, 1, 0, true, 2}, {5000, 0, 0, true, 1}}, "other 2+0; complete", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "dc", "a")
				s := n.Script(t, "other", "s", 1)
				s.Answer(func(q *message.Query) []*message.Reply {
					for i, p := range tc.pieces {
						r := &message.Reply{ID: q.ID, Try: p.try, Part: p.num, Last: p.last}
						for j := range p.users {
							r.Members = append(r.Members, presence.Member{User: presence.User{ID: fmt.Sprint(i, " ", j)}})
						}
						if q.Try == 0 {
							time.AfterFunc(time.Duration(p.at)*time.Millisecond, func() { s.Send(s.Link.Inbox(a.link.Self()), r) })
						}
					}
					return nil
				})
				s.Beat()
				dcs, truth := a.AllUsers(t.Context(), testkit.MustHost(t, "example.com"), true, presence.PerUser)
				got := answer{truth: truth}
				for _, dc := range dcs {
					if dc.Name == "other" {
						dc.Users = nil
						got.dcs = append(got.dcs, dc)
					}
				}
				wantText(t, got, tc.want)
				for range 6 {
					time.Sleep(time.Second)
					s.Beat()
				}
				if got := a.link.Ignored(); got != (link.Ignored{Unknown: tc.unknown}) {
					t.Errorf("ignored: %+v", got)
				}
				a.queries.mu.Lock()
				defer a.queries.mu.Unlock()
				if got := len(a.queries.collectors); got != 0 {
					t.Errorf("%d collectors are kept", got)
				}
			})
		})
	}
}

func TestRepeatedQueryIsAnsweredOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "dc", "a")
		s := n.Script(t, "dc", "s", 1)
		s.Beat()
		ask := func(try uint32) {
			s.Send(s.Link.Queries(), &message.Query{ID: 1, Try: try, Kind: message.KindCount, Host: testkit.MustHost(t, "example.com")})
			synctest.Wait()
		}
		a.local.hold = make(chan struct{})
		ask(0)
		ask(1)
		ask(2)
		close(a.local.hold)
		synctest.Wait()
		ask(3) // the reply to the first was lost
		var tries []uint32
		for _, sent := range clustertest.SentOf[*message.Reply](a.port) {
			tries = append(tries, sent.Message.(*message.Reply).Try)
		}
		if !slices.Equal(tries, []uint32{0, 3}) || a.responder.Dropped() != 0 {
			t.Errorf("replied to %v, dropped %d", tries, a.responder.Dropped())
		}
	})
}

func TestPingsAreNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "dc", "a")
		s := n.Script(t, "other", "s", 1)
		s.Beat()
		if took := a.queries.Ping(t.Context()); len(took) != 0 {
			t.Errorf("a silent pod replied: %v", took)
		}
		if got := len(s.Queried()) + len(s.Repeated()); got != 1 {
			t.Errorf("%d queries", got)
		}
	})
}

// A query that changes something is carried out once, and its repetitions get the same reply.
func TestRepeatedCallIsCarriedOutOnce(t *testing.T) {
	for _, kind := range []message.QueryKind{message.KindDisconnect, message.KindLeave} {
		t.Run(kinds[kind], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "dc", "a")
				s := n.Script(t, "dc", "s", 1)
				s.Beat()
				ask := func(id uint64, try uint32) {
					s.Send(s.Link.Queries(), &message.Query{
						ID: id, Try: try, Kind: kind, Host: testkit.MustHost(t, "example.com"), Call: &message.Call{Users: []string{"ann"}},
					})
					synctest.Wait()
				}
				ask(1, 0)
				ask(1, 1) // the reply was lost
				ask(2, 0)
				ask(1, 2)
				var got []string
				for _, sent := range clustertest.SentOf[*message.Reply](a.port) {
					r := sent.Message.(*message.Reply)
					got = append(got, fmt.Sprintf("%d.%d: %d", r.ID, r.Try, r.Count.LoggedIn))
				}
				if want := []string{"1.0: 1", "1.1: 1", "2.0: 2", "1.2: 1"}; !slices.Equal(got, want) {
					t.Errorf("replies %q, want %q", got, want)
				}
				if len(a.local.done) != 2 {
					t.Errorf("carried out %q", a.local.done)
				}
				time.Sleep(2 * keepReply)
				a.responder.done.Range(func(key, _ any) bool {
					t.Errorf("the reply to %v is kept", key)
					return true
				})
			})
		})
	}
}

// A pod that asks carries out its own query once, too, and adds what other pods reply. A pod that
// does not reply is named.
func TestCallsAreAddedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "dc", "a")
		s, silent := n.Script(t, "other", "s", 1), n.Script(t, "dc", "silent", 1)
		s.Answer(func(q *message.Query) []*message.Reply {
			return []*message.Reply{{ID: q.ID, Try: q.Try, Last: true, Count: message.Count{LoggedIn: 40}}}
		})
		s.Beat()
		silent.Beat()
		host := testkit.MustHost(t, "example.com")
		call := &message.Call{Conns: []presence.ID{{1}}, Reason: "moved", Reconnect: true}
		got, truth := a.Disconnect(t.Context(), host, "", call)
		if text := (answer{truth: truth}).text(); got != 41 || text != "missing [dc/silent]" {
			t.Errorf("disconnected %d, %s", got, text)
		}
		got, truth = a.LeaveChannels(t.Context(), host, &message.Call{Users: []string{"ann"}, Channels: []string{"room"}})
		if text := (answer{truth: truth}).text(); got != 42 || text != "missing [dc/silent]" {
			t.Errorf("left %d, %s", got, text)
		}
		a.Disconnect(t.Context(), host, "room", new(message.Call)) // an equal one is not shared
		a.Disconnect(t.Context(), host, "room", new(message.Call))
		want := []string{
			`disconnect example.com "" {Users:[] Conns:[AQAAAAAAAAAAAAAAAAAAAA] Channels:[] Reconnect:true SignedIn:false Members:false Reason:moved}`,
			`leave example.com "" {Users:[ann] Conns:[] Channels:[room] Reconnect:false SignedIn:false Members:false Reason:}`,
			`disconnect example.com "room" {Users:[] Conns:[] Channels:[] Reconnect:false SignedIn:false Members:false Reason:}`,
			`disconnect example.com "room" {Users:[] Conns:[] Channels:[] Reconnect:false SignedIn:false Members:false Reason:}`,
		}
		if !slices.Equal(a.local.done, want) {
			t.Errorf("carried out\n%q, want\n%q", a.local.done, want)
		}
		queried := s.Queried()
		if q := queried[0]; q.Call == nil || q.Call.Reason != "moved" || len(queried) != 4 {
			t.Errorf("%d queries, the first one %+v", len(queried), q)
		}
	})
}

// The connections of a user on several pods are one entry, with the latest address.
func TestOnlineUsersOfSeveralPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "dc", "a")
		host := testkit.MustHost(t, "example.com")
		for _, id := range []string{"ann", "ann", "cid"} {
			if _, err := a.responder.registry.Connect(host, &presence.Rules{}, &presence.User{ID: id}, clustertest.Outbox{}); err != nil {
				t.Fatal(err)
			}
		}
		s := n.Script(t, "other", "s", 1)
		s.Answer(func(q *message.Query) []*message.Reply {
			ann := presence.Member{User: presence.User{ID: "ann", Email: "a@x"}, Seen: 1 << 60}
			return []*message.Reply{
				{ID: q.ID, Try: q.Try, Members: []presence.Member{ann}},
				{ID: q.ID, Try: q.Try, Part: 1, Last: true, Members: []presence.Member{ann, {User: presence.User{ID: "bob"}}}},
			}
		})
		s.Beat()
		users, truth := a.Online(t.Context(), host, []string{"ann", "bob", "eve"})
		got := fmt.Sprint(users, truth.Complete)
		if want := "[{{ann a@x  } 4 [dc other]} {{bob   } 1 [other]}] true"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}
