package caddymodule

import (
	"fmt"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// One line says what is served, at the start and after each reload.
func TestServingIsLogged(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		start      func(cluster.Config) (gateway.Pods, error)
		want       string
	}{
		{"alone", aloneFile, nil, "map[cluster:none data_center:us-east-1 hosts:1 plugins:0 pod:web-1 sites:1]"},
		{"ready", clustered(overNATS), func(cluster.Config) (gateway.Pods, error) {
			return &fakeCluster{name: "it", clusterLog: &clusterLog{}, ready: true}, nil
		}, "map[cluster:ready data_center:us-east-1 hosts:1 plugins:0 pod:web-1 sites:1]"},
		{"joining", clustered(overNATS), func(cluster.Config) (gateway.Pods, error) {
			return &fakeCluster{name: "it", clusterLog: &clusterLog{}}, nil
		}, "map[cluster:joining data_center:us-east-1 hosts:1 plugins:0 pod:web-1 sites:1]"},
		{
			"not joined", clustered(overNATS), func(cluster.Config) (gateway.Pods, error) { return nil, gateway.ErrNoCluster },
			"map[cluster:not joined data_center:us-east-1 hosts:1 plugins:0 pod:web-1 sites:1]",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			core, logs := observer.New(zapcore.InfoLevel)
			c := mustLoad(t, tt.file)
			hub := c.app.hub
			stage(t, hub, hub.StartPods)
			if tt.start != nil {
				stage(t, hub, tt.start)
			}
			first, next := c.snapshot(), mustLoad(t, tt.file).snapshot()
			first.Logger, next.Logger = zap.New(core), zap.New(core)
			hub.Offer(first)
			hub.Offer(next)
			hub.TakeBack(first)
			t.Cleanup(func() { hub.TakeBack(next) })
			lines := logs.FilterMessage("serving").All()
			if len(lines) != 2 {
				t.Fatalf("%d lines, want 2: %v", len(lines), logs.All())
			}
			for _, line := range lines {
				if got := fmt.Sprint(line.ContextMap()); got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
			}
		})
	}
}
