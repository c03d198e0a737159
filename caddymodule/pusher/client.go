package pusher

import "github.com/prometheus/client_golang/prometheus"

// client is what a client says of itself.
type client struct {
	protocol uint8 // version
	library  uint8 // index in libraries
}

// libraries are the names that clients have in the metric; the last is that of all others.
var libraries = [...]string{"js", "java-client", "pusher-websocket-swift", libraryNet, "other"}

// libraryNet knows a refused subscription under another name.
const libraryNet = "pusher-dotnet-client"

func newClient(name string, protocol int) client {
	c := client{protocol: uint8(protocol)}
	for int(c.library) < len(libraries)-1 && libraries[c.library] != name {
		c.library++
	}
	return c
}

// subscriptionError returns the event of a refused subscription.
func (c client) subscriptionError() string {
	if libraries[c.library] == libraryNet {
		return eventSubscriptionErrorNet
	}
	return eventSubscriptionError
}

// Clients opens the websockets of clients, and counts them. It outlives configurations, as the
// gateway does.
type Clients struct {
	opened *prometheus.CounterVec // label client: one of libraries
}

// NewClients returns Clients that have opened no websocket.
func NewClients() *Clients {
	c := &Clients{opened: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_rollcall_pusher_handshakes_total",
		Help: "Websocket handshakes of the Pusher protocol, by library of the client.",
	}, []string{"client"})}
	for _, name := range libraries {
		c.opened.WithLabelValues(name)
	}
	return c
}

func (c *Clients) count(of client) { c.opened.WithLabelValues(libraries[of.library]).Inc() }

// Collectors returns the metrics of the clients.
func (c *Clients) Collectors() []prometheus.Collector { return []prometheus.Collector{c.opened} }
