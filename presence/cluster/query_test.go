package cluster

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// answer is an answer to any query. One field besides truth is set.
type answer struct {
	truth       Truth
	dcs         []DataCenter
	listings    []presence.Listing
	connections []PodConnection
}

// text formats an answer as one line.
func (a answer) text() string {
	var b strings.Builder
	for _, dc := range a.dcs {
		fmt.Fprintf(&b, "%s %d+%d", dc.Name, dc.Authenticated, dc.Anonymous)
		if dc.Users != nil {
			b.WriteString(clustertest.UsersText(dc.Users))
		}
		b.WriteString("; ")
	}
	for _, l := range a.listings {
		fmt.Fprintf(&b, "%s %s %d; ", l.Channel, clustertest.UsersText(l.Users), l.Count)
	}
	for _, c := range a.connections {
		fmt.Fprint(&b, c.DataCenter, "/", c.Pod, " ", c.ID, " ", c.Channels, "; ")
	}
	if a.truth.Complete {
		b.WriteString("complete")
	} else {
		fmt.Fprint(&b, "missing ", a.truth.Missing)
	}
	return b.String()
}

// count queries the number of users.
func (p *labPod) count(t *testing.T) answer {
	t.Helper()
	dcs, truth := p.AllUsers(t.Context(), mustHost(t, "example.com"), false, presence.PerUser)
	return answer{truth: truth, dcs: dcs}
}

func wantText(t *testing.T, a answer, want string) {
	t.Helper()
	if got := a.text(); got != want {
		t.Errorf("answer:\n got %s\nwant %s", got, want)
	}
}

// anonymous returns a complete reply with a number of anonymous connections.
func anonymous(n uint64) func(id uint64) []*message.Reply {
	return func(id uint64) []*message.Reply {
		return []*message.Reply{{ID: id, Last: true, Count: message.Count{Anonymous: n}}}
	}
}

// pages lists all channels in pages, and checks that only the last one is short.
func (p *labPod) pages(t *testing.T, host presence.HostName, per presence.Per, page presence.Page) answer {
	t.Helper()
	var a answer
	for {
		list, next, truth := p.Users(t.Context(), host, ScopeAll, per, page)
		a.truth, a.listings = truth, append(a.listings, list...)
		if next == "" {
			return a
		}
		if len(list) != page.Limit || next != list[len(list)-1].Channel {
			t.Fatalf("a page of %d channels, and after it %q", len(list), next)
		}
		page.After = next
	}
}

func TestPagesOfSeveralPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		host := mustHost(t, "example.com")
		pods := []*labPod{n.start(t, "x", "1"), n.start(t, "x", "2"), n.start(t, "y", "1")}
		time.Sleep(3 * time.Second)
		for i, p := range pods {
			for j := range 7 {
				user := fmt.Sprintf("u%d", (i+j)%5)
				p.connect(t, host, user, fmt.Sprintf("%d@%d", j, i), fmt.Sprintf("room%d", i*j), fmt.Sprintf("anonymous%d", j))
			}
		}
		for _, per := range []presence.Per{presence.PerUser, presence.PerConnection} {
			whole, _, truth := pods[0].Users(t.Context(), host, ScopeAll, per, presence.Page{})
			named := slices.IndexFunc(whole, func(l presence.Listing) bool { return l.Kind == presence.Private })
			slices.SortFunc(whole[named:], func(a, b presence.Listing) int { return strings.Compare(a.Channel, b.Channel) })
			for limit := range len(whole) + 2 {
				for _, p := range pods {
					wantText(t, p.pages(t, host, per, presence.Page{Limit: limit + 1}), answer{truth: truth, listings: whole}.text())
				}
			}
			rooms := slices.DeleteFunc(slices.Clone(whole), func(l presence.Listing) bool { return !strings.HasPrefix(l.Channel, "room1") })
			wantText(t, pods[2].pages(t, host, per, presence.Page{Prefix: "room1", Limit: 2}), answer{truth: truth, listings: rooms}.text())
		}
		if _, next, truth := pods[0].Users(t.Context(), host, ScopeAll, presence.PerUser, presence.Page{
			Prefix: strings.Repeat("x", presence.MaxChannelName+1), Limit: 1,
		}); next != "" || !truth.Complete {
			t.Errorf("a prefix that no channel can have: next %q, %+v", next, truth)
		}
	})
}

func TestAnswersOfSeveralPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		host := mustHost(t, "example.com")
		x1, x2, x3 := n.start(t, "x", "1"), n.start(t, "x", "2"), n.start(t, "x", "3")
		y1 := n.start(t, "y", "1")
		z := n.start(t, "z", "1")
		z.local.unserved = map[string]bool{"example.com": true}
		time.Sleep(3 * time.Second)

		x1.connect(t, host, "ann", "ann@old", "room")
		time.Sleep(time.Millisecond)
		x2.connect(t, host, "ann", "ann@new", "room", "lobby")
		x2.connect(t, host, "bob", "", "room")
		x2.connect(t, host, "", "", "anonymous")
		x3.connect(t, host, "bob", "bob@x")
		y1.connect(t, host, "ann", "ann@y", "room")
		y1.connect(t, host, "", "", "anonymous")
		y1.connect(t, mustHost(t, "other.com"), "eve", "", "room")
		y1.local.explain = []message.Connection{{ID: "c1", Channels: []string{"room"}}}
		x2.local.explain = []message.Connection{{ID: "c3"}, {ID: "c2"}}

		for _, p := range []*labPod{x1, x2, x3, y1} {
			all := func(members bool, per presence.Per) answer {
				dcs, truth := p.AllUsers(t.Context(), host, members, per)
				return answer{truth: truth, dcs: dcs}
			}
			wantText(t, all(false, presence.PerUser), "x 2+1; y 1+1; complete")
			wantText(t, all(false, presence.PerConnection), "x 4+1; y 1+1; complete")
			wantText(t, all(true, presence.PerUser), "x 2+1[{ann ann@new} {bob bob@x}]; y 1+1[{ann ann@y}]; complete")
			raw := all(true, presence.PerConnection)
			if len(raw.dcs) != 2 || raw.dcs[0].Authenticated != 4 || len(raw.dcs[0].Users) != 4 || raw.dcs[1].Authenticated != 1 {
				t.Errorf("raw: %s", raw.text())
			}
			users := func(scope Scope, channel string, per presence.Per) answer {
				list, _, truth := p.Users(t.Context(), host, scope, per, presence.Page{})
				if channel != "" {
					list, truth = p.ChannelUsers(t.Context(), host, scope, channel, per)
				}
				list = slices.DeleteFunc(slices.Clone(list), func(l presence.Listing) bool { return l.Kind == presence.Private })
				return answer{truth: truth, listings: list}
			}
			got := users(ScopeAll, "", presence.PerUser)
			if text := got.text(); !strings.Contains(text, "anonymous [] 2; lobby [{ann ann@new}] 0; room [") || len(got.listings[2].Users) != 2 || !got.truth.Complete {
				t.Errorf("users: %s", text)
			}
			if got := users(ScopeAll, "room", presence.PerConnection); len(got.listings) != 1 || len(got.listings[0].Users) != 4 {
				t.Errorf("room, raw: %s", got.text())
			}
			wantText(t, users(ScopeAll, "nobody", presence.PerConnection), "complete")
			names, truth := p.Channels(t.Context(), host, ScopeAll)
			wantText(t, answer{truth: truth, listings: names}, "anonymous [] 0; lobby [] 0; room [] 0; complete")
			conns, truth := p.Explain(t.Context(), host, "ann")
			wantText(t, answer{truth: truth, connections: conns}, "x/2 c3 []; x/2 c2 []; y/1 c1 [room]; complete")
		}
		list, truth := x3.ChannelUsers(t.Context(), host, ScopeDC, "room", presence.PerConnection)
		wantText(t, answer{truth: truth, listings: list}, "room [{ann ann@new} {ann ann@new} {bob }] 0; complete")
		list, truth = y1.Channels(t.Context(), host, ScopeDC)
		wantText(t, answer{truth: truth, listings: list}, "anonymous [] 0; room [] 0; complete")
		list, truth = x1.Channels(t.Context(), host, ScopePod)
		wantText(t, answer{truth: truth, listings: list}, "room [] 0; complete")
		list, truth = y1.ChannelUsers(t.Context(), host, ScopePod, "room", presence.PerUser)
		wantText(t, answer{truth: truth, listings: list}, "room [{ann ann@y}] 0; complete")
		queries := clustertest.SentOf[*message.Query](y1.port)
		for _, q := range queries {
			if q.Subject == y1.link.QueriesOf("y") {
				t.Error("asked the network about its own pod")
			}
		}
	})
}

func TestOnlyPodsThatServeTheHostAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		yes, no, unknown := n.Script(t, "dc", "yes", 1), n.Script(t, "dc", "no", 1), n.Script(t, "dc", "unknown", 1)
		yes.Serve(clustertest.Site([]string{"*.com"}))
		no.Serve(clustertest.Site([]string{"example.org"}))
		unknown.Announce(1)
		yes.Replies(anonymous(3))
		for _, s := range []*script{yes, no, unknown} {
			s.Beat()
		}
		wantText(t, a.count(t), "dc 0+3; missing [dc/unknown]")
		unknown.Replies(func(id uint64) []*message.Reply { return []*message.Reply{{ID: id, Last: true, NotServed: true}} })
		time.Sleep(time.Second)
		wantText(t, a.count(t), "dc 0+3; complete")
	})
}

func TestAlonePodAnswersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.Script(t, "dc", "s", 1)
		s.Serve(clustertest.Site([]string{"other.com"}))
		s.Beat()
		began := time.Now()
		wantText(t, a.count(t), "dc 0+0; complete")
		a.connect(t, mustHost(t, "example.com"), "", "")
		wantText(t, a.count(t), "dc 0+1; complete") // not a shared answer
		if !time.Now().Equal(began) {
			t.Error("it took time")
		}
		if got := clustertest.SentOf[*message.Query](a.port); len(got) > 0 {
			t.Errorf("asked the network: %v", got)
		}
		dcs, truth := a.AllUsers(t.Context(), mustHost(t, "example.com"), true, presence.PerUser)
		if !truth.Complete || len(dcs) != 1 || dcs[0].Users == nil {
			t.Errorf("members of a host without connections: %+v %+v", dcs, truth)
		}
	})
}

func TestDeadlines(t *testing.T) {
	for _, tc := range []struct {
		name   string
		silent []string
		late   time.Duration // time at which x/late replies; 0: with the others
		took   time.Duration
		want   string
	}{
		{"all reply", nil, 0, 0, "x 0+2; y 0+1; complete"},
		{"own data center", []string{"x/s"}, 0, 500 * time.Millisecond, "x 0+1; y 0+1; missing [x/s]"},
		{"another data center", []string{"y/s"}, 0, 1500 * time.Millisecond, "x 0+2; missing [y/s]"},
		{"both", []string{"x/s", "y/s"}, 0, 1500 * time.Millisecond, "x 0+1; missing [x/s y/s]"},
		{"late", []string{"x/s"}, 499 * time.Millisecond, 500 * time.Millisecond, "x 0+1; y 0+1; missing [x/s]"},
		{"too late", nil, 501 * time.Millisecond, 500 * time.Millisecond, "x 0+1; y 0+1; missing [x/late]"},
		{"late, but others are waited for", []string{"y/s"}, time.Second, 1500 * time.Millisecond, "x 0+2; missing [y/s]"},
		{"own given up when the others are there", []string{"x/s"}, 600 * time.Millisecond, 500 * time.Millisecond, "x 0+0; y 0+1; missing [x/late x/s]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &lab{}
				a := n.settled(t, "x", "a")
				var all []*script
				for _, name := range []string{"x/s", "x/late", "y/s"} {
					dc, pod, _ := strings.Cut(name, "/")
					s := n.Script(t, dc, pod, 1)
					switch {
					case slices.Contains(tc.silent, name):
					case pod == "late" && tc.late > 0:
						s.Answer(func(q *message.Query) []*message.Reply {
							go func() {
								time.Sleep(tc.late)
								s.Send(s.Link.Inbox(a.link.Self()), anonymous(1)(q.ID)[0])
							}()
							return nil
						})
					default:
						s.Replies(anonymous(1))
					}
					s.Beat()
					all = append(all, s)
				}
				began := time.Now()
				got := a.count(t)
				if took := time.Since(began); took != tc.took {
					t.Errorf("took %v, want %v", took, tc.took)
				}
				wantText(t, got, tc.want)
				time.Sleep(2 * time.Second)
				if got := len(all[0].Queried()); got != 1 {
					t.Errorf("%d queries", got)
				}
			})
		})
	}
}

func TestSuspectIsWaitedForUntilItCountsAsLost(t *testing.T) {
	for _, tc := range []struct {
		name    string
		goodbye bool
		after   time.Duration // time of the query, since its last heartbeat
		took    time.Duration
	}{
		{"silent for too long", false, 4800 * time.Millisecond, 200 * time.Millisecond},
		{"goodbye", true, time.Second, 100 * time.Millisecond},
		{"suspect", false, 4 * time.Second, 500 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &lab{}
				n.start(t, "dc", "b") // so that s is not half of the data center
				a := n.settled(t, "dc", "a")
				s := n.Script(t, "dc", "s", 1)
				s.Beat()
				time.Sleep(tc.after)
				if tc.goodbye {
					go func() {
						time.Sleep(100 * time.Millisecond)
						s.Send(s.Link.All(), &message.Goodbye{})
					}()
				}
				began := time.Now()
				got := a.count(t)
				if took := time.Since(began); took != tc.took {
					t.Errorf("took %v, want %v", took, tc.took)
				}
				wantText(t, got, "dc 0+0; missing [dc/s]")
				time.Sleep(2 * time.Second)
				wantText(t, a.count(t), "dc 0+0; complete")
			})
		})
	}
}

func TestRepliesOfOthersAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s, foreign, unnamed := n.Script(t, "dc", "s", 1), n.Script(t, "dc", "foreign", 1), n.Script(t, "dc", "unnamed", 1)
		unnamed.Serve(clustertest.Site([]string{"other.com"}))
		s.Replies(anonymous(1))
		for _, o := range []*script{foreign, unnamed} {
			o.Replies(anonymous(100))
		}
		s.Beat()
		unnamed.Beat() // alive, but not queried; foreign is unknown
		wantText(t, a.count(t), "dc 0+1; complete")
		synctest.Wait()
		if got := a.link.Ignored(); got != (Ignored{Unknown: 2}) {
			// foreign and unnamed reply, because the query goes to all
			t.Errorf("ignored: %+v", got)
		}
	})
}

func TestIncompleteAnswersAreSharedButNotForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.Script(t, "dc", "s", 1)
		s.Beat()
		var all sync.WaitGroup
		all.Go(func() { wantText(t, a.count(t), "dc 0+0; missing [dc/s]") })
		time.Sleep(99 * time.Millisecond)
		all.Go(func() { wantText(t, a.count(t), "dc 0+0; missing [dc/s]") })
		synctest.Wait()
		if got := len(s.Queried()); got != 1 {
			t.Errorf("%d queries within 99 ms", got)
		}
		time.Sleep(time.Millisecond)
		s.Answer(func(q *message.Query) []*message.Reply {
			if q.Try > 0 {
				return nil // to the query of the others
			}
			return anonymous(1)(q.ID)
		})
		wantText(t, a.count(t), "dc 0+1; complete") // while the others wait
		all.Wait()
	})
}

func TestCallerThatEndsDoesNotEndTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.Script(t, "dc", "s", 1)
		s.Beat()
		host := mustHost(t, "example.com")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		began := time.Now()
		var all sync.WaitGroup
		all.Go(func() {
			dcs, truth := a.AllUsers(ctx, host, false, presence.PerUser)
			if dcs != nil || truth.Complete || time.Since(began) != 50*time.Millisecond {
				t.Errorf("%+v %+v after %v", dcs, truth, time.Since(began))
			}
		})
		all.Go(func() {
			wantText(t, a.count(t), "dc 0+0; missing [dc/s]")
			if took := time.Since(began); took != 500*time.Millisecond {
				t.Errorf("took %v", took)
			}
		})
		all.Wait()
	})
}

func TestQueriesForImpossibleNamesAreNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.Script(t, "dc", "s", 1)
		s.Beat()
		host := mustHost(t, "example.com")
		for _, channel := range []string{"", strings.Repeat("x", presence.MaxChannelName+1)} {
			list, truth := a.ChannelUsers(t.Context(), host, ScopeAll, channel, presence.PerUser)
			if len(list) > 0 || !truth.Complete {
				t.Errorf("a channel of %d bytes: %v %+v", len(channel), list, truth)
			}
		}
		if list, truth := a.Explain(t.Context(), host, strings.Repeat("x", presence.MaxUserID+1)); len(list) > 0 || !truth.Complete {
			t.Errorf("%v %+v", list, truth)
		}
		for _, q := range []*message.Query{
			{Kind: message.KindUsers, Host: host, Channel: strings.Repeat("x", presence.MaxChannelName)},
			{Kind: message.KindExplain, Host: host, User: strings.Repeat("x", presence.MaxUserID)},
		} {
			a.link.Send(a.link.Queries(), q)
		}
		if got := len(s.Queried()); got != 2 {
			t.Errorf("%d of 2 of the longest names were sent", got)
		}
	})
}

// ended returns a context that has ended, so that a report does not ping.
func ended(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a, b := n.start(t, "x", "a"), n.start(t, "y", "b")
		time.Sleep(3 * time.Second)
		b.connect(t, mustHost(t, "example.com"), "", "")
		s, lost := n.Script(t, "x", "s", 1700000000000), n.Script(t, "w", "lost", 1)
		lost.Beat()
		time.Sleep(4500 * time.Millisecond)
		s.BeatWith(message.Heartbeat{Connections: 3, Hosts: 2, Draining: true})
		time.Sleep(time.Second)
		s.Answer(func(q *message.Query) []*message.Reply {
			time.Sleep(20 * time.Millisecond)
			return []*message.Reply{{ID: q.ID, Last: true}}
		})
		r := a.Report(t.Context())
		if !r.Ready || r.Name != "rollcall" {
			t.Errorf("report: %+v", r)
		}
		var states []string
		for _, p := range r.Pods {
			states = append(states, fmt.Sprintf("%s/%s %s %g %d %d", p.DataCenter, p.Pod, p.State, p.RoundTrip, p.Connections, p.Hosts))
		}
		want := []string{"x/a self 0 7 0", "w/lost unreachable 0 0 0", "x/s draining 20 3 2", "y/b alive 0 7 1"}
		if !slices.Equal(states, want) {
			t.Errorf("pods:\n got %q\nwant %q", states, want)
		}
		if p := r.Pods[2]; p.Started != "2023-11-14T22:13:20Z" || p.Heartbeat < 1 || p.Heartbeat > 1.1 || p.Incarnation == "" {
			t.Errorf("pod: %+v", p)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		before := len(s.Queried())
		began := time.Now()
		if r := a.Report(ctx); len(r.Pods) != 4 || len(s.Queried()) != before || !time.Now().Equal(began) {
			t.Errorf("with an ended context: %+v", r)
		}
		pods := make(map[string]int)
		for _, p := range a.Report(ended(t)).Pods {
			pods[p.State]++
		}
		if !reflect.DeepEqual(pods, map[string]int{"self": 1, "alive": 1, "draining": 1, "unreachable": 1}) {
			t.Errorf("pods: %v", pods)
		}
	})
}

func TestQueriesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		var observed []string
		a := n.settled(t, "dc", "a", func(c *Config, _ *timing.Timing) {
			c.Timeout = 200 * time.Millisecond
			c.Observe = func(kind string, complete bool, took time.Duration) {
				observed = append(observed, fmt.Sprint(kind, " ", complete, " ", took))
			}
		})
		a.count(t)
		s := n.Script(t, "dc", "s", 1)
		s.Beat()
		a.count(t)
		a.Explain(t.Context(), mustHost(t, "example.com"), "x")
		if want := []string{"count true 0s", "count false 200ms", "explain false 200ms"}; !slices.Equal(observed, want) {
			t.Errorf("observed %q, want %q", observed, want)
		}
	})
}

func TestCloseEndsQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a, b := n.start(t, "dc", "a"), n.start(t, "dc", "b")
		time.Sleep(3 * time.Second)
		s := n.Script(t, "dc", "s", 1)
		s.Beat()
		began := time.Now()
		var all sync.WaitGroup
		all.Go(func() {
			if truth := a.truth(t); truth.Complete {
				t.Errorf("complete: %+v", truth)
			}
		})
		synctest.Wait()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		if truth := a.truth(t); truth.Complete {
			t.Errorf("complete when closed: %+v", truth)
		}
		if err := a.Close(); err != nil {
			t.Errorf("closed again: %v", err)
		}
		if !time.Now().Equal(began) {
			t.Error("Close took time")
		}
		b.wantState(t, a.link.Self(), "")
		b.wantLog(t, 1, "info pod left", "pod:a", "reason:goodbye")
	})
}

func TestErrorsOfSendingAreRarelyLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		a.port.SetError(context.DeadlineExceeded)
		time.Sleep(15 * time.Second)
		a.wantLog(t, 2, "error cannot send to other pods")
		if got := a.Report(ended(t)).Unsent; got < 14 {
			t.Errorf("%d counted", got)
		}
		a.port.SetError(nil)
	})
}

func TestStartRefusesNamesThatCannotBeSent(t *testing.T) {
	for _, name := range []string{"", "a/b", "a,b", strings.Repeat("x", 65)} {
		reg := presence.NewRegistry(clustertest.Encoder{})
		for _, cfg := range []Config{{DataCenter: name, Pod: "p"}, {DataCenter: "dc", Pod: name}} {
			if c, err := start(cfg, new(lab).Port(t), reg, &labLocal{}, timing.Default()); err == nil {
				_ = c.Close()
				t.Errorf("data center %q, pod %q: no error", cfg.DataCenter, cfg.Pod)
			}
		}
	}
}

func TestAnswersHaveInfoWhereRequested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		host := mustHost(t, "example.com")
		x1, x2, y1 := n.start(t, "x", "1"), n.start(t, "x", "2"), n.start(t, "y", "1")
		time.Sleep(3 * time.Second)
		login := func(p *labPod, info, status string) {
			t.Helper()
			time.Sleep(2 * time.Second)
			c := p.connect(t, host, "ann", "", "room")
			if err := c.Authenticate(presence.User{ID: "ann", Info: info}, nil); err != nil {
				t.Fatal(err)
			}
			if err := c.SetStatus(status); err != nil {
				t.Fatal(err)
			}
		}
		login(x1, `{"n":1}`, `{"s":1}`)
		login(x2, `{"n":2}`, `{"s":2}`)
		login(y1, `{"n":3}`, `{"s":3}`)
		for _, p := range []*labPod{x1, x2, y1} {
			for per, want := range map[presence.Per][]presence.User{
				presence.PerUser: {{ID: "ann"}, {ID: "ann"}},
				presence.PerUser | presence.WithInfo: {
					{ID: "ann", Info: `{"n":2}`, Status: `{"s":2}`}, {ID: "ann", Info: `{"n":3}`, Status: `{"s":3}`},
				},
			} {
				dcs, truth := p.AllUsers(t.Context(), host, true, per)
				if len(dcs) != 2 || !truth.Complete || !slices.Equal([]presence.User{dcs[0].Users[0], dcs[1].Users[0]}, want) {
					t.Errorf("%v, per %d: all users are %+v", p.link.Self(), per, dcs)
				}
				list, truth := p.ChannelUsers(t.Context(), host, ScopeAll, "room", per)
				if len(list) != 1 || !truth.Complete || !slices.Equal(list[0].Users, want[1:]) {
					t.Errorf("%v, per %d: users of the channel are %+v", p.link.Self(), per, list)
				}
			}
		}
	})
}
