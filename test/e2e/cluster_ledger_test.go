package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/history"
	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
)

// ledger assigns users on several pods, looks on which pods they are assigned, and records it.
//
// It writes only the mode receive. The site has no backend, so a message of the user to the channel
// is refused exactly if the user is assigned. This needs no second connection, and no time in which
// a join could be under way.
type ledger struct {
	t      *testing.T
	pods   deployment
	record *history.Recorder
}

func newLedger(t *testing.T, pods deployment) *ledger {
	t.Helper()
	return &ledger{t: t, pods: pods, record: history.NewRecorder()}
}

// assignedValue is the value of the key of an assigned user.
const assignedValue = "receive"

// write is a request to adduser or removeuser of a pod. Without channels it removes all of the
// user's.
func (l *ledger) write(p *pod, endpoint, user string, channels ...string) (complete bool) {
	list := ""
	for i, c := range channels {
		if i > 0 {
			list += ","
		}
		list += fmt.Sprintf(`{"name":%q,"mode":"receive"}`, c)
	}
	if len(channels) > 0 {
		list = `,"channels":[` + list + "]"
	}
	a, err := p.site.Do(http.MethodPost, "/message/"+endpoint, fmt.Sprintf(`{"users":[{"id":%q%s}]}`, user, list), "X-Api-Key", apiKey)
	if err == nil && a.Status != http.StatusCreated && a.Status < http.StatusInternalServerError {
		l.t.Errorf("%s of %s: status %d: %s", endpoint, p.Pod, a.Status, a.Body)
	}
	return err == nil && a.Status == http.StatusCreated && a.Header.Get("Rollcall-Complete") == "true"
}

// read returns the value on a pod. It fails if the pod does not answer, or accepts no message at
// all.
func (l *ledger) read(p *pod, k history.Key) (string, error) {
	const other = "nobodyIsAssigned"
	c, err := cluster.Connect(p.door, token(l.t, *userOf(k.User)))
	if err != nil {
		return "", err
	}
	defer c.Cut()
	if err := errors.Join(c.Join(other), c.Join(k.Channel)); err != nil {
		return "", err
	}
	if err := c.Send(other, "{}"); err != nil {
		return "", err
	}
	err = c.Send(k.Channel, "{}")
	if refused := new(cluster.RefusedError); errors.As(err, &refused) && refused.Code == "unavailable" {
		return assignedValue, nil
	}
	return "", err
}

// The users of a ledger, and the channels of each.
const ledgerUsers = 16

var ledgerChannels = []string{"left", "right"}

// always is for pods that have joined.
func always(*pod) bool { return true }

// work lets two clients of each user write and read on random pods, for a time. joined reports
// whether a read of the pod has to be right. keep is what a later call needs.
func (l *ledger) work(length, pause time.Duration, keep history.Reserve, joined func(p *pod) bool) {
	keep.Operations += len(l.pods) // reads at rest
	end := time.Now().Add(length)
	var clients sync.WaitGroup
	for i := range ledgerUsers {
		user := fmt.Sprintf("ledger-%d", i)
		for range 2 {
			clients.Go(func() {
				for time.Now().Before(end) {
					l.step(l.pods[rand.N(len(l.pods))], user, keep, joined)
					<-time.After(rand.N(2 * pause))
				}
			})
		}
	}
	clients.Wait()
}

// step does one operation on a pod.
func (l *ledger) step(p *pod, user string, keep history.Reserve, joined func(p *pod) bool) {
	channel := ledgerChannels[rand.N(len(ledgerChannels))]
	keys := []history.Key{{User: user, Channel: channel}}
	endpoint, value, channels := "adduser", assignedValue, []string{channel}
	switch n := rand.N(10); {
	case n < 3:
		if joined(p) {
			l.recordRead(history.Read, p, keys[0], keep, joined)
		}
		return
	case n < 5:
		endpoint, value = "removeuser", ""
	case n < 6:
		endpoint, value, channels = "removeuser", "", nil
		keys = nil
		for _, c := range ledgerChannels {
			keys = append(keys, history.Key{User: user, Channel: c})
		}
	}
	call, ok := l.record.Begin(history.Write, keep, keys...)
	if !ok {
		return
	}
	o := &history.Operation{Kind: history.Unfinished, By: p.String() + " " + endpoint, Value: value, Call: call}
	if l.write(p, endpoint, user, channels...) {
		o.Kind = history.Write
	}
	l.record.End(history.Write, o, keys...)
}

// recordRead reads. It returns false without a result, or if the pod has not joined afterwards: it
// may have been stopped meanwhile.
func (l *ledger) recordRead(kind history.Kind, p *pod, k history.Key, keep history.Reserve, joined func(p *pod) bool) bool {
	call, ok := l.record.Begin(kind, keep, k)
	if !ok {
		return false
	}
	value, err := l.read(p, k)
	if err != nil || !joined(p) {
		l.record.End(kind, nil, k)
		return false
	}
	l.record.End(kind, &history.Operation{Kind: kind, By: p.String(), Value: value, Call: call}, k)
	return true
}

// judge reads all keys on all pods, and checks the history of each.
func (l *ledger) judge() {
	l.t.Helper()
	for i := range ledgerUsers {
		for _, c := range ledgerChannels {
			for n, p := range l.pods {
				k := history.Key{User: fmt.Sprintf("ledger-%d", i), Channel: c}
				if !l.recordRead(history.RestRead, p, k, history.Reserve{Operations: len(l.pods) - 1 - n}, always) {
					l.t.Errorf("%v cannot be read on %s at rest", k, p.Pod)
				}
			}
		}
	}
	wrong := l.record.Check()
	l.t.Logf("%d complete writes, %d others, %d reads, and %d at rest: %d of %d histories are wrong",
		l.record.Count(history.Write), l.record.Count(history.Unfinished), l.record.Count(history.Read), l.record.Count(history.RestRead),
		len(wrong), ledgerUsers*len(ledgerChannels))
	for k, err := range wrong {
		l.t.Errorf("%v: %v", k, err)
	}
	const enough = ledgerUsers // on a busy machine most time is spent in cuts, where few writes are complete
	if n := l.record.Count(history.Write); n < enough {
		l.t.Errorf("%d complete writes are too few to show anything", n)
	}
}

// Pods agree on the order of what their clients write, even if their clocks differ by hours.
func TestAssignmentsAreLinearizable(t *testing.T) {
	t.Parallel()
	for name, clocks := range map[string][]time.Duration{
		"one time":    {0, 0, 0},
		"hours apart": {0, 3 * time.Hour, -3 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLedger(t, deployWithClocks(t, clocks))
			l.work(3*time.Second, 150*time.Millisecond, history.Reserve{}, always)
			l.judge() // on a busy machine, a few writes can be incomplete
		})
	}
}

// deployWithClocks runs a pod for each wrong clock.
func deployWithClocks(t *testing.T, clocks []time.Duration) deployment {
	t.Helper()
	names, addresses := podNames(len(clocks), "eu-west"), make([]string, len(clocks))
	for i := range clocks {
		addresses[i] = fmt.Sprintf("127.0.0.1:%d", podPort(t))
	}
	var d deployment
	for i, clock := range clocks {
		p := newPod(t, names[i], "", routed(addresses[i], addresses))
		p.setup.clock = clock
		d = append(d, p)
	}
	d.run(t)
	for _, p := range d {
		if off := time.Until(p.now(t)) - p.setup.clock; off.Abs() > time.Minute {
			t.Fatalf("the clock of %s is wrong by %s, want %s", p.Pod, off+p.setup.clock, p.setup.clock)
		}
	}
	return d
}
