package server

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
)

// PodOptions returns the global options of pod-N of a cluster. listen is its address for other
// pods, and routes are those of pods that it connects to.
func PodOptions(dataCenter string, n int, listen string, routes []string) []string {
	lines := append(podName(dataCenter, n), "cluster {", "listen "+listen, "secret "+strconv.Quote(TokenSecret))
	if len(routes) > 0 {
		lines = append(lines, "routes "+strings.Join(routes, " "))
	}
	return append(lines, "}")
}

func podName(dataCenter string, n int) []string {
	return []string{"data_center " + dataCenter, fmt.Sprintf("pod pod-%d", n)}
}

// StartPods starts n Caddys, as a cluster if there are several, and returns when they listen. After
// an error, it returns those that it has started.
func (c Caddy) StartPods(ctx context.Context, dataCenter string, n int) (pods Group, err error) {
	routes := make([]string, n)
	for i := range routes {
		if routes[i], err = loopback.Address(); err != nil {
			return nil, err
		}
	}
	for i := range n {
		if c.Options = podName(dataCenter, i); n > 1 {
			c.Options = PodOptions(dataCenter, i, routes[i], routes[:i])
		}
		p, err := c.Start(ctx)
		if err != nil {
			return pods, err
		}
		pods = append(pods, p)
		if err := p.Await(ctx); err != nil {
			return pods, err
		}
	}
	return pods, nil
}
