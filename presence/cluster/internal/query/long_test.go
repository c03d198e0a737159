package query

import (
	"fmt"
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
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// hashesFrom returns n hashes in order, in steps.
func hashesFrom(first uint64, n int, step uint64) []uint64 {
	hashes := make([]uint64, n)
	for i := range hashes {
		hashes[i] = first + uint64(i)*step
	}
	return hashes
}

// many is the number of hashes in the tests: two whole parts and a short one.
const many = 2*message.MaxHashes + 100

// listOf answers counts as a pod with more users than it sends unasked.
func listOf(q *message.Query, hashes []uint64) *message.Reply {
	r := &message.Reply{ID: q.ID, Try: q.Try, Last: true, Count: message.Count{Anonymous: 1, Users: uint64(len(hashes))}}
	if !q.Whole {
		r.Unlisted = true
		return r
	}
	first, _ := slices.BinarySearch(hashes, q.From)
	rest := hashes[first:]
	r.Count.Hashes, r.More = rest[:min(len(rest), message.MaxHashes)], len(rest) > message.MaxHashes
	return r
}

// The pod s has every even number, and o every third one, as a hash.
func TestManyUsersAreCountedInParts(t *testing.T) {
	evens := hashesFrom(0, many, 2)
	thirds := hashesFrom(0, many, 3)
	const both = many - (2*many+5)/6 + many // of the first 2*many numbers, each sixth is in both lists
	for _, tc := range []struct {
		name string
		// change changes the reply of s to the request for a part. It can return nil for no reply.
		change  func(s *clustertest.Script, q *message.Query, r *message.Reply) *message.Reply
		want    string
		unknown uint64
	}{
		{"in order", func(_ *clustertest.Script, _ *message.Query, r *message.Reply) *message.Reply { return r }, fmt.Sprintf("dc %d+2; complete", both), 0},
		{"each first reply is lost", func(_ *clustertest.Script, q *message.Query, r *message.Reply) *message.Reply {
			if q.Try == 0 {
				return nil
			}
			return r
		}, fmt.Sprintf("dc %d+2; complete", both), 0},
		{"each part comes twice", func(s *clustertest.Script, _ *message.Query, r *message.Reply) *message.Reply {
			s.Send(s.Link.Inbox(asker), r)
			return r
		}, fmt.Sprintf("dc %d+2; complete", both), 3},
		{"the pod ends in the middle", func(s *clustertest.Script, q *message.Query, r *message.Reply) *message.Reply {
			if q.From > 0 {
				s.Send(s.Link.All(), &message.Goodbye{})
				return nil
			}
			return r
		}, fmt.Sprintf("dc %d+2; missing [dc/s]", counted(evens[:message.MaxHashes], thirds)), 0},
		{"it is silent in the middle", func(_ *clustertest.Script, q *message.Query, r *message.Reply) *message.Reply {
			if q.From > 0 {
				return nil
			}
			return r
		}, fmt.Sprintf("dc %d+2; missing [dc/s]", counted(evens[:message.MaxHashes], thirds)), 0},
		{"it no longer serves the host", func(_ *clustertest.Script, q *message.Query, r *message.Reply) *message.Reply {
			if q.From > 0 {
				return &message.Reply{ID: q.ID, Try: q.Try, Last: true, NotServed: true}
			}
			return r
		}, fmt.Sprintf("dc %d+2; complete", counted(evens[:message.MaxHashes], thirds)), 0},
		{"all users leave", func(_ *clustertest.Script, _ *message.Query, r *message.Reply) *message.Reply {
			r.Count, r.More = message.Count{}, false
			return r
		}, fmt.Sprintf("dc %d+2; complete", many), 0},
		{"it sends a part again that it was not asked for", func(_ *clustertest.Script, _ *message.Query, r *message.Reply) *message.Reply {
			r.Count.Hashes = evens[:message.MaxHashes]
			return r
		}, fmt.Sprintf("dc %d+2; missing [dc/s]", counted(evens[:message.MaxHashes], thirds)), 0},
		{"its parts are small", func(_ *clustertest.Script, _ *message.Query, r *message.Reply) *message.Reply {
			r.Count.Hashes, r.More = r.Count.Hashes[:99], true
			return r
		}, fmt.Sprintf("dc %d+2; missing [dc/s]", many), 0},
		{"there is more after the highest hash", func(_ *clustertest.Script, _ *message.Query, r *message.Reply) *message.Reply {
			r.Count.Hashes, r.More = hashesFrom(1<<64-message.MaxHashes, message.MaxHashes, 1), true
			return r
		}, fmt.Sprintf("dc %d+2; missing [dc/s]", many+message.MaxHashes), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "dc", "a")
				s, o := n.Script(t, "dc", "s", 1), n.Script(t, "dc", "o", 1)
				asker = a.link.Self()
				s.Answer(func(q *message.Query) []*message.Reply {
					r := listOf(q, evens)
					if q.Whole {
						r = tc.change(s, q, r)
					}
					if r == nil {
						return nil
					}
					return []*message.Reply{r}
				})
				o.Answer(func(q *message.Query) []*message.Reply { return []*message.Reply{listOf(q, thirds)} })
				s.Beat()
				o.Beat()
				wantText(t, a.count(t), tc.want)
				synctest.Wait()
				if got := a.link.Ignored(); got != (link.Ignored{Unknown: tc.unknown}) {
					t.Errorf("ignored: %+v", got)
				}
			})
		})
	}
}

// asker is the pod that asks in TestManyUsersAreCountedInParts.
var asker link.Peer

// counted returns how many different hashes the lists have.
func counted(lists ...[]uint64) int {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return len(slices.Compact(all))
}

// A pod that sends ever more hashes is given up after a time.
func TestEndlessHashesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "dc", "a")
		s, o := n.Script(t, "dc", "s", 1), n.Script(t, "dc", "o", 1)
		s.Answer(func(q *message.Query) []*message.Reply {
			r := listOf(q, hashesFrom(q.From, message.MaxHashes+1, 1))
			time.AfterFunc(499*time.Millisecond, func() { s.Send(s.Link.Inbox(a.link.Self()), r) })
			return nil
		})
		o.Replies(func(id uint64) []*message.Reply {
			return []*message.Reply{{ID: id, Last: true, Count: message.Count{Users: 1, Hashes: []uint64{1}}}}
		})
		s.Beat()
		o.Beat()
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
					s.Beat()
					o.Beat()
				}
			}
		}()
		began := time.Now()
		if _, truth := a.AllUsers(t.Context(), testkit.MustHost(t, "example.com"), false, presence.PerUser); !slices.Equal(truth.Missing, []string{"dc/s"}) {
			t.Errorf("%+v", truth)
		}
		if took := time.Since(began); took > maxStream+2*time.Second {
			t.Errorf("after %v", took)
		}
		close(stop)
	})
}

// While one pod is slow, the others are asked for no more than the next part.
func TestOnePartIsAskedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "dc", "a")
		s, o := n.Script(t, "dc", "s", 1), n.Script(t, "dc", "z", 1)
		list := hashesFrom(1, 10*message.MaxHashes, 1)
		s.Answer(func(q *message.Query) []*message.Reply { return []*message.Reply{listOf(q, list)} })
		o.Answer(func(q *message.Query) []*message.Reply {
			r := listOf(q, list)
			if !q.Whole {
				return []*message.Reply{r}
			}
			if q.From == 0 {
				time.AfterFunc(200*time.Millisecond, func() { o.Send(o.Link.Inbox(a.link.Self()), r) })
				return nil
			}
			return []*message.Reply{r}
		})
		s.Beat()
		o.Beat()
		go func() {
			time.Sleep(100 * time.Millisecond)
			if got := len(s.Repeated()); got != 2 {
				t.Errorf("the fast pod was asked for %d parts", got)
			}
		}()
		wantText(t, a.count(t), fmt.Sprintf("dc %d+2; complete", len(list)))
		if got := len(s.Repeated()); got != 10 {
			t.Errorf("%d parts", got)
		}
	})
}

// Two counts of many users are made at a time. Equal ones share the one that waits.
func TestLongQueriesWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "dc", "a")
		s, o := n.Script(t, "dc", "s", 1), n.Script(t, "dc", "o", 1)
		var (
			mu      sync.Mutex
			running int
			most    int
			made    = make(map[string]int)
		)
		list := hashesFrom(1, 10_000, 1)
		s.Answer(func(q *message.Query) []*message.Reply {
			if !q.Whole {
				return []*message.Reply{listOf(q, list)}
			}
			mu.Lock()
			running++
			most = max(most, running)
			made[q.Host.String()]++
			mu.Unlock()
			time.AfterFunc(200*time.Millisecond, func() {
				mu.Lock()
				running--
				mu.Unlock()
				s.Send(s.Link.Inbox(a.link.Self()), listOf(q, list))
			})
			return nil
		})
		o.Answer(func(q *message.Query) []*message.Reply { return []*message.Reply{listOf(q, list)} })
		s.Beat()
		o.Beat()
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond) // without sharing while it waits, the last begin after 100 ms
				for _, name := range []string{"a.com", "b.com", "c.com", "d.com"} {
					all.Go(func() {
						dcs, truth := a.AllUsers(t.Context(), testkit.MustHost(t, name), false, presence.PerUser)
						wantText(t, answer{truth: truth, dcs: dcs}, "dc 10000+2; complete")
					})
				}
			})
		}
		all.Wait()
		if most != maxLong {
			t.Errorf("%d at a time", most)
		}
		total := 0
		for host, n := range made {
			if n < 1 || n > 2 { // one that runs, and one that waits
				t.Errorf("%s was counted %d times", host, n)
			}
			total += n
		}
		if len(made) != 4 || total > 6 {
			t.Errorf("counted: %v", made)
		}
		time.Sleep(time.Second)
		a.queries.mu.Lock()
		defer a.queries.mu.Unlock()
		if len(a.queries.shared) != 0 {
			t.Errorf("%d answers are kept", len(a.queries.shared))
		}
	})
}

// Queries that wait for their turn end with the cluster.
func TestWaitForATurnEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "dc", "a")
		s, o := n.Script(t, "dc", "s", 1), n.Script(t, "dc", "o", 1)
		for _, p := range []*clustertest.Script{s, o} {
			p.Answer(func(q *message.Query) []*message.Reply {
				return []*message.Reply{listOf(q, hashesFrom(1, 10_000, 1))}
			})
			p.Beat()
		}
		for range maxLong {
			a.queries.long <- struct{}{}
		}
		done := make(chan answer)
		go func() { done <- a.count(t) }()
		synctest.Wait()
		select {
		case got := <-done:
			t.Errorf("it does not wait: %s", got.text())
		default:
		}
		a.queries.Close()
		a.end()
		if got := <-done; got.truth.Complete {
			t.Errorf("it is complete: %s", got.text())
		}
	})
}

// A host that no other pod serves has its answer while other pods are slow with theirs.
func TestOwnListsDoNotWaitForOtherPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, host := settled(t, new(clustertest.Lab), "dc", "a"), testkit.MustHost(t, "example.com")
		for i := range unaskedMembers + 1 {
			if _, err := a.responder.registry.Connect(host, new(presence.Rules), &presence.User{ID: fmt.Sprint(i)}, clustertest.Outbox{}); err != nil {
				t.Fatal(err)
			}
		}
		for range maxLong {
			a.queries.long <- struct{}{}
		}
		done := make(chan []DataCenter, 1)
		go func() {
			dcs, _ := a.AllUsers(t.Context(), host, true, presence.PerUser)
			done <- dcs
		}()
		synctest.Wait()
		select {
		case dcs := <-done:
			if len(dcs) != 1 || len(dcs[0].Users) != unaskedMembers+1 {
				t.Errorf("%d data centers", len(dcs))
			}
		default:
			t.Error("it waits")
			<-a.queries.long
		}
	})
}

// A faulty pod says that it left out a list that the answer does not need. It is not asked for the
// list, and the pod that asks can leave: the end of the test waits for its goroutines.
func TestListsThatNobodyNeedsAreNotAskedFor(t *testing.T) {
	for _, tc := range []struct {
		name   string
		per    presence.Per
		change func(r *message.Reply)
		want   string
	}{
		{"a count of connections", presence.PerConnection, func(*message.Reply) {}, "dc 14+2; complete"},
		{"a host that it does not serve", presence.PerUser, func(r *message.Reply) { r.NotServed = true }, "dc 7+1; complete"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "dc", "a")
				s, o := n.Script(t, "dc", "s", 1), n.Script(t, "dc", "o", 1)
				reply := func(q *message.Query) *message.Reply {
					r := listOf(q, hashesFrom(1, 7, 1))
					r.Count.LoggedIn = 7
					return r
				}
				s.Answer(func(q *message.Query) []*message.Reply {
					r := reply(q)
					tc.change(r)
					return []*message.Reply{r}
				})
				o.Answer(func(q *message.Query) []*message.Reply {
					r := reply(q)
					r.Unlisted = false
					return []*message.Reply{r}
				})
				s.Beat()
				o.Beat()
				dcs, truth := a.AllUsers(t.Context(), testkit.MustHost(t, "example.com"), false, tc.per)
				wantText(t, answer{truth: truth, dcs: dcs}, tc.want)
				synctest.Wait()
				if n := len(s.Repeated()); n != 0 {
					t.Errorf("it was asked for %d parts", n)
				}
			})
		})
	}
}

// A stream that nobody reads ends with the cluster.
func TestUnreadStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "dc", "a")
		p := n.Script(t, "dc", "s", 1)
		p.Answer(func(q *message.Query) []*message.Reply {
			return []*message.Reply{listOf(q, hashesFrom(1, many, 1))}
		})
		p.Beat()
		synctest.Wait()
		q := queryKey{kind: message.KindCount, host: testkit.MustHost(t, "example.com"), per: presence.PerUser}
		s := a.queries.stream(q, 1, p.Link.Self())
		time.Sleep(time.Second)
		a.queries.Close()
		a.end()
		synctest.Wait()
		select {
		case part, open := <-s.parts:
			if open {
				t.Errorf("a part of %d hashes waits for a reader", len(part))
			}
		default:
			t.Error("it has not ended")
		}
		if s.whole {
			t.Error("it counts as whole")
		}
	})
}

func TestLongListsOfUsersAreAskedFor(t *testing.T) {
	for _, tc := range []struct {
		name  string
		users uint64 // that s says it has
		want  string
		asked int
	}{
		{"few enough", 3, "dc 4+0[{a } {b } {c } {d }]; complete", 1},
		{"the most", MaxListed - 1, "dc 4+0[{a } {b } {c } {d }]; complete", 1},
		{"one more", MaxListed, fmt.Sprintf("dc %d+0; complete", MaxListed+1), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "dc", "a")
				s, o := n.Script(t, "dc", "s", 1), n.Script(t, "dc", "o", 1)
				members := func(ids ...string) (list []presence.Member) {
					for _, id := range ids {
						list = append(list, presence.Member{User: presence.User{ID: id}})
					}
					return list
				}
				s.Answer(func(q *message.Query) []*message.Reply {
					r := &message.Reply{ID: q.ID, Try: q.Try, Last: true, Count: message.Count{Users: tc.users, LoggedIn: tc.users}}
					if r.Unlisted = !q.Whole; q.Whole {
						r.Members = members("a", "b", "c")
					}
					return []*message.Reply{r}
				})
				o.Answer(func(q *message.Query) []*message.Reply {
					return []*message.Reply{{ID: q.ID, Last: true, Count: message.Count{Users: 1, LoggedIn: 1}, Members: members("d")}}
				})
				s.Beat()
				o.Beat()
				dcs, truth := a.AllUsers(t.Context(), testkit.MustHost(t, "example.com"), true, presence.PerUser)
				wantText(t, answer{truth: truth, dcs: dcs}, tc.want)
				if s, o := len(s.Repeated()), len(o.Repeated()); s != tc.asked || o != 0 {
					t.Errorf("asked %d and %d times for the list", s, o)
				}
			})
		})
	}
}

func TestLongListingsAreAskedFor(t *testing.T) {
	host := testkit.MustHost(t, "example.com")
	for _, tc := range []struct {
		name    string
		entries uint64 // that s says it has
		page    presence.Page
		want    string // channels, and the number of entries that are too many
		asked   int
	}{
		{"few enough", 3, presence.Page{}, "[room] 0", 1},
		{"the most", MaxListed - 1, presence.Page{}, "[room] 0", 1},
		{"one more", MaxListed, presence.Page{}, fmt.Sprint("[] ", MaxListed+1), 0},
		{"one more with the prefix", MaxListed, presence.Page{Prefix: "r"}, fmt.Sprint("[] ", MaxListed+1), 0},
		{"a faulty pod leaves out a page", MaxListed, presence.Page{Limit: 1}, "[] 0", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a := settled(t, n, "dc", "a")
				s, o := n.Script(t, "dc", "s", 1), n.Script(t, "dc", "o", 1)
				s.Answer(func(q *message.Query) []*message.Reply {
					r := &message.Reply{ID: q.ID, Try: q.Try, Last: true, Count: message.Count{Users: tc.entries}}
					if r.Unlisted = !q.Whole; q.Whole {
						r.Channels = []presence.Listing{{Channel: "room", Kind: presence.Anonymous, Count: 1}}
					}
					return []*message.Reply{r}
				})
				o.Answer(func(q *message.Query) []*message.Reply {
					return []*message.Reply{{ID: q.ID, Last: true, Count: message.Count{Users: 1}}}
				})
				s.Beat()
				o.Beat()
				list, _, truth := a.Users(t.Context(), host, membership.ScopeAll, presence.PerUser, tc.page)
				names := []string{}
				for _, l := range list {
					names = append(names, l.Channel)
				}
				if got := fmt.Sprint(names, " ", truth.TooMany); got != tc.want || !truth.Complete {
					t.Errorf("%s, want %s; %+v", got, tc.want, truth)
				}
				if s, o := len(s.Repeated()), len(o.Repeated()); s != tc.asked || o != 0 {
					t.Errorf("asked %d and %d times for the list", s, o)
				}
			})
		})
	}
}

// A pod whose listing is long sends it when it is asked for the whole of it, and then in parts.
func TestLongListingsAreSentWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a, b := settled(t, n, "dc", "a"), settled(t, n, "dc", "b")
		time.Sleep(2 * time.Second)
		host := testkit.MustHost(t, "example.com")
		const rooms = unaskedListings + 1
		conn, err := b.responder.registry.Connect(host, new(presence.Rules), nil, clustertest.Outbox{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range rooms {
			if err := conn.Join(fmt.Sprint("anonymous-", i), presence.WatchNone, ""); err != nil {
				t.Fatal(err)
			}
		}
		list, _, truth := a.Users(t.Context(), host, membership.ScopeAll, presence.PerUser, presence.Page{})
		if len(list) != rooms+1 || !truth.Complete || truth.TooMany != 0 {
			t.Errorf("%d channels, want %d; %+v", len(list), rooms+1, truth)
		}
	})
}
