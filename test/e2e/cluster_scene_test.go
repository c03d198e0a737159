package e2e

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// room is the channel that all clients of a scene join.
const room = "room"

// scene is a deployment with clients that stay, clients that come and go, constant questions, and
// watchers, while something happens to pods.
type scene struct {
	t       *testing.T
	pods    deployment
	history *cluster.History
	outlook *cluster.Outlook
	askers  []*cluster.Asker
	pace    time.Duration          // between two questions to a pod
	views   map[*pod]*cluster.View // of the room

	sockets []*cluster.Client // connections of clients that stay

	stopLoad chan struct{}
	load     sync.WaitGroup
	mu       sync.Mutex
	failures []error // of the load
}

// residentsOfAPod is the number of users with their only connection on a pod. It is also the number
// of anonymous connections there, and of users with a second connection on the next pod.
const residentsOfAPod = 8

// own returns the users that are connected to this pod alone.
func own(p *pod) []string {
	ids := make([]string, residentsOfAPod)
	for i := range ids {
		ids[i] = fmt.Sprintf("own-%s-%s-%d", p.DC, p.Name, i)
	}
	return ids
}

// alone names them and the watcher.
func alone(p *pod) []string { return append(own(p), watcherOf(p)) }

// newScene connects the clients that stay, and a watcher to each pod.
func newScene(t *testing.T, pods deployment) *scene {
	t.Helper()
	s := &scene{
		t: t, pods: pods, history: new(cluster.History), outlook: cluster.NewOutlook(pods.names()),
		pace: 35 * time.Millisecond, views: make(map[*pod]*cluster.View), stopLoad: make(chan struct{}),
	}
	for i, p := range pods {
		next := pods[(i+1)%len(pods)]
		for j, id := range own(p) {
			s.resident(p, id)
			s.resident(p, "")
			for _, at := range []*pod{p, next} {
				s.resident(at, fmt.Sprintf("both-%d-%d", i, j))
			}
		}
	}
	for _, p := range pods {
		c, _ := s.arrive(p, watcherOf(p))
		s.views[p] = new(cluster.View)
		s.must(c.Watch(room, s.views[p]))
	}
	return s
}

func watcherOf(p *pod) string { return "watcher-" + p.DC + "-" + p.Name }

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// arrive connects a client, and records it in the history.
func (s *scene) arrive(p *pod, id string) (*cluster.Client, *cluster.Stay) {
	s.t.Helper()
	stay := s.history.Arriving(p.Pod, id)
	c := p.connect(s.t, userOf(id))
	stay.Arrived()
	return c, stay
}

func (s *scene) resident(p *pod, id string) (*cluster.Client, *cluster.Stay) {
	s.t.Helper()
	c, stay := s.arrive(p, id)
	s.sockets = append(s.sockets, c)
	if id != "" {
		s.must(c.Join(room))
	}
	return c, stay
}

// members returns the IDs of the users that stay in the room, on all pods except some.
func (s *scene) members(without ...*pod) []string {
	there := make(map[string]bool)
	for i, p := range s.pods {
		lost := slices.Contains(without, p)
		next := s.pods[(i+1)%len(s.pods)]
		for _, id := range alone(p) {
			there[id] = !lost
		}
		for j := range residentsOfAPod {
			there[fmt.Sprintf("both-%d-%d", i, j)] = !lost || !slices.Contains(without, next)
		}
	}
	var ids []string
	for id, is := range there {
		if is {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// awaitViews waits until the watchers of pods see exactly these in the room.
func (s *scene) awaitViews(pods []*pod, want []string) {
	s.t.Helper()
	ws.Poll(s.t, ws.Patience, func() error {
		for _, p := range pods {
			users, err := s.views[p].Members()
			if err != nil {
				s.t.Fatalf("the watcher on %s: %v", p.Pod, err)
			}
			var got []string
			for _, u := range users {
				if u.Email != u.ID+"@example.com" {
					s.t.Fatalf("the watcher on %s sees %+v", p.Pod, u)
				}
				got = append(got, u.ID)
			}
			if !reflect.DeepEqual(got, want) {
				return fmt.Errorf("the watcher on %s sees %q, want %q", p.Pod, got, want)
			}
		}
		return nil
	})
}

// ask starts to ask a pod. The outlook judges its answers.
func (s *scene) ask(p *pod, o *cluster.Outlook, longest time.Duration) *cluster.Asker {
	k := &cluster.Asker{
		Pod: p.Pod, Site: p.site, History: s.history, Outlook: o, Pace: s.pace, Longest: longest,
	}
	k.Start()
	s.t.Cleanup(func() { _ = k.Stop() }) // of a test that failed meanwhile
	s.askers = append(s.askers, k)
	return k
}

// awaitAnswers waits until each asker has n answers to questions after a time.
func (s *scene) awaitAnswers(begin time.Time, n int) {
	s.t.Helper()
	ws.Poll(s.t, 2*ws.Patience, func() error {
		for _, k := range s.askers {
			if all, _ := k.Since(begin); all < n {
				return fmt.Errorf("%s has answered %d times", k.Pod, all)
			}
		}
		return nil
	})
}

// stopAsking ends all questions. Every wrong answer is an error.
func (s *scene) stopAsking(what string, begin time.Time) {
	s.t.Helper()
	for _, k := range s.askers {
		all, complete := k.Since(begin)
		s.t.Logf("%s: %s gave %d answers, %d of them complete", what, k.Pod, all, complete)
		if err := k.Stop(); err != nil {
			s.t.Errorf("%s: %v", what, err)
		}
	}
	s.askers = nil
}

// guestNames are few, and the same on all pods.
const guestNames = 7

// startLoad makes guests come and go on some pods, until stopLoading.
func (s *scene) startLoad(pods []*pod) {
	tokens := make([]string, guestNames)
	for i := range tokens {
		tokens[i] = token(s.t, *userOf(guest(i)))
	}
	for i, p := range pods {
		s.load.Go(func() {
			if err := s.guests(p, i, tokens); err != nil {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.failures = append(s.failures, fmt.Errorf("a guest of %s: %w", p.Pod, err))
			}
		})
	}
}

func guest(i int) string { return fmt.Sprintf("guest-%d", i) }

// guests come one after another, and each leaves when a few more have come. Every third is
// anonymous, and every third joins the room.
func (s *scene) guests(p *pod, first int, tokens []string) error {
	type visit struct {
		client *cluster.Client
		stay   *cluster.Stay
	}
	const inside = 5
	var there []visit
	leave := func(g visit) {
		g.stay.Leaving()
		g.client.Close()
		g.stay.Left()
	}
	defer func() {
		for _, g := range there {
			leave(g)
		}
	}()
	tick := time.NewTicker(40 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-s.stopLoad:
			return nil
		case <-tick.C:
		}
		id, signed := "", ""
		if who := (first + i) % guestNames; i%3 != 0 {
			id, signed = guest(who), tokens[who]
		}
		stay := s.history.Arriving(p.Pod, id)
		c, err := cluster.Connect(p.door, signed)
		if err != nil {
			return err
		}
		stay.Arrived()
		there = append(there, visit{c, stay})
		if i%3 == 1 {
			if err := c.Join(room); err != nil {
				return err
			}
		}
		if len(there) > inside {
			leave(there[0])
			there = there[1:]
		}
	}
}

// stopLoading makes all guests leave, and waits for that.
func (s *scene) stopLoading() {
	s.t.Helper()
	close(s.stopLoad)
	s.load.Wait()
	if err := errors.Join(s.failures...); err != nil {
		s.t.Error(err)
	}
}

// expectEvents checks how often the watcher on a pod has seen users join and leave since a time,
// and that no user left before its grace period was over.
func (s *scene) expectEvents(p *pod, begin time.Time, grace time.Duration, ids []string, joined, left int) {
	s.t.Helper()
	for _, id := range ids {
		gotJoined, gotLeft, last := s.views[p].Since(begin, id)
		if gotJoined != joined || gotLeft != left {
			s.t.Errorf("the watcher on %s saw %s join %d times and leave %d times, want %d and %d",
				p.Pod, id, gotJoined, gotLeft, joined, left)
		}
		if left > 0 && last.Before(begin.Add(grace)) {
			s.t.Errorf("the watcher on %s saw %s leave after %s, before the grace period was over", p.Pod, id, last.Sub(begin))
		}
	}
}
