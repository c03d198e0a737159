package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// memoryStore is a Store in memory.
type memoryStore struct{}

func (memoryStore) Load(func(assignment.Record)) error       { return nil }
func (memoryStore) Save([]assignment.Record) error           { return nil }
func (memoryStore) Delete(records []assignment.Record) error { return nil }

// bookOf returns a new book with a store.
func bookOf(t *testing.T, node uint64) *assignment.Book {
	t.Helper()
	b := assignment.NewBook(node, nil)
	if err := b.Attach(memoryStore{}); err != nil {
		t.Fatal(err)
	}
	return b
}

// with makes the pod keep a book.
func with(b *assignment.Book) func(*Config, *timing.Timing) {
	return func(cfg *Config, _ *timing.Timing) { cfg.Assignments = b }
}

// assignTo assigns users to a channel.
func assignTo(t *testing.T, b *assignment.Book, host presence.HostName, channel string, users ...string) []assignment.Record {
	t.Helper()
	wishes := make([]assignment.Wish, len(users))
	for i, u := range users {
		wishes[i] = assignment.Wish{User: u, Channels: []assignment.Assignment{{Channel: channel, Mode: assignment.Listen}}}
	}
	records, err := b.Assign(host, wishes, 0)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func TestSpreadReturnsWhenAllHaveIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(lab), mustHost(t, "example.com")
		books := []*assignment.Book{bookOf(t, 1), bookOf(t, 2), bookOf(t, 3)}
		a := n.start(t, "us", "web-1", with(books[0]))
		n.start(t, "us", "web-2", with(books[1]))
		n.settled(t, "eu", "web-3", with(books[2]))

		began := time.Now()
		truth := a.Spread(context.Background(), host, assignTo(t, books[0], host, "sales", "ada"))
		if !truth.Complete || len(truth.Missing) > 0 || time.Since(began) > 100*time.Millisecond {
			t.Errorf("%+v after %s", truth, time.Since(began))
		}
		for i, b := range books {
			if m := b.Mode(host, "ada", "sales"); m != assignment.Listen {
				t.Errorf("pod %d has the mode %v", i+1, m)
			}
		}
		if truth := a.Spread(context.Background(), host, nil); !truth.Complete {
			t.Errorf("of nothing: %+v", truth)
		}
		// A change of many records needs several messages.
		users := make([]string, 20_000)
		for i := range users {
			users[i] = fmt.Sprintf("user-with-a-name-of-some-length-%d", i)
		}
		if truth := a.Spread(context.Background(), host, assignTo(t, books[0], host, "all", users...)); !truth.Complete {
			t.Errorf("of many: %+v", truth)
		}
		if *books[0].Sums(nil) != *books[1].Sums(nil) || *books[0].Sums(nil) != *books[2].Sums(nil) {
			t.Error("the books differ")
		}
		if len(clustertest.SentOf[*message.Assignments](a.port)) < 3 {
			t.Error("many records went in one message")
		}
	})
}

// A change holds on all pods once it is complete, whatever the clocks of the pods are and whether
// its pod knew what the others have.
func TestCompleteChangeHoldsEverywhere(t *testing.T) {
	changes := map[string]struct {
		do   func(b *assignment.Book, host presence.HostName) ([]assignment.Record, error)
		want assignment.Mode
	}{
		"a removal": {func(b *assignment.Book, host presence.HostName) ([]assignment.Record, error) {
			records, _, err := b.Remove(host, []assignment.Wish{{User: "ada", Channels: []assignment.Assignment{{Channel: "sales"}}}})
			return records, err
		}, assignment.None},
		"a removal of all": {func(b *assignment.Book, host presence.HostName) ([]assignment.Record, error) {
			records, _, err := b.Remove(host, []assignment.Wish{{User: "ada"}})
			return records, err
		}, assignment.None},
		"another mode": {func(b *assignment.Book, host presence.HostName) ([]assignment.Record, error) {
			return b.Assign(host, []assignment.Wish{{User: "ada", Channels: []assignment.Assignment{{Channel: "sales", Mode: assignment.Receive}}}}, 0)
		}, assignment.Receive},
	}
	for name, change := range changes {
		for _, ahead := range []time.Duration{-time.Hour, 0, time.Hour} {
			t.Run(fmt.Sprintf("%s, others' clocks %s ahead", name, ahead), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n, host := new(lab), mustHost(t, "example.com")
					books := []*assignment.Book{bookOf(t, 1), bookOf(t, 2), bookOf(t, 3)}
					a := n.start(t, "us", "web-1", with(books[0]))
					n.start(t, "us", "web-2", with(books[1]))
					n.settled(t, "eu", "web-3", with(books[2]))
					// The others have it, and the next comparison is far.
					r := assignment.Record{
						Host: host, User: "ada", Channel: "sales", Mode: assignment.Listen,
						Version: assignment.Version{Clock: uint64(time.Now().Add(ahead).UnixMilli()) << 16, Node: 9},
					}
					for _, b := range books[1:] {
						if _, err := b.Merge([]assignment.Record{r}); err != nil {
							t.Fatal(err)
						}
					}
					records, err := change.do(books[0], host)
					if err != nil {
						t.Fatal(err)
					}
					if truth := a.Spread(context.Background(), host, records); !truth.Complete {
						t.Errorf("%+v", truth)
					}
					wants := func(when string) {
						for i, b := range books {
							if m := b.Mode(host, "ada", "sales"); m != change.want {
								t.Errorf("%s, pod %d has the mode %v, want %v", when, i+1, m, change.want)
							}
							for _, r := range partsOf(b) {
								if r.Blind {
									t.Errorf("%s, pod %d has a blind removal of what was there", when, i+1)
								}
							}
						}
					}
					wants("at once")
					time.Sleep(3 * timing.Default().Check)
					wants("later")
				})
			})
		}
	}
}

// partsOf returns all records of a book.
func partsOf(b *assignment.Book) (list []assignment.Record) {
	for i := range assignment.Shards {
		list = append(list, b.Part(i, nil)...)
	}
	return list
}

func TestSpreadNamesThoseThatDoNotConfirm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(lab), mustHost(t, "example.com")
		a, unkept := bookOf(t, 1), assignment.NewBook(2, nil) // has no store
		near := n.start(t, "us", "web-1", with(a))
		n.start(t, "us", "web-2", with(unkept))
		n.settled(t, "eu", "web-3") // has no book

		began := time.Now()
		truth := near.Spread(context.Background(), host, assignTo(t, a, host, "sales", "ada"))
		slices.Sort(truth.Missing)
		if truth.Complete || !slices.Equal(truth.Missing, []string{"eu/web-3", "us/web-2"}) {
			t.Errorf("%+v", truth)
		}
		if took := time.Since(began); took != timing.Default().Remote {
			t.Errorf("it took %s", took)
		}
		if m := unkept.Mode(host, "ada", "sales"); m != assignment.Listen {
			t.Errorf("what cannot be kept does not hold: %v", m)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		began = time.Now()
		if truth := near.Spread(ctx, host, assignTo(t, a, host, "sales", "bob")); truth.Complete || time.Since(began) > 0 {
			t.Errorf("a caller that has gone: %+v after %s", truth, time.Since(began))
		}
	})
}

func TestSpreadEndsWithThePodThatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(lab), mustHost(t, "example.com")
		book := bookOf(t, 1)
		a := n.start(t, "us", "web-1", with(book))
		b := n.settled(t, "eu", "web-2")
		done := make(chan Truth)
		go func() {
			done <- a.Spread(context.Background(), host, assignTo(t, book, host, "sales", "ada"))
		}()
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if truth := <-done; truth.Complete || !slices.Equal(truth.Missing, []string{"eu/web-2"}) || time.Since(began) > 100*time.Millisecond {
			t.Errorf("%+v after %s", truth, time.Since(began))
		}
	})
}

// A pod that joins while a change is on its way has to confirm it too: it may have compared its
// book with that of another pod before that one had the change.
func TestSpreadWaitsForPodsThatJoinMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(lab), mustHost(t, "example.com")
		book, fresh := bookOf(t, 1), bookOf(t, 3)
		a := n.start(t, "us", "web-1", with(book))
		n.settled(t, "us", "web-2") // has no book
		time.Sleep(5 * time.Second)
		done := make(chan Truth)
		go func() {
			done <- a.Spread(context.Background(), host, assignTo(t, book, host, "sales", "ada"))
		}()
		time.Sleep(100 * time.Millisecond)
		n.start(t, "us", "web-3", with(fresh))
		n.start(t, "us", "web-4", with(assignment.NewBook(4, nil))) // has no store
		truth := <-done
		slices.Sort(truth.Missing)
		if truth.Complete || !slices.Equal(truth.Missing, []string{"us/web-2", "us/web-4"}) {
			t.Errorf("%+v", truth)
		}
		if m := fresh.Mode(host, "ada", "sales"); m != assignment.Listen {
			t.Errorf("the pod that joined has the mode %v", m)
		}
	})
}

// Records that do not arrive are sent again.
func TestSpreadRepeatsWhatIsNotConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, pods := keepersOf(t, 1, "us", "us")
		for _, p := range pods {
			p.start()
		}
		time.Sleep(5 * time.Second)
		lost := 0
		net.mu.Lock()
		net.drop = func(_, _ *simPort, m message.Message) bool {
			if _, records := m.(*message.Assignments); records {
				lost++
				return lost == 1
			}
			return false
		}
		net.mu.Unlock()
		if !pods[0].run.change(pods[0].serves[0], assignment.Receive, "ada", "sales") || lost < 2 {
			t.Errorf("the change is not complete; records were sent %d times", lost)
		}
	})
}

// A pod that joins has the records of the others within a moment. They have its records after the
// next comparison.
func TestPodsExchangeWhatTheyHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host, other := new(lab), mustHost(t, "example.com"), mustHost(t, "other.example.com")
		books := []*assignment.Book{bookOf(t, 1), bookOf(t, 2), bookOf(t, 3)}
		for i := range 3000 {
			assignTo(t, books[0], host, "all", fmt.Sprintf("user-%d", i))
		}
		assignTo(t, books[0], other, "x", "ada")
		n.settled(t, "us", "web-1", with(books[0]))
		n.settled(t, "us", "web-2", with(books[1]))
		if *books[0].Sums(nil) != *books[1].Sums(nil) {
			t.Errorf("the second pod has %d assignments of %d", books[1].Len(), books[0].Len())
		}
		assignTo(t, books[2], host, "brought", "ada")
		if _, _, err := books[2].Remove(host, []assignment.Wish{{User: "user-1"}}); err != nil {
			t.Fatal(err)
		}
		n.start(t, "eu", "web-3", with(books[2]))
		time.Sleep(3 * time.Second)
		if m := books[2].Mode(other, "ada", "x"); m != assignment.Listen {
			t.Errorf("after 3 s the new pod has the mode %v", m)
		}
		time.Sleep(2 * timing.Default().Check)
		if *books[2].Sums(nil) != *books[0].Sums(nil) || *books[2].Sums(nil) != *books[1].Sums(nil) {
			t.Error("the books differ")
		}
		if m := books[0].Mode(host, "ada", "brought"); m != assignment.Listen {
			t.Errorf("the first pod has the mode %v", m)
		}
	})
}

// Lost records are found by the next comparison. Pods with equal books send no checks.
func TestPodsFindWhatTheyMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(lab), mustHost(t, "example.com")
		books := []*assignment.Book{bookOf(t, 1), bookOf(t, 2)}
		a := n.start(t, "us", "web-1", with(books[0]))
		b := n.settled(t, "us", "web-2", with(books[1]))
		time.Sleep(5 * timing.Default().Check)
		asked := func() int {
			return len(clustertest.SentOf[*message.AssignmentCheck](a.port)) + len(clustertest.SentOf[*message.AssignmentCheck](b.port))
		}
		before := asked()
		time.Sleep(10 * timing.Default().Check)
		if more := asked() - before; more > 0 {
			t.Errorf("%d checks although nothing differs", more)
		}
		assignTo(t, books[0], host, "sales", "ada") // without a message to others
		time.Sleep(2*timing.Default().Check + time.Second)
		if *books[0].Sums(nil) != *books[1].Sums(nil) {
			t.Error("the books differ")
		}
		if more := asked() - before; more == 0 || more > 6 {
			t.Errorf("%d checks for one difference", more)
		}
	})
}

// A large difference needs several answers, each of limited size.
func TestManyAssignmentsComeInSeveralAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(lab), mustHost(t, "example.com")
		books := []*assignment.Book{bookOf(t, 1), bookOf(t, 2)}
		long := make([]byte, 4000)
		for i := range long {
			long[i] = 'c'
		}
		for i := range 6000 { // 24 MB
			assignTo(t, books[0], host, string(long), fmt.Sprintf("user-%d", i))
		}
		n.settled(t, "us", "web-1", with(books[0]))
		b := n.settled(t, "us", "web-2", with(books[1]))
		time.Sleep(2 * timing.Default().Check)
		if *books[0].Sums(nil) != *books[1].Sums(nil) {
			t.Errorf("%d of %d", books[1].Len(), books[0].Len())
		}
		if checks := len(clustertest.SentOf[*message.AssignmentCheck](b.port)); checks < 2 {
			t.Errorf("%d checks", checks)
		}
	})
}

// A pod that does not answer is not waited for: another one is checked.
func TestUnansweredCheckIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(lab), mustHost(t, "example.com")
		books := []*assignment.Book{bookOf(t, 1), bookOf(t, 2)}
		assignTo(t, books[0], host, "sales", "ada")
		n.settled(t, "us", "web-1", with(books[0]))
		n.settled(t, "us", "deaf") // has no book
		c := n.start(t, "us", "web-3", with(books[1]))
		time.Sleep(2500 * time.Millisecond)
		if c.Ready() {
			t.Error("the pod is ready although one of the others does not say what it has")
		}
		time.Sleep(2 * timing.Default().Check)
		if truth := c.Spread(t.Context(), host, nil); !truth.Complete {
			t.Error("a pod without an answer is waited for all the time")
		}
		if *books[0].Sums(nil) != *books[1].Sums(nil) {
			t.Error("the books differ")
		}
	})
}

// A lasting difference, which can be legitimate, is not checked all the time. Later changes are
// still found.
func TestLastingDifferenceIsCheckedLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(lab), mustHost(t, "example.com")
		books := []*assignment.Book{bookOf(t, 1), bookOf(t, 2)}
		removed := assignment.Record{Host: host, User: "ada", Channel: "sales", Version: assignment.Version{
			Clock: uint64(time.Now().Add(time.Minute-assignment.Retention).Truncate(assignment.SweepEvery).UnixMilli()) << 16, Node: 1,
		}}
		for _, b := range books {
			if _, err := b.Merge([]assignment.Record{removed}); err != nil {
				t.Fatal(err)
			}
		}
		a := n.start(t, "us", "web-1", with(books[0]))
		b := n.settled(t, "us", "web-2", with(books[1]))
		time.Sleep(assignment.SweepEvery)
		if err := books[0].Sweep(); err != nil { // the other pod does not sweep
			t.Fatal(err)
		}
		if *books[0].Sums(nil) == *books[1].Sums(nil) {
			t.Fatal("nothing differs")
		}
		asked := func() int {
			return len(clustertest.SentOf[*message.AssignmentCheck](a.port)) + len(clustertest.SentOf[*message.AssignmentCheck](b.port))
		}
		before := asked()
		time.Sleep(10 * time.Minute)
		if more := asked() - before; more == 0 || more > 40 {
			t.Errorf("%d checks in ten minutes", more)
		}
		assignTo(t, books[1], host, "sales", "bob") // without a message to others
		time.Sleep(2 * time.Minute)
		if m := books[0].Mode(host, "bob", "sales"); m != assignment.Listen {
			t.Errorf("the mode is %v", m)
		}
	})
}

// A pod that changes its own book all the time does not check all the time.
func TestOwnChangesCauseNoCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(lab), mustHost(t, "example.com")
		books := []*assignment.Book{bookOf(t, 1), bookOf(t, 2)}
		a := n.settled(t, "us", "web-1", with(books[0]))
		b := n.settled(t, "us", "web-2", with(books[1]))
		ends := time.Now().Add(20 * time.Second)
		go func() { // ends when ends is closed
			for time.Now().Before(ends) {
				a.port.SetSlow(5 * time.Millisecond) // an answer takes as long as a change
				time.Sleep(time.Millisecond)
			}
		}()
		for i := 0; time.Now().Before(ends); i++ {
			b.Spread(t.Context(), host, assignTo(t, books[1], host, "sales", fmt.Sprintf("user-%d", i)))
			time.Sleep(2 * time.Millisecond)
		}
		if checks := len(clustertest.SentOf[*message.AssignmentCheck](b.port)); checks > 25 {
			t.Errorf("%d checks in 20 s", checks)
		}
		synctest.Wait()
	})
}

// If an answer is too long and the other pod has no room for it, the next answers have the rest.
func TestLongAnswersHaveEverythingInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(lab)
		book := bookOf(t, 1)
		long := strings.Repeat("c", 4000)
		hosts := make(map[presence.HostName]bool)
		for i := range 6000 { // 24 MB
			host := mustHost(t, fmt.Sprintf("host-%d.example.com", i%300))
			assignTo(t, book, host, long, fmt.Sprintf("user-%d", i))
			hosts[host] = true
		}
		a := n.settled(t, "us", "web-1", with(book))
		other := n.settled(t, "us", "web-2", with(bookOf(t, 2))).link.Self()
		shared, _ := a.members.Shared(other)
		before := len(clustertest.SentOf[*message.Assignments](a.port))
		for range 20 {
			a.assignments.Handle(other, &message.AssignmentCheck{ID: 1, Scope: shared.Scope})
		}
		users := make(map[string]bool)
		for _, s := range clustertest.SentOf[*message.Assignments](a.port)[before:] {
			for _, r := range s.Message.(*message.Assignments).Records {
				users[r.User] = true
			}
		}
		if len(users) != 6000 {
			t.Errorf("%d of 6000 users were ever told", len(users))
		}
	})
}
