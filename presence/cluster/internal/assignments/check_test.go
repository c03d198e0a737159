package assignments

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// A pod whose answers to checks have no end, or bring nothing and are never all, is no longer
// waited for after a few of them. Otherwise it could keep this pod from joining, and make it send
// checks without a pause.
func TestAnswersWithoutEnd(t *testing.T) {
	host := mustHost(t, "example.com")
	tests := map[string]func(s *scripted, send func(m message.Message), id uint64){
		"there is always more": func(_ *scripted, send func(m message.Message), id uint64) {
			send(&message.AssignmentsTaken{ID: id, Whole: true, More: true, Outside: outsideDone})
		},
		"there is always more of other hosts": func(_ *scripted, send func(m message.Message), id uint64) {
			send(&message.AssignmentsTaken{ID: id, Whole: true})
		},
		"it has more parts than come": func(_ *scripted, send func(m message.Message), id uint64) {
			send(&message.AssignmentsTaken{ID: id, Whole: true, Parts: 1 << 63, Outside: outsideDone})
		},
		"there is always another part": func(s *scripted, send func(m message.Message), id uint64) {
			go func() {
				for range 4 * maxCheck / repeatAfter {
					time.Sleep(repeatAfter / 2)
					r := assignment.Record{Host: host, User: "ada", Channel: "sales", Mode: assignment.Listen, Version: assignment.Version{Clock: 5, Node: 9}}
					send(&message.Assignments{ID: id, Answer: true, Host: host, Records: []assignment.Record{r}})
				}
			}()
		},
	}
	for name, answer := range tests {
		for _, others := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := new(clustertest.Lab)
					if others {
						b := joined(t, n, "b", host)
						b.assign(host, "bob")
					}
					s := script(t, n, "s", host)
					s.Beat()
					a := start(t, n, "a", new(disk), host)
					send := func(m message.Message) { s.Send(s.Link.AssignmentsOf(a.link.Self()), m) }
					checks := 0
					s.on(func(m message.Message) {
						switch m := m.(type) {
						case *message.AssignmentTotal:
							if m.Wanted {
								send(&message.AssignmentTotal{Total: 1, Scope: m.Scope, ID: m.ID, Whole: true, Outside: true})
							}
						case *message.AssignmentCheck:
							if checks++; checks < 1000 {
								answer(s, send, m.ID)
							}
						}
					})
					s.Live(maxTries*maxCheck + 5*time.Second)
					synctest.Wait()
					if !a.members.Joined(host) || checks > 10*maxTries {
						t.Errorf("joined: %v, after %d checks", a.members.Joined(host), checks)
					}
					if others {
						a.wantOf(host, []string{"bob"}, "bob")
					}
					a.end()
					time.Sleep(3 * maxCheck) // until the parts end
				})
			})
		}
	}
}
