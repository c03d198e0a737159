package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/model"
	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// walk takes random steps in a deployment and in a model of it.
type walk struct {
	t       *testing.T
	rng     *rand.Rand // for steps; the same in each run
	pick    *rand.Rand // for the choice of pods
	pods    deployment
	model   *model.Model
	clients []*cluster.Client // clients that take steps
	emails  int
	// asked is when a pod last answered a question. A pod keeps answers for a while, and this test
	// needs new ones.
	asked map[question]time.Time
}

type question struct {
	pod  int
	what string
}

const walkUsers, walkRooms = 14, 4

func (w *walk) anyUser() ws.User {
	w.emails++
	return ws.User{ID: fmt.Sprintf("USER_%d", w.rng.IntN(walkUsers)), Email: fmt.Sprintf("%d@example.com", w.emails)}
}

// step takes one step, and describes it. A step is effective when the pod has answered, except for
// a closed connection.
func (w *walk) step() (what string, atOnce bool) {
	const crowded = 40
	n := w.rng.IntN(100)
	if len(w.clients) == 0 || (n < 30 && len(w.clients) < crowded) {
		return w.connect(), true
	}
	i := w.rng.IntN(len(w.clients))
	c := w.clients[i]
	switch {
	case n < 52:
		return w.join(c), true
	case n < 64:
		return w.leave(c), true
	case n < 84:
		return w.login(c), true
	}
	w.clients = slices.Delete(w.clients, i, i+1)
	return w.close(c), false
}

func (w *walk) connect() string {
	p := w.pods[w.rng.IntN(len(w.pods))]
	var user *ws.User
	if w.rng.IntN(4) > 0 {
		u := w.anyUser()
		user = &u
	}
	c := p.connect(w.t, user)
	w.clients = append(w.clients, c)
	w.model.Connect(c.ID, p.Pod, user)
	return fmt.Sprintf("%v connects to %s", user, p.Pod)
}

func (w *walk) join(c *cluster.Client) string {
	channel := fmt.Sprintf("anonymous-%d", w.rng.IntN(2))
	if w.model.Conns[c.ID].User != "" && w.rng.IntN(4) > 0 {
		channel = fmt.Sprintf("room-%d", w.rng.IntN(walkRooms))
	}
	w.must(c.Join(channel))
	w.model.Conns[c.ID].Channels[channel] = true
	return fmt.Sprintf("%q joins %s", w.model.Conns[c.ID].User, channel)
}

func (w *walk) leave(c *cluster.Client) string {
	channels := slices.Sorted(maps.Keys(w.model.Conns[c.ID].Channels))
	if len(channels) == 0 {
		return "nobody leaves"
	}
	channel := channels[w.rng.IntN(len(channels))]
	w.must(c.Leave(channel))
	delete(w.model.Conns[c.ID].Channels, channel)
	return fmt.Sprintf("%q leaves %s", w.model.Conns[c.ID].User, channel)
}

// login changes the user, or only the address.
func (w *walk) login(c *cluster.Client) string {
	user, before := w.anyUser(), w.model.Conns[c.ID].User
	if before != "" && w.rng.IntN(2) == 0 {
		user.ID = before
	}
	w.must(c.Authenticate(token(w.t, user)))
	w.model.Authenticate(c.ID, user)
	return fmt.Sprintf("%q logs in as %v", before, user)
}

func (w *walk) close(c *cluster.Client) string {
	what := fmt.Sprintf("%q closes", w.model.Conns[c.ID].User)
	c.Close()
	w.model.Close(c.ID)
	return what
}

func (w *walk) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// ask asks a random pod that has kept no answer to this question, and records the time.
func (w *walk) ask(what string, ask func(p *pod) error) error {
	pick := -1
	ws.Poll(w.t, ws.Patience, func() error {
		var fresh []int
		for i := range w.pods {
			if time.Since(w.asked[question{i, what}]) > cluster.Kept {
				fresh = append(fresh, i)
			}
		}
		if len(fresh) == 0 {
			return fmt.Errorf("every pod was asked %s a moment ago", what)
		}
		pick = fresh[w.pick.IntN(len(fresh))]
		return nil
	})
	err := ask(w.pods[pick])
	w.asked[question{pick, what}] = time.Now()
	if err != nil {
		return fmt.Errorf("%s: %w", w.pods[pick].Pod, err)
	}
	return nil
}

// check asks all questions, each on a random pod.
func (w *walk) check() error {
	for _, shape := range model.Shapes {
		err := w.ask(shape.Body(), func(p *pod) error {
			a, err := cluster.AllUsers(p.site, shape)
			if err != nil {
				return err
			}
			return a.Check(w.model)
		})
		if err != nil {
			return err
		}
	}
	scope := []string{"pod", "dc", "all"}[w.pick.IntN(3)]
	return w.ask(scope, func(p *pod) error {
		got, err := cluster.Users(p.site, scope)
		if err != nil {
			return err
		}
		want := w.model.Users(func(other cluster.Pod) bool {
			return scope == "all" || other.DC == p.DC && (scope == "dc" || other == p.Pod)
		})
		if !reflect.DeepEqual(got, want) {
			return fmt.Errorf("scope %s:\n got %v\nwant %v", scope, got, want)
		}
		return nil
	})
}

// TestAnswersOfSixPodsAreThoseOfTheModel takes 500 random steps. After each, every answer equals
// the one that the model computes. Watchers on several pods see the same after the grace period.
func TestAnswersOfSixPodsAreThoseOfTheModel(t *testing.T) {
	const (
		seed  = 20261124
		steps = 500
	)
	pods := deploy(t, podNames(3, "eu-west", "us-east"), "grace 250ms")
	w := &walk{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), pick: rand.New(rand.NewPCG(seed, 2)), pods: pods,
		model: model.New(pods.names()), asked: make(map[question]time.Time),
	}
	watchers := w.watch(t)
	begin := time.Now()
	for i := range steps {
		what, atOnce := w.step()
		if atOnce {
			if err := w.check(); err != nil {
				t.Fatalf("step %d, %s: %v", i, what, err)
			}
		} else {
			ws.Poll(t, ws.Patience, func() error {
				if err := w.check(); err != nil {
					return fmt.Errorf("step %d, %s: %w", i, what, err)
				}
				return nil
			})
		}
		if (i+1)%50 == 0 {
			ws.Poll(t, ws.Patience, func() error {
				for _, watcher := range watchers {
					if err := watcher.check(w.model); err != nil {
						return fmt.Errorf("step %d: %w", i, err)
					}
				}
				return nil
			})
		}
	}
	t.Logf("%d steps took %s, %d connections at the end", steps, time.Since(begin).Round(time.Millisecond), len(w.clients))
}

// watcher is a view of each channel from one pod.
type watcher struct {
	pod   cluster.Pod
	views map[string]*cluster.View // by channel
}

// watch connects a watcher of all channels to every other pod. Watchers do nothing else.
func (w *walk) watch(t *testing.T) []watcher {
	t.Helper()
	var watchers []watcher
	for i, p := range w.pods {
		if i%2 == 1 {
			continue
		}
		user := userOf("watcher-" + p.Name + "-" + p.DC)
		c := p.connect(t, user)
		w.model.Connect(c.ID, p.Pod, user)
		views := make(map[string]*cluster.View)
		for i := range walkRooms {
			views[fmt.Sprintf("room-%d", i)] = new(cluster.View)
		}
		for i := range 2 {
			views[fmt.Sprintf("anonymous-%d", i)] = new(cluster.View)
		}
		for channel, v := range views {
			w.must(c.Watch(channel, v))
			w.model.Conns[c.ID].Channels[channel] = true
		}
		watchers = append(watchers, watcher{p.Pod, views})
	}
	return watchers
}

func (w watcher) check(m *model.Model) error {
	for channel, v := range w.views {
		if n, err := v.Count(); err != nil {
			return fmt.Errorf("%s on %s: %w", channel, w.pod, err)
		} else if channel[0] == 'a' && n != m.Listeners(channel) {
			return fmt.Errorf("%s on %s has %d listeners, want %d", channel, w.pod, n, m.Listeners(channel))
		}
		if channel[0] == 'a' {
			continue
		}
		got, err := v.Members()
		if err != nil {
			return fmt.Errorf("%s on %s: %w", channel, w.pod, err)
		}
		if want := m.Members(channel); !reflect.DeepEqual(got, want) {
			return fmt.Errorf("%s on %s:\n got %v\nwant %v", channel, w.pod, got, want)
		}
	}
	return nil
}
