package bus

import (
	"cmp"
	"net"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// State is how the bus is doing.
type State struct {
	Connected  bool          `json:"connected"`
	Embedded   bool          `json:"embedded"`
	Server     string        `json:"server"`            // its name
	Cluster    string        `json:"cluster,omitempty"` // that the server belongs to
	URL        string        `json:"url,omitempty"`     // of an external server, without credentials
	Listen     string        `json:"listen,omitempty"`  // address for routes of other pods
	RoundTrip  time.Duration `json:"-"`                 // to the server; 0 if it did not answer
	Reconnects uint64        `json:"reconnects"`
	Dropped    uint64        `json:"dropped"` // payloads that came faster than they were taken
	// Subscriptions is the number of subscriptions of this process, each of which every other pod
	// knows of.
	Subscriptions int `json:"subscriptions"`
	// Errors counts what the server inside of this process complained of: pods that cannot be
	// reached, and strangers on the port for routes. More are counted than logged.
	Errors    uint64  `json:"errors,omitempty"`
	Routes    []Route `json:"routes,omitempty"` // by name
	LastError string  `json:"last_error,omitempty"`
}

// Route is a connection to the server of another pod.
type Route struct {
	Name    string        `json:"name"` // of the other server
	Address string        `json:"address"`
	RTT     time.Duration `json:"-"` // 0 if not known yet
}

// State says how the bus is doing. It asks the server for the round trip, and waits for that 1 s at
// most.
func (b *Bus) State() State {
	s := State{Reconnects: b.reconnects.Load(), Dropped: b.droppedPayloads(), Subscriptions: b.subscriptions()}
	if text := b.lastError.Load(); text != nil {
		s.LastError = *text
	}
	c := b.conn.Load()
	if c == nil { // only a server inside of this process is closed before there is another one
		s.Embedded = true
		return s
	}
	s.Connected, s.Embedded = c.nc.IsConnected(), c.server != nil
	if s.Connected {
		start := time.Now()
		if c.nc.FlushTimeout(time.Second) == nil {
			s.RoundTrip = time.Since(start)
		}
		s.Server = plainName(c.nc.ConnectedServerName())
		s.Cluster = c.nc.ConnectedClusterName()
	}
	if c.server == nil {
		s.URL = urlOf(c.nc)
		return s
	}
	s.Errors = c.server.log.errors.Load()
	if a := c.server.ClusterAddr(); a != nil {
		s.Listen = a.String()
	}
	s.Routes = c.server.routes()
	return s
}

// routes returns those that are up, which have proved that they may be.
func (e *embedded) routes() []Route {
	z, err := e.Routez(nil)
	if err != nil || len(z.Routes) == 0 {
		return nil
	}
	routes := make([]Route, 0, len(z.Routes))
	for _, r := range z.Routes {
		rtt, err := time.ParseDuration(r.RTT)
		if err != nil {
			rtt = 0
		}
		routes = append(routes, Route{
			Name:    plainName(r.RemoteName),
			Address: net.JoinHostPort(r.IP, strconv.Itoa(r.Port)),
			RTT:     rtt,
		})
	}
	slices.SortFunc(routes, func(a, b Route) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Address, b.Address))
	})
	return routes
}

// urlOf returns where the connection goes, without credentials.
func urlOf(nc *nats.Conn) string {
	u, err := url.Parse(nc.ConnectedUrl())
	if err != nil {
		return ""
	}
	u.User = nil
	return u.String()
}
