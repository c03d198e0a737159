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
	// Errors counts what the server inside of this process complained of: pods that cannot be reached, and strangers on the
	// port for routes. More are counted than logged.
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

// State says how the bus is doing. It asks the server for the round trip, and waits for that 1 s at most.
func (b *Bus) State() State {
	s := State{
		Connected:  b.nc.IsConnected(),
		Embedded:   b.server != nil,
		Reconnects: b.reconnects.Load(),
		Dropped:    b.droppedPayloads(),
	}
	if text := b.lastError.Load(); text != nil {
		s.LastError = *text
	}
	if s.Connected {
		start := time.Now()
		if b.nc.FlushTimeout(time.Second) == nil {
			s.RoundTrip = time.Since(start)
		}
		s.Server = plainName(b.nc.ConnectedServerName())
		s.Cluster = b.nc.ConnectedClusterName()
	}
	if b.server == nil {
		s.URL = urlOf(b.nc)
		return s
	}
	s.Errors = b.server.log.errors.Load()
	if a := b.server.ClusterAddr(); a != nil {
		s.Listen = a.String()
	}
	s.Routes = b.server.routes()
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

// droppedPayloads counts over all subscriptions, those that ended too.
func (b *Bus) droppedPayloads() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.dropped
	for sub := range b.subs {
		n += droppedBy(sub)
	}
	return n
}

func droppedBy(sub *nats.Subscription) uint64 {
	n, err := sub.Dropped()
	if err != nil || n < 0 { // the connection is closed
		return 0
	}
	return uint64(n)
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
