package e2e

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/model"
	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// rolling is a deployment that is restarted pod by pod, with clients that come back each time.
type rolling struct {
	pods    deployment
	history *cluster.History
	outlook *cluster.Outlook
	stop    chan struct{} // closed: clients go for good
	roaming sync.WaitGroup

	// mu guards the fields below.
	mu       sync.Mutex
	ready    []bool // by pod: a load balancer sends clients to these
	stopping []time.Time
	inside   int // clients in the room
	failures []error
	aways    map[string][]away // by user
}

// away is a period in which a user had no connection: from the stop of the pod until the user was
// back in the room.
type away struct{ from, to time.Time }

func (a away) String() string {
	const precise = "15:04:05.000"
	return a.from.Format(precise) + " to " + a.to.Format(precise)
}

func (r *rolling) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	const enough = 10
	if len(r.failures) < enough {
		r.failures = append(r.failures, err)
	}
}

// restart restarts a pod, as in a rolling deployment, and returns when it is ready.
func (r *rolling) restart(t *testing.T, i int) {
	t.Helper()
	p := r.pods[i]
	told := time.Now()
	r.mu.Lock()
	r.ready[i], r.stopping[i] = false, told
	r.mu.Unlock()
	r.outlook.Begin(told, p.Pod, cluster.Unsure)
	p.stop(t)
	ended := time.Now()
	r.outlook.Begin(ended, p.Pod, cluster.Absent)
	p.run(t)
	ws.Poll(t, ws.Patience, p.ready)
	up := time.Now()
	r.outlook.End(up, p.Pod, cluster.Unsure, cluster.Absent)
	r.mu.Lock()
	r.ready[i] = true
	r.mu.Unlock()
	t.Logf("%s ended after %s and was ready %s later", p.Pod, ended.Sub(told).Round(time.Millisecond), up.Sub(ended).Round(time.Millisecond))
}

// awaitAll waits until all are in the room.
func (r *rolling) awaitAll(t *testing.T, n int) {
	t.Helper()
	ws.Poll(t, 3*ws.Patience, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if err := errors.Join(r.failures...); err != nil {
			t.Fatal(err)
		}
		if r.inside != n {
			return fmt.Errorf("%d of %d clients are in the room", r.inside, n)
		}
		return nil
	})
}

const (
	// telling is how long a change may take to reach other pods.
	telling = 250 * time.Millisecond
	// reading is how long a snapshot of thousands, or what happens after it, may take to reach a
	// client, while as many clients connect.
	reading = 2 * time.Second
)

// away reports whether the user had no connection at a time, or shortly before.
func (r *rolling) away(user string, at time.Time) bool {
	return slices.ContainsFunc(r.aways[user], func(a away) bool {
		return !at.Before(a.from) && !at.After(a.to.Add(reading))
	})
}

// missed reports whether the user may count as gone at a time, because it was away for longer than
// the grace period.
func (r *rolling) missed(user string, at time.Time, grace time.Duration) bool {
	return slices.ContainsFunc(r.aways[user], func(a away) bool {
		return a.to.Sub(a.from) > grace-telling && !at.Before(a.from.Add(grace-telling)) && !at.After(a.to.Add(reading))
	})
}

// TestRollingRestartUnderReconnectingClients restarts six pods, one after another, with 3,000
// clients that come back when told to. Watchers see no user leave that is back within the grace
// period, and every complete answer is right.
func TestRollingRestartUnderReconnectingClients(t *testing.T) {
	const (
		clients = 3000
		grace   = 3 * time.Second // the default
	)
	pods := deploy(t, podNames(3, "eu-west", "us-east"), "")
	r := &rolling{
		pods: pods, history: new(cluster.History), outlook: cluster.NewOutlook(pods.names()),
		stop: make(chan struct{}), ready: make([]bool, len(pods)), stopping: make([]time.Time, len(pods)),
		aways: make(map[string][]away),
	}
	for i, p := range pods {
		r.ready[i] = true
		// Under such a load any pod can be late, even if it is not restarted. Then others must name
		// it, and it lacks nothing itself.
		r.outlook.Begin(time.Now(), p.Pod, cluster.MayMiss, cluster.MayNameNone)
	}
	var views []*cluster.View
	all := make([]string, clients)
	for i := range clients {
		all[i] = fmt.Sprintf("USER_%d", i)
		m := &roamer{user: all[i], token: token(t, *userOf(all[i])), next: i % len(pods), step: 1 + i/len(pods)%(len(pods)-1)}
		if i < 2*len(pods) {
			m.view = new(cluster.View)
			views = append(views, m.view)
		}
		r.roaming.Go(func() { r.roam(m) })
	}
	slices.Sort(all)
	stopRoaming := sync.OnceFunc(func() {
		close(r.stop)
		r.roaming.Wait()
	})
	t.Cleanup(stopRoaming)
	r.awaitAll(t, clients)
	awaitMembers(t, views, all)
	begin := time.Now()
	s := &scene{t: t, pods: pods, history: r.history, outlook: r.outlook, pace: 150 * time.Millisecond}
	for _, p := range pods {
		s.ask(p, r.outlook, 0)
	}
	s.awaitAnswers(begin, len(model.Shapes))
	for i := range pods {
		r.restart(t, i)
	}
	r.awaitAll(t, clients)
	s.awaitAnswers(time.Now(), len(model.Shapes))
	s.stopAsking("rolling restart", begin)
	awaitMembers(t, views, all)
	stopRoaming()
	r.judge(t, views, begin, grace, all)
}

// awaitMembers waits until all views hold exactly these.
func awaitMembers(t *testing.T, views []*cluster.View, want []string) {
	t.Helper()
	ws.Poll(t, ws.Patience, func() error {
		for i, v := range views {
			users, err := v.Members()
			if err != nil {
				t.Fatalf("watcher %d: %v", i, err)
			}
			got := make([]string, len(users))
			for i, u := range users {
				got[i] = u.ID
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("watcher %d sees %d users, want %d", i, len(got), len(want))
			}
		}
		return nil
	})
}

// judge checks all events of the watchers.
func (r *rolling) judge(t *testing.T, views []*cluster.View, begin time.Time, grace time.Duration, all []string) {
	t.Helper()
	left, snapshots, soon, late := 0, 0, 0, 0
	for _, aways := range r.aways {
		for _, a := range aways {
			if a.to.Sub(a.from) < grace/2 {
				soon++
			} else if a.to.Sub(a.from) >= grace {
				late++
			}
		}
	}
	for i, v := range views {
		events, err := v.Events()
		if err != nil {
			t.Errorf("watcher %d: %v", i, err)
		}
		for _, e := range events {
			switch {
			case e.At.Before(begin):
			case e.User == "":
				snapshots++
				if absent := r.absent(e, grace, all); len(absent) > 0 {
					t.Errorf("watcher %d: %d users are not in a snapshot of %d, like %s", i, len(absent), len(e.Members), absent[0])
				}
			case !e.Joined:
				left++
				if !r.missed(e.User, e.At, grace) {
					t.Errorf("watcher %d: %s left at %s and was back in time: %v", i, e.User, e.At.Format("15:04:05.000"), r.aways[e.User])
				}
			}
			if t.Failed() {
				return
			}
		}
	}
	t.Logf("clients came back %d times within half of the grace period and %d times after it; watchers saw %d leave frames and %d snapshots",
		soon, late, left, snapshots)
	if soon < len(all)/2 {
		t.Errorf("clients came back in time only %d times: nothing was tested", soon)
	}
	if snapshots < len(views) {
		t.Errorf("watchers came back only %d times", snapshots)
	}
}

// absent returns users that are missing from a snapshot. Users that are away must be in it only if
// the pod had watchers before.
func (r *rolling) absent(e cluster.Event, grace time.Duration, all []string) []string {
	there := make(map[string]bool, len(e.Members))
	for _, id := range e.Members {
		there[id] = true
	}
	var ids []string
	for _, id := range all {
		if !there[id] && !r.away(id, e.At) {
			ids = append(ids, id)
		}
	}
	return ids
}
