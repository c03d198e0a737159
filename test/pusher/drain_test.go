package pusher

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// TestT33Drain drains a pod with 1,000 clients, or as many as ROLLCALL_CROWD says. They come back
// to the other pod with the fixed delays of pusher-js: never too many in one second, and nobody is
// removed. They have arrived room by room.
func TestT33Drain(t *testing.T) {
	t.Parallel()
	const (
		perProcess = 2500 // clients of one Node.js, so that it can follow
		perRoom    = 50
		perSecond  = 3000
	)
	many := 1000
	if text := os.Getenv("ROLLCALL_CROWD"); text != "" {
		var err error
		if many, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	pods := deploy(t, 2, setup{globals: "drain_timeout 6s", options: "grace 10s"})
	var nodes []script
	sizes := make([]int, (many+perProcess-1)/perProcess)
	for i := range sizes {
		sizes[i] = min(perProcess, many-i*perProcess)
		n := newNode(t)
		n.run(fmt.Sprintf(`crowd(%d, %d, %d, %s, %s)`, i, sizes[i], perRoom, pusherOptions(pods[0]), portOf(pods[0])))
		nodes = append(nodes, n)
	}
	for i, n := range nodes {
		for arrived := min(perRoom, sizes[i]); ; arrived = min(arrived+perRoom, sizes[i]) { // each room has its time
			n.waitFor("the crowd", fmt.Sprintf(`subscribed() >= %d`, arrived))
			if arrived == sizes[i] {
				break
			}
		}
	}
	for _, n := range nodes {
		n.run(fmt.Sprintf(`divert(%s)`, portOf(pods[1]))) // as a load balancer that sees the health
	}
	drained := time.Now()
	pods[0].signal(t, syscall.SIGTERM)
	for i, n := range nodes {
		n.waitFor("the crowd to be back", fmt.Sprintf(`subscribed() === %d && returned().length >= %[1]d`, sizes[i]))
	}
	t.Logf("%d clients are back after %s", many, time.Since(drained).Round(10*time.Millisecond))
	select {
	case <-pods[0].ended:
	case <-time.After(ws.Patience):
		t.Error("the drained pod still runs")
	}
	var times []int64
	for _, n := range nodes {
		var of []int64
		if err := json.Unmarshal([]byte(n.eval(`returned()`)), &of); err != nil {
			t.Fatal(err)
		}
		times = append(times, of...)
		if got := n.eval(`departures()`); got != "0" {
			t.Errorf("%s members were removed for the clients", got)
		}
	}
	if len(times) != many {
		t.Errorf("%d connections came back, want each of %d once", len(times), many)
	}
	slices.Sort(times)
	worst, first := 0, 0
	for i, at := range times {
		for times[first] <= at-1000 {
			first++
		}
		worst = max(worst, i-first+1)
	}
	t.Logf("at most %d came back within a second", worst)
	if worst > perSecond {
		t.Errorf("%d clients came back within a second, want at most %d", worst, perSecond)
	}
}

func portOf(p *pod) string {
	_, port, _ := net.SplitHostPort(p.address)
	return port
}
