package assignments

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// A change is complete when each pod that serves its host has stored it. The others have no part in
// it.
func TestChangeWaitsForPodsThatServeItsHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host, other := new(clustertest.Lab), mustHost(t, "example.com"), mustHost(t, "b.example.com")
		a := joined(t, n, "a", host, other)
		b, c := joined(t, n, "b", host), joined(t, n, "c", other)
		users := []string{"ada", "bob"}
		a.spread(host, a.assign(host, users...), true)
		b.wantOf(host, users, users...)
		b.spread(host, b.remove(host, "ada"), true)
		a.wantOf(host, users, "bob")
		c.wantOf(host, users)
		if n := len(b.disk.records) - 1; n != len(users) { // besides the last time in step
			t.Errorf("%d records on the disk of the other pod", n)
		}
		c.disk.fail(errors.New("no room"))
		a.spread(host, a.assign(host, "ada"), true)
		b.disk.fail(errors.New("no room"))
		a.spread(host, a.remove(host, "bob"), true, "us/b")
		b.wantOf(host, users, "ada") // nevertheless
	})
}

// What a pod does with a change decides how the change ends.
func TestEndOfAChange(t *testing.T) {
	host := mustHost(t, "example.com")
	tests := map[string]struct {
		answer    func(m *message.Assignments, times int) *message.AssignmentsTaken // nil: none
		leaves    bool                                                              // it says goodbye when it has the change
		users     int
		sent      int // how often the other pod is sent the records
		unsettled bool
		missing   []string
	}{
		"it confirms": {
			answer: func(m *message.Assignments, _ int) *message.AssignmentsTaken {
				return &message.AssignmentsTaken{ID: m.ID}
			},
			sent: 1,
		},
		"it confirms what is repeated": {
			answer: func(m *message.Assignments, times int) *message.AssignmentsTaken {
				if times == 1 {
					return nil
				}
				return &message.AssignmentsTaken{ID: m.ID}
			},
			sent: 2,
		},
		"it does not answer": {
			answer:  func(*message.Assignments, int) *message.AssignmentsTaken { return nil },
			sent:    2,
			missing: []string{"us/s"},
		},
		"it leaves": {
			answer:  func(*message.Assignments, int) *message.AssignmentsTaken { return nil },
			leaves:  true,
			sent:    1,
			missing: []string{"us/s"},
		},
		"it has no room": {
			answer: func(m *message.Assignments, _ int) *message.AssignmentsTaken {
				return &message.AssignmentsTaken{ID: m.ID, More: true}
			},
			sent:    2,
			missing: []string{"us/s"},
		},
		"it has a later version": {
			answer: func(m *message.Assignments, times int) *message.AssignmentsTaken {
				taken := &message.AssignmentsTaken{ID: m.ID}
				if times == 1 {
					taken.Held.Later = assignment.Version{Clock: m.Records[0].Version.Clock + 1000, Node: 1}
				}
				return taken
			},
			sent: 2,
		},
		"it always has a later version": {
			answer: func(m *message.Assignments, _ int) *message.AssignmentsTaken {
				later := assignment.Version{Clock: m.Records[0].Version.Clock + 1000, Node: 1}
				return &message.AssignmentsTaken{ID: m.ID, Held: assignment.Held{Later: later}}
			},
			sent:      spreadRounds,
			unsettled: true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(clustertest.Lab)
				a, s := joined(t, n, "a", host), script(t, n, "s", host)
				s.Live(3 * time.Second)
				var last assignment.Version
				times := 0
				s.on(func(m message.Message) {
					changes, ok := m.(*message.Assignments)
					if !ok {
						return
					}
					times++
					if v := changes.Records[0].Version; times > 1 && !tt.unsettled && tt.missing == nil && v.Compare(last) < 0 {
						t.Errorf("a later version is %v, after %v", v, last)
					} else {
						last = v
					}
					if taken := tt.answer(changes, times); taken != nil {
						s.Send(s.Link.AssignmentsOf(a.link.Self()), taken)
					}
					if tt.leaves {
						s.Send(s.Link.All(), &message.Goodbye{})
					}
				})
				a.spread(host, a.assign(host, "ada"), !tt.unsettled, tt.missing...)
				if sent := len(heardOf[*message.Assignments](s)); sent != tt.sent {
					t.Errorf("sent %d times, want %d", sent, tt.sent)
				}
			})
		})
	}
}

// Changes that are made while another one travels share one message, and travel again alone if the
// other pod has a later version: nobody knows of which.
func TestChangesTravelTogether(t *testing.T) {
	for _, later := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n, host := new(clustertest.Lab), mustHost(t, "example.com")
			a, s := joined(t, n, "a", host), script(t, n, "s", host)
			s.Live(3 * time.Second)
			s.on(func(m message.Message) {
				changes, ok := m.(*message.Assignments)
				if !ok {
					return
				}
				taken := &message.AssignmentsTaken{ID: changes.ID}
				for _, r := range changes.Records {
					if later && r.User == "eve" {
						taken.Held.Later = assignment.Version{Clock: r.Version.Clock + 1, Node: 1}
					}
				}
				time.Sleep(time.Millisecond) // so that the changes after the first one wait
				s.Send(s.Link.AssignmentsOf(a.link.Self()), taken)
			})
			var all sync.WaitGroup
			for i, user := range []string{"ada", "bob", "eve", "kim"} {
				records := a.assign(host, user)
				all.Go(func() { a.spread(host, records, !later || user != "eve") })
				if i == 0 {
					time.Sleep(100 * time.Microsecond)
				}
			}
			all.Wait()
			var sizes []int
			for _, m := range heardOf[*message.Assignments](s) {
				sizes = append(sizes, len(m.Records))
			}
			if len(sizes) < 2 || sizes[0] != 1 || sizes[1] != 3 {
				t.Errorf("messages of %v records, want 1 and 3 at first", sizes)
			}
			if want := 2 + map[bool]int{true: 2 + spreadRounds}[later]; len(sizes) != want {
				t.Errorf("messages of %v records, want %d of them", sizes, want)
			}
		})
	}
}

// A change ends with its caller, and with the cluster.
func TestChangeEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(clustertest.Lab), mustHost(t, "example.com")
		a, s := joined(t, n, "a", host), script(t, n, "s", host)
		s.Live(3 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		begin := time.Now()
		missing, settled := a.Spread(ctx, host, a.assign(host, "ada"), a.stop)
		if took := time.Since(begin); len(missing) != 1 || settled || took != 10*time.Millisecond {
			t.Errorf("missing %q, settled %v after %s", missing, settled, took)
		}
		a.end()
		begin = time.Now()
		if missing, settled := a.Spread(t.Context(), host, a.assign(host, "bob"), a.stop); missing != nil || settled || time.Since(begin) > 0 {
			t.Errorf("missing %q, settled %v after the end", missing, settled)
		}
	})
}

// A pod that does not serve a host takes no notice of changes for all, and keeps and confirms those
// for it alone.
func TestPodTakesWhatIsForItAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host, other := new(clustertest.Lab), mustHost(t, "example.com"), mustHost(t, "b.example.com")
		a, s := joined(t, n, "a", other), script(t, n, "s", host)
		s.Live(3 * time.Second)
		clock := a.book.Time() << 16
		send := func(subject string, id uint64, user string) {
			t.Helper()
			r := assignment.Record{Host: host, User: user, Channel: "sales", Mode: assignment.Listen, Version: assignment.Version{Clock: clock + id, Node: 9}}
			s.Send(subject, &message.Assignments{ID: id, Host: host, Records: []assignment.Record{r}})
		}
		users := []string{"ada", "bob", "eve"}
		send(s.Link.Assignments(), 1, "ada")
		a.wantOf(host, users)
		send(s.Link.AssignmentsOf(a.link.Self()), 2, "bob")
		a.wantOf(host, users, "bob")
		send(s.Link.Assignments(), 3, "eve") // it has records of the host now, and hears of their removal
		a.wantOf(host, users, "bob", "eve")
		var confirmed []uint64
		for _, m := range heardOf[*message.AssignmentsTaken](s) {
			confirmed = append(confirmed, m.ID)
		}
		if len(confirmed) != 2 || confirmed[0] != 2 || confirmed[1] != 3 {
			t.Errorf("%v are confirmed", confirmed)
		}
	})
}
