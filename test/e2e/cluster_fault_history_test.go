package e2e

import (
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/history"
	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
)

// complete reports whether the pod answers completely, and has all assignments that others have
// called complete.
func (p *pod) complete() bool {
	a, err := p.site.Do(http.MethodPost, "/message/users", `{"scope":"all","channel":"nobody","requireComplete":true}`, "X-Api-Key", apiKey)
	if err != nil || a.Status != http.StatusOK {
		return false
	}
	a, err = p.site.Do(http.MethodPost, "/message/adduser", `{"users":[]}`, "X-Api-Key", apiKey)
	return err == nil && a.Status == http.StatusCreated && a.Header.Get("Rollcall-Complete") == "true"
}

// Pods agree on the order of what their clients write, even while a pod, or a data center, is cut
// off and comes back.
func TestScenarioLinearizableThroughCuts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		pods      []cluster.Pod
		cut, mend func(t *testing.T, c *continents)
	}{
		{
			"of a pod", podNames(3, "eu-west"),
			func(t *testing.T, c *continents) { c.cutPod(t, c.pods[0]) }, func(t *testing.T, c *continents) { c.mendPod(t, c.pods[0]) },
		},
		{
			"of a data center", append(podNames(1, "us-east"), podNames(2, "eu-west")...),
			func(t *testing.T, c *continents) { c.cutDC(t, "us-east") }, func(t *testing.T, c *continents) { c.mendDC(t, "us-east") },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			scenario(t, func(t *testing.T) {
				c := newContinents(t, tt.pods)
				l := newLedger(t, c.deployApart(t, ""))
				var first, second sync.WaitGroup
				first.Go(func() {
					l.work(longCut, 1200*time.Millisecond, history.Reserve{Operations: 8, Unfinished: 2}, (*pod).complete)
				})
				<-time.After(time.Second)
				tt.cut(t, c)
				first.Wait()
				second.Go(func() { l.work(5*time.Second, 200*time.Millisecond, history.Reserve{}, (*pod).complete) })
				<-time.After(500 * time.Millisecond)
				tt.mend(t, c)
				second.Wait()
				<-time.After(comparing)
				l.judge()
			})
		})
	}
}

// The same while pods are killed, stopped with a signal, and suspended.
func TestScenarioLinearizableThroughRestarts(t *testing.T) {
	scenario(t, func(t *testing.T) {
		d := deploy(t, podNames(3, "eu-west"), "")
		l := newLedger(t, d)
		var clients sync.WaitGroup
		clients.Go(func() {
			l.work(12*time.Second, 700*time.Millisecond, history.Reserve{Operations: 3, Unfinished: 1}, (*pod).complete)
		})
		<-time.After(500 * time.Millisecond)
		d[0].again(t, syscall.SIGKILL)
		<-time.After(time.Second)
		d[1].again(t, syscall.SIGTERM)
		<-time.After(time.Second)
		d[2].signal(t, syscall.SIGSTOP)
		<-time.After(6500 * time.Millisecond) // longer than a pod is missed before it counts as ended
		d[2].signal(t, syscall.SIGCONT)
		clients.Wait()
		l.work(2*time.Second, 200*time.Millisecond, history.Reserve{}, (*pod).complete)
		<-time.After(comparing)
		l.judge()
	})
}
