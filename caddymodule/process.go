package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-gateway/rollcall/caddymodule/api"
	"github.com/rollcall-gateway/rollcall/caddymodule/console"
	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/operator"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/rest"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// processes has the process under its one key, so that every configuration finds the same.
var processes = caddy.NewUsagePool()

type processKey struct{}

// process has everything that outlives a configuration.
type process struct {
	*gateway.Hub
	api      *api.Server
	pusher   *rest.Server
	clients  *pusher.Clients
	operator *operator.Operator // what the admin endpoints and the console show
	console  *console.Server
}

func openProcess() (*process, error) {
	v, _, err := processes.LoadOrNew(processKey{}, func() (caddy.Destructor, error) { return newProcess(), nil })
	if err != nil {
		return nil, fmt.Errorf("opening the hub: %w", err)
	}
	return v.(*process), nil
}

func newProcess() *process {
	h := gateway.New(gateway.Config{
		Folder: filepath.Join(caddy.AppDataDir(), "rollcall"), Exiting: caddy.Exiting,
		Encoders: []presence.FrameEncoder{pusher.Encoder{}},
	})
	p := &process{Hub: h, clients: pusher.NewClients(), api: api.New(api.Config{
		Registry: h.Registry, Assignments: h.Assignments, Local: h, PodsToAsk: asked(h), Spread: h.Spread,
		CheckSend: h.CheckSend, Sent: h.SentByBackend, Draining: h.IsDraining, Tracer: &h.Tracer,
	})}
	p.pusher = rest.New(rest.Config{
		Registry: h.Registry, Local: h, PodsToAsk: askedAll(h), CheckSend: h.CheckSend, Sent: h.SentByBackend,
		Draining: h.IsDraining, BadKey: p.api.BadKeys().Try, Observe: p.api.Observe, Received: receivedURL,
		Tracer: &h.Tracer,
	})
	p.operator = operator.New(h, p.api, h.Logger())
	p.console = console.New(console.Config{Operator: p.operator, Pod: h, Draining: h.IsDraining})
	return p
}

// receivedURL returns the URL of a request before any handler has changed it.
func receivedURL(r *http.Request) *url.URL {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		return original.URL
	}
	return r.URL
}

func closeProcess() error {
	_, err := processes.Delete(processKey{})
	return err
}

// loadedProcess returns the process, nil if there is none. It takes no reference to it.
func loadedProcess() *process {
	var found *process
	processes.Range(func(_, v any) bool {
		found, _ = v.(*process)
		return false
	})
	return found
}

// register adds the metrics of the process to those of a configuration.
func (p *process) register(r *prometheus.Registry) error {
	for _, c := range slices.Concat(p.Hub.Collectors(), p.api.Collectors(), p.clients.Collectors()) {
		var already prometheus.AlreadyRegisteredError
		if err := r.Register(c); err != nil && !errors.As(err, &already) {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// asked wraps the hub's method for the endpoints, which need only some methods of the pods.
func asked(h *gateway.Hub) func(of *site.Site, scope cluster.Scope) (api.Pods, cluster.Truth) {
	return func(of *site.Site, scope cluster.Scope) (api.Pods, cluster.Truth) {
		others, truth := h.PodsToAsk(of, scope)
		if others == nil {
			return nil, truth // an interface with a nil value would not be nil
		}
		return others, truth
	}
}

// askedAll returns the pods that answer a request to an app, see asked.
func askedAll(h *gateway.Hub) func(of *site.Site) (rest.Pods, cluster.Truth) {
	return func(of *site.Site) (rest.Pods, cluster.Truth) {
		others, truth := h.PodsToAsk(of, cluster.ScopeAll)
		if others == nil {
			return nil, truth
		}
		return others, truth
	}
}
