package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// podNames returns n pods of each data center.
func podNames(n int, dcs ...string) []cluster.Pod {
	var names []cluster.Pod
	for _, dc := range dcs {
		for i := range n {
			names = append(names, cluster.Pod{DC: dc, Name: fmt.Sprintf("pod-%d", i+1)})
		}
	}
	return names
}

// deployment is a group of pods that know each other.
type deployment []*pod

// deploy runs pods with routes, and returns when all know all.
func deploy(t *testing.T, names []cluster.Pod, options string) deployment {
	t.Helper()
	addresses := make([]string, len(names))
	for i := range names {
		addresses[i] = fmt.Sprintf("127.0.0.1:%d", podPort(t))
	}
	var d deployment
	for i, name := range names {
		d = append(d, newPod(t, name, options, routed(addresses[i], addresses)))
	}
	d.run(t)
	return d
}

// routed returns the content of a cluster block.
func routed(listen string, routes []string) string {
	return fmt.Sprintf("listen %s\nroutes %s\nsecret %s", listen, strings.Join(routes, " "), clusterSecret)
}

func (d deployment) run(t *testing.T) {
	t.Helper()
	for _, p := range d {
		p.run(t)
	}
	d.await(t)
}

// await waits until all pods are ready and know all.
func (d deployment) await(t *testing.T) {
	t.Helper()
	ws.Poll(t, ws.Patience, func() error {
		for _, p := range d {
			if err := p.ready(); err != nil {
				return err
			}
			if err := p.sees(d); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d deployment) names() []cluster.Pod {
	names := make([]cluster.Pod, len(d))
	for i, p := range d {
		names[i] = p.Pod
	}
	return names
}
