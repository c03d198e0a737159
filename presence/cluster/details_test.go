package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// adaScene has user ada on two pods, in a channel on each that the other pod has not, and a watcher
// of the second channel on a third pod.
type adaScene struct {
	t       *testing.T
	host    presence.HostName
	pods    []*labPod
	conns   []*presence.Conn
	watches []*clustertest.Frames // of the second channel, on the second and the third pod
}

func newAdaScene(t *testing.T) *adaScene {
	t.Helper()
	var n lab
	s := &adaScene{t: t, host: mustHost(t, "a.example")}
	for i, dc := range []string{"x", "x", "y"} {
		s.pods = append(s.pods, n.start(t, dc, fmt.Sprint(i)))
	}
	time.Sleep(3 * time.Second)
	for i, channel := range []string{"red", "blue"} {
		s.conns = append(s.conns, s.pods[i].connect(t, s.host, "ada", "", channel))
	}
	for pod := 1; pod < 3; pod++ {
		s.watches = append(s.watches, s.watch(pod, "blue"))
	}
	s.watch(0, "red")
	time.Sleep(3 * timing.Default().Gone) // with the repetitions
	return s
}

// watch makes a user of its own watch a channel.
func (s *adaScene) watch(pod int, channel string) *clustertest.Frames {
	s.t.Helper()
	out := new(clustertest.Frames)
	c, err := s.pods[pod].reg.Connect(s.host, &presence.Rules{}, &presence.User{ID: fmt.Sprint("watcher-", pod)}, out)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	if err := c.Join(channel, presence.WatchList, ""); err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *adaScene) set(pod int, status string) {
	s.t.Helper()
	if err := s.conns[pod].SetStatus(status); err != nil {
		s.t.Fatal(err)
	}
}

// sees reports whether the second pod has the status in its listings and has sent it to a watcher,
// and whether the watcher on the third pod has it.
func (s *adaScene) sees(status string) bool {
	synctest.Wait()
	for _, f := range s.watches {
		lines := slices.DeleteFunc(f.Lines(), func(line string) bool { return !strings.Contains(line, "ada") })
		if !strings.Contains(lines[len(lines)-1], "ada"+status) {
			return false
		}
	}
	h := s.pods[1].reg.Host(s.host)
	users, _ := h.Users(presence.PerUser | presence.WithInfo)
	blue, _ := h.Channel("blue", presence.PerUser|presence.WithInfo)
	has := func(u presence.User) bool { return u.ID == "ada" && u.Status == status }
	return slices.ContainsFunc(users, has) && slices.ContainsFunc(blue.Users, has)
}

// wantWithin waits until everybody sees the status.
func (s *adaScene) wantWithin(d time.Duration, status string) {
	s.t.Helper()
	for end := time.Now().Add(d); !s.sees(status); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			users, _ := s.pods[1].reg.Host(s.host).Users(presence.PerUser | presence.WithInfo)
			s.t.Fatalf("after %v, %s is not everywhere: %+v, frames %q", d, status, users, s.watches[1].Lines())
		}
	}
}

// deafen cuts a pod off, so that it hears no other, or ends that.
func (s *adaScene) deafen(pod int, deaf bool) {
	s.pods[pod].port.Lose(nil)
	if deaf {
		s.pods[pod].port.Lose(func(message.Message) bool { return true })
	}
}

// sentDetails returns the number of payloads with details, of all pods.
func (s *adaScene) sentDetails() (n int) {
	synctest.Wait()
	for _, p := range s.pods {
		n += len(clustertest.SentOf[*message.Details](p.port))
	}
	return n
}

func TestStatusReachesPodsThatShareNoChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAdaScene(t)
		before := s.sentDetails()
		for i := range 30 {
			s.pods[i%3].connect(t, s.host, fmt.Sprint("user", i), "", "blue")
		}
		time.Sleep(3 * timing.Default().Gone)
		if n := s.sentDetails() - before; n != 0 {
			t.Errorf("%d payloads for users without info and status", n)
		}
		s.set(0, `{"n":1}`)
		s.wantWithin(100*time.Millisecond, `{"n":1}`)
		if n := s.sentDetails() - before; n != 1 {
			t.Errorf("%d payloads for a status", n)
		}
		time.Sleep(time.Second)
		s.set(1, `{"n":2}`)
		s.wantWithin(100*time.Millisecond, `{"n":2}`)
		late := s.pods[2].connect(t, s.host, "ada", "")
		time.Sleep(100 * time.Millisecond)
		if u, _ := late.User(); u.Status != `{"n":2}` {
			t.Errorf("a pod to which the user comes has %+v", u)
		}
		time.Sleep(time.Second)
		s.set(0, `{"n":3}`)
		s.conns[0].Close() // the last connection on that pod
		s.wantWithin(100*time.Millisecond, `{"n":3}`)
		for _, info := range []string{`{"i":1}`, `{"i":2}`} {
			if err := late.Authenticate(presence.User{ID: "ada", Info: info}, nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
			if u, _ := s.conns[1].User(); u.Info != info || u.Status != `{"n":3}` {
				t.Errorf("after a login with %s, another pod has %+v", info, u)
			}
		}
		time.Sleep(3 * timing.Default().Gone)
		before = s.sentDetails()
		time.Sleep(time.Hour)
		if n := s.sentDetails() - before; n != 0 {
			t.Errorf("%d payloads in an hour without a change", n)
		}
		late.Close()
		s.conns[1].Close()
		time.Sleep(100 * time.Millisecond)
		again := s.pods[1].connect(t, s.host, "ada", "")
		time.Sleep(100 * time.Millisecond)
		if u, _ := again.User(); u != (presence.User{ID: "ada"}) {
			t.Errorf("after the last connection, a new one has %+v", u)
		}
	})
}

func TestStatusReachesAllPodsAfterACut(t *testing.T) {
	tm := timing.Default()
	for _, tt := range []struct {
		name   string
		cut    time.Duration
		within time.Duration // after the cut
	}{
		{"that no pod notices", 2 * time.Second, 2 * tm.Gone},
		{"in which a pod is suspect", 4 * time.Second, 2 * tm.Gone},
		{"in which a pod is missing", 30 * time.Second, 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newAdaScene(t)
				s.set(0, `{"n":1}`)
				s.wantWithin(100*time.Millisecond, `{"n":1}`)
				time.Sleep(3 * tm.Gone)
				s.deafen(1, true)
				s.set(0, `{"n":2}`)
				time.Sleep(tt.cut)
				if s.sees(`{"n":2}`) {
					t.Error("there was no cut")
				}
				s.deafen(1, false)
				s.wantWithin(tt.within, `{"n":2}`)
			})
		})
	}
}

// A pod that does not know any infos and statuses asks when it begins to have a host, and about
// those who came before the answer.
func TestPodThatStartsLearnsStatuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAdaScene(t)
		s.set(0, `{"n":1}`)
		time.Sleep(time.Hour)
		var conns []*presence.Conn
		for i, wait := range []time.Duration{0, 0, 20 * time.Millisecond, 3 * time.Second} {
			id := []string{"bob", "ada"}[min(i, 1)]
			conns = append(conns, s.pods[2].connect(t, s.host, id, ""))
			time.Sleep(wait)
		}
		time.Sleep(100 * time.Millisecond)
		if u, _ := conns[1].User(); u.Status != `{"n":1}` {
			t.Errorf("the pod has %+v", u)
		}
	})
}

func TestPodAloneSendsNoDetails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n lab
		host := mustHost(t, "a.example")
		p := n.settled(t, "x", "a")
		c := p.connect(t, host, "ada", "", "room")
		if err := c.SetStatus("{}"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := len(clustertest.SentOf[*message.Details](p.port)); n != 0 {
			t.Errorf("%d payloads", n)
		}
	})
}
