package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// slowStore is a Store in memory that takes some time. It counts what is stored of hosts.
type slowStore struct {
	memoryStore
	saves atomic.Int64
	done  atomic.Int64 // records that are stored
}

func (s *slowStore) Save(records []assignment.Record) error {
	time.Sleep(5 * time.Millisecond)
	if records[0].Host.IsZero() {
		return nil // the last time in step
	}
	s.saves.Add(1)
	s.done.Add(int64(len(records)))
	return nil
}

// slowBook returns a new book with a slow store.
func slowBook(t *testing.T, node uint64) (*assignment.Book, *slowStore) {
	t.Helper()
	b, s := assignment.NewBook(node, nil), new(slowStore)
	if err := b.Attach(s); err != nil {
		t.Fatal(err)
	}
	return b, s
}

// together assigns each user to a channel, in a change of its own and all at once, and returns the
// results and the records. No change has its version after another one was made again.
func together(a *labPod, b *assignment.Book, host presence.HostName, users []string) (truths []Truth, records [][]assignment.Record) {
	truths, records = make([]Truth, len(users)), make([][]assignment.Record, len(users))
	var all, assigned sync.WaitGroup
	assigned.Add(len(users))
	for i, user := range users {
		all.Go(func() {
			w := assignment.Wish{User: user, Channels: []assignment.Assignment{{Channel: "sales", Mode: assignment.Listen}}}
			var err error
			records[i], err = b.Assign(host, []assignment.Wish{w}, 0)
			assigned.Done()
			assigned.Wait()
			if err == nil {
				truths[i] = a.Spread(context.Background(), host, records[i])
			}
		})
	}
	all.Wait()
	return truths, records
}

// usersOf returns n IDs of users.
func usersOf(n int) (users []string) {
	for i := range n {
		users = append(users, fmt.Sprintf("user-%d", i))
	}
	return users
}

func TestChangesTravelTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(lab), mustHost(t, "example.com")
		book, _ := slowBook(t, 1)
		a := n.start(t, "us", "web-1", with(book))
		other, store := slowBook(t, 2)
		n.settled(t, "us", "web-2", with(other))
		users := usersOf(64)
		began := time.Now()
		truths, _ := together(a, book, host, users)
		took := time.Since(began)
		for i, truth := range truths {
			if !truth.Complete {
				t.Errorf("%s: %+v", users[i], truth)
			}
		}
		if *book.Sums(nil) != *other.Sums(nil) || store.done.Load() != int64(len(users)) {
			t.Errorf("the other pod has stored %d records", store.done.Load())
		}
		if sent := len(clustertest.SentOf[*message.Assignments](a.port)); sent > 3 || store.saves.Load() > 3 || took > 30*time.Millisecond {
			t.Errorf("%d messages, %d writes, %s", sent, store.saves.Load(), took)
		}
		// A change alone waits for nothing but the two disks.
		began = time.Now()
		if truths, _ := together(a, book, host, []string{"ada"}); !truths[0].Complete || time.Since(began) != 10*time.Millisecond {
			t.Errorf("alone: %+v after %s", truths[0], time.Since(began))
		}
	})
}

// What another pod has later than one of the changes must not make the others again.
func TestSharedChangesAreMadeAgainAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(lab), mustHost(t, "example.com")
		book, other := bookOf(t, 1), bookOf(t, 2)
		a := n.start(t, "us", "web-1", with(book))
		n.settled(t, "us", "web-2", with(other))
		users := usersOf(20)
		later := assignment.Record{
			Host: host, User: users[7], Channel: "sales", Mode: assignment.Receive,
			Version: assignment.Version{Clock: uint64(time.Now().Add(time.Hour).UnixMilli()) << 16, Node: 9},
		}
		if _, err := other.Merge([]assignment.Record{later}); err != nil {
			t.Fatal(err)
		}
		truths, records := together(a, book, host, users)
		for i, truth := range truths {
			if again := records[i][0].Version.Compare(later.Version) > 0; !truth.Complete || again != (i == 7) {
				t.Errorf("%s: %+v, made again: %t", users[i], truth, again)
			}
		}
		if m := other.Mode(host, users[7], "sales"); m != assignment.Listen || *book.Sums(nil) != *other.Sums(nil) {
			t.Errorf("the other pod has the mode %s", m)
		}
	})
}

// A pod without room for one change confirms the others that came with it.
func TestSharedChangesDoNotFailTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(lab), mustHost(t, "example.com")
		book := bookOf(t, 1)
		a := n.start(t, "us", "web-1", with(book))
		b := n.settled(t, "us", "web-2") // has no book, and confirms as the test says
		time.Sleep(5 * time.Second)
		users := usersOf(20)
		for _, subject := range []string{b.link.Assignments(), b.link.AssignmentsOf(b.link.Self())} {
			_, err := b.link.Subscribe(subject, link.Loose, func(from link.Peer, m message.Message) {
				if m, ok := m.(*message.Assignments); ok {
					full := slices.ContainsFunc(m.Records, func(r assignment.Record) bool { return r.User == users[7] })
					b.link.Send(b.link.AssignmentsOf(from), &message.AssignmentsTaken{ID: m.ID, More: full})
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		truths, _ := together(a, book, host, users)
		for i, truth := range truths {
			if full := slices.Equal(truth.Missing, []string{"us/web-2"}); full != (i == 7) {
				t.Errorf("%s: %+v", users[i], truth)
			}
		}
		if took := time.Since(began); took != timing.Default().Timeout {
			t.Errorf("the change without room took %s", took)
		}
	})
}

// A later version on one pod, and the silence of another one, leave time for the changes that are
// made again: only the silent pod is named, in the time of one answer.
func TestLaterVersionDoesNotWaitForSilentPods(t *testing.T) {
	for _, count := range []int{1, 20} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, host := new(lab), mustHost(t, "example.com")
				book, other := bookOf(t, 1), bookOf(t, 2)
				a := n.start(t, "us", "web-1", with(book))
				n.settled(t, "us", "web-2", with(other))
				n.settled(t, "us", "web-3") // has no book
				time.Sleep(6 * time.Second) // the next comparison is far
				users := usersOf(count)
				last := count - 1
				later := assignment.Record{
					Host: host, User: users[last], Channel: "sales", Mode: assignment.Receive,
					Version: assignment.Version{Clock: uint64(time.Now().Add(time.Hour).UnixMilli()) << 16, Node: 9},
				}
				if _, err := other.Merge([]assignment.Record{later}); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				truths, records := together(a, book, host, users)
				if took := time.Since(began); took != timing.Default().Timeout {
					t.Errorf("it took %s", took)
				}
				for i, truth := range truths {
					again := records[i][0].Version.Compare(later.Version) > 0
					if truth.Complete || !slices.Equal(truth.Missing, []string{"us/web-3"}) || again != (i == last) {
						t.Errorf("%s: %+v, made again: %t", users[i], truth, again)
					}
				}
				if m := other.Mode(host, users[last], "sales"); m != assignment.Listen || *book.Sums(nil) != *other.Sums(nil) {
					t.Errorf("the other pod has the mode %s", m)
				}
			})
		})
	}
}

// Pods with different later versions, more than there are flights, do not keep a change from being
// complete.
func TestDifferentLaterVersionsAreCombined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(lab), mustHost(t, "example.com")
		book := bookOf(t, 1)
		a := n.start(t, "us", "web-1", with(book))
		others := make([]*assignment.Book, 5)
		for i := range others {
			others[i] = bookOf(t, uint64(i+2))
			n.start(t, "us", fmt.Sprintf("web-%d", i+2), with(others[i]))
		}
		time.Sleep(2500 * time.Millisecond)
		for i, b := range others {
			later := assignment.Record{
				Host: host, User: "ada", Channel: "sales", Mode: assignment.Receive,
				Version: assignment.Version{Clock: uint64(time.Now().Add(time.Duration(i+1)*time.Hour).UnixMilli()) << 16, Node: 9},
			}
			if _, err := b.Merge([]assignment.Record{later}); err != nil {
				t.Fatal(err)
			}
		}
		if truth := a.Spread(context.Background(), host, assignTo(t, book, host, "sales", "ada")); !truth.Complete {
			t.Errorf("%+v", truth)
		}
		for i, b := range others {
			if m := b.Mode(host, "ada", "sales"); m != assignment.Listen {
				t.Errorf("web-%d has the mode %s", i+2, m)
			}
		}
	})
}

// Close waits for changes that are being sent, so that other pods get nothing after the goodbye.
func TestNoChangeIsSentAfterTheGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(lab), mustHost(t, "example.com")
		book := bookOf(t, 1)
		a := n.start(t, "us", "web-1", with(book))
		n.settled(t, "us", "web-2") // has no book
		time.Sleep(5100 * time.Millisecond)
		users := make([]string, 20_000) // need several messages
		for i := range users {
			users[i] = fmt.Sprintf("user-with-a-name-of-some-length-%d", i)
		}
		records := assignTo(t, book, host, "sales", users...)
		a.port.SetSlow(10 * time.Millisecond)
		done := make(chan Truth)
		go func() { done <- a.Spread(context.Background(), host, records) }()
		time.Sleep(5 * time.Millisecond) // the first one is being sent
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if truth := <-done; truth.Complete {
			t.Errorf("%+v", truth)
		}
		if truth := a.Spread(context.Background(), host, records); truth.Complete {
			t.Errorf("after the end: %+v", truth)
		}
		time.Sleep(time.Second)
		sent, goodbyes := clustertest.SentOf[*message.Assignments](a.port), clustertest.SentOf[*message.Goodbye](a.port)
		if len(sent) < 2 || len(goodbyes) != 1 {
			t.Fatalf("%d messages, %d goodbyes", len(sent), len(goodbyes))
		}
		if last := sent[len(sent)-1]; last.At.After(goodbyes[0].At) {
			t.Errorf("sent %s after the goodbye", last.At.Sub(goodbyes[0].At))
		}
	})
}
