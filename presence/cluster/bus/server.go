package bus

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
)

// clusterName is what all servers inside of pods belong to. Deployments are told apart by their
// secrets.
const clusterName = "rollcall"

// A route that drops packets without an end is closed by pings: after 2 to 3 s, counted from the
// last answer. After that it is dialed anew once a second, at 1 s for each try, which the server
// has as constants. Left alone, TCP would try the old connection ever more rarely, and be minutes
// late when packets pass again.
const (
	routePing     = time.Second
	routePings    = 2 // that may be unanswered
	routeDeadline = 2 * time.Second
	// routeRetries is for pods that were not listed but told of by others. They are tried for an
	// hour or two, depending on whether a try is refused or lost, and are then expected to come by
	// themselves if ever.
	routeRetries = 3600
	// reportEvery is every how many tries a pod that cannot be reached is in the log.
	reportEvery = 300
)

// noClientsPort makes the server fail to listen for clients. It has no other way to have routes and
// no clients: with DontListen it never begins to listen for routes either (server.Start waits for
// the listener of clients to be ready).
const (
	noClientsPort    = 1 << 16
	noClientsHost    = "127.0.0.1"
	noClientsAddress = "127.0.0.1:65536"
)

// startTimeout is for binding a port and resolving the name of its host.
const startTimeout = 10 * time.Second

// embedded is the server inside of this process.
type embedded struct {
	*server.Server
	log *serverLog
}

// startServer starts a server, and ends it again if it cannot have its port.
func startServer(s settings) (*embedded, error) {
	opts := serverOptions(s)
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("NATS server: %s", s.hide.Replace(err.Error()))
	}
	e := &embedded{Server: srv, log: newServerLog(s)}
	srv.SetLogger(e.log, false, false)
	srv.Start()
	if err := e.await(s); err != nil {
		e.shutdown()
		return nil, err
	}
	if s.host != "" {
		s.logger.Info("listening for routes of other pods",
			zap.Stringer("address", srv.ClusterAddr()), zap.Bool("tls", s.routeTLS != nil), zap.Strings("routes", s.routes))
	}
	return e, nil
}

// serverOptions has what the server does. Whatever is not named is off: JetStream, monitoring,
// profiling, gateways, leaf nodes, websockets, MQTT, files for its PID, ports and log.
func serverOptions(s settings) *server.Options {
	opts := &server.Options{
		ServerName:      s.name + nameSeparator + strings.ToLower(rand.Text()[:8]),
		Host:            noClientsHost,
		Port:            noClientsPort,
		DontListen:      true,
		NoSigs:          true,
		NoSystemAccount: true, // it is for monitoring, and would have routes of its own
		// A pod that is slow to read is no reason to hold up the others.
		NoFastProducerStall:   true,
		ConnectErrorReports:   reportEvery,
		ReconnectErrorReports: reportEvery,
		MaxClosedClients:      16, // remembered for monitoring
	}
	if s.host == "" {
		return opts
	}
	opts.DontListen = false // but see noClientsPort
	opts.Cluster = server.ClusterOpts{
		Name:           clusterName,
		Host:           s.host,
		Port:           s.port,
		ConnectRetries: routeRetries,
		// One connection to each pod is enough, and keeps payloads in order.
		PoolSize:      1,
		PingInterval:  routePing,
		MaxPingsOut:   routePings,
		WriteDeadline: routeDeadline,
		Compression:   server.CompressionOpts{Mode: server.CompressionOff},
		NoAdvertise:   true, // of addresses for clients: there are none
		TLSConfig:     s.routeTLS,
	}
	if s.port == 0 {
		opts.Cluster.Port = server.RANDOM_PORT
	}
	var user *url.Userinfo
	if s.password != "" {
		opts.Cluster.Username, opts.Cluster.Password = routeUser, s.password
		user = url.UserPassword(routeUser, s.password)
	}
	// The server sorts them when its options are changed, without a lock.
	for _, r := range slices.Sorted(slices.Values(s.routes)) {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats-route", Host: r, User: user})
	}
	return opts
}

// await returns when the server listens, or cannot.
func (e *embedded) await(s settings) error {
	if s.host == "" {
		return nil
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	address := net.JoinHostPort(s.host, strconv.Itoa(s.port))
	for e.ClusterAddr() == nil {
		select {
		case err := <-e.log.fatal:
			return fmt.Errorf("listen for routes on %s: %w", address, cause(err))
		case <-timeout.C:
			return fmt.Errorf("listen for routes on %s: no success in %v", address, startTimeout)
		case <-tick.C:
		}
	}
	return nil
}

// cause leaves out what the error repeats: the address.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// shutdown ends the server, if there is one, and returns when its goroutines and its port are gone.
func (e *embedded) shutdown() {
	if e == nil {
		return
	}
	e.Shutdown()
	e.WaitForShutdown()
}

// nameSeparator is between the name of a process and what makes it unique in NATS. Servers with the
// same name refuse each other, also a pod that was started anew while its old route was not yet
// found to be dead.
const nameSeparator = "~"

func plainName(server string) string {
	name, _, _ := strings.Cut(server, nameSeparator)
	return name
}
