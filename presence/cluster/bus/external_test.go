package bus

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// external starts a NATS server as others would run it.
func external(t *testing.T, cluster string, change func(*server.Options)) *server.Server {
	t.Helper()
	opts := &server.Options{
		ServerName: "nats-" + cluster,
		Host:       "127.0.0.1",
		Port:       server.RANDOM_PORT,
		NoSigs:     true,
		NoLog:      true,
		Cluster:    server.ClusterOpts{Name: cluster},
	}
	if change != nil {
		change(opts)
	}
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	testkit.Eventually(t, "NATS server", func() bool { return s.Addr() != nil })
	return s
}

// Data centers are the clusters of a supercluster: pods connect to their own, gateways join them.
func TestSupercluster(t *testing.T) {
	gateways := freePorts(t, 2)
	start := func(name string, own int) *server.Server {
		return external(t, name, func(o *server.Options) {
			host, port, err := hostPort(gateways[own])
			if err != nil {
				t.Fatal(err)
			}
			o.Gateway = server.GatewayOpts{Name: name, Host: host, Port: port}
			for i, n := range []string{"us", "eu"} {
				o.Gateway.Gateways = append(o.Gateway.Gateways,
					&server.RemoteGatewayOpts{Name: n, URLs: []*url.URL{{Scheme: "nats", Host: gateways[i]}}})
			}
		})
	}
	us, eu := start("us", 0), start("eu", 1)
	a := open(t, Config{Name: "us-pod", URLs: []string{"nats://" + us.Addr().String()}})
	b := open(t, Config{Name: "eu-pod", URLs: []string{"nats://" + eu.Addr().String()}})
	for want, p := range map[string]*Bus{"us": a, "eu": b} {
		s := p.State()
		if s.Cluster != want || s.Embedded || s.Server != "nats-"+want || !strings.HasPrefix(s.URL, "nats://127.0.0.1:") || s.RoundTrip <= 0 {
			t.Errorf("state %+v", s)
		}
	}
	inA, inB := subscribe(t, a, "n.all"), subscribe(t, b, "n.all")
	reaches(t, a, "n.all", inB, "from us")
	reaches(t, b, "n.all", inA, "from eu")
	if !inA.has("from us") {
		t.Error("a pod does not hear itself")
	}
}

func TestExternalComesLater(t *testing.T) {
	address := freePorts(t, 1)[0]
	host, port, err := hostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	var mu sync.Mutex
	var states []bool
	var running atomic.Int64
	b := open(t, Config{
		URLs:   []string{"nats://me:hunter2@" + address},
		Logger: zap.New(core),
		OnState: func(c bool) {
			if running.Add(1) != 1 {
				t.Error("OnState runs twice at a time")
			}
			defer running.Add(-1)
			mu.Lock()
			defer mu.Unlock()
			states = append(states, c)
		},
	})
	told := func(want ...bool) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return slices.Equal(states, want)
		}
	}
	if !told(false)() {
		t.Fatalf("states %v", states)
	}
	if logs.FilterMessageSnippet("not reachable").Len() == 0 {
		t.Error("nothing was logged")
	}
	var in inbox
	if _, err := b.Subscribe("s", in.take); err != nil { // it counts from the connection on
		t.Fatal(err)
	}
	user := func(o *server.Options) {
		o.Host, o.Port, o.Username, o.Password = host, port, "me", "hunter2"
	}
	srv := external(t, "us", user)
	testkit.Eventually(t, "connection", told(false, true))
	reaches(t, b, "s", &in, "first")
	if s := b.State(); s.Reconnects != 0 || s.URL != "nats://"+address {
		t.Errorf("state %+v", s)
	}

	srv.Shutdown()
	srv.WaitForShutdown()
	testkit.Eventually(t, "loss", told(false, true, false))
	external(t, "us", user)
	testkit.Eventually(t, "connection", told(false, true, false, true))
	reaches(t, b, "s", &in, "second")
	if s := b.State(); s.Reconnects != 1 {
		t.Errorf("state %+v", s)
	}
	for _, e := range logs.All() {
		for _, text := range append([]string{e.Message}, fields(e)...) {
			if strings.Contains(text, "hunter2") {
				t.Errorf("the password is in the log: %q %v", e.Message, e.ContextMap())
			}
		}
	}
}

// A wrong password is refused for as long as it is wrong, and is no reason to give up.
func TestExternalRefuses(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	srv := external(t, "us", func(o *server.Options) { o.Authorization = "token-of-the-server" })
	b := open(t, Config{URLs: []string{"nats://hunter2@" + srv.Addr().String()}, Logger: zap.New(core)})
	testkit.Eventually(t, "refusals", func() bool { return logs.FilterMessageSnippet("not reachable").Len() >= 2 })
	s := b.State()
	if s.Connected || !strings.Contains(strings.ToLower(s.LastError), "authorization") {
		t.Errorf("state %+v", s)
	}
	if b.conn.Load().nc.IsClosed() {
		t.Error("gave up")
	}
	for _, e := range logs.All() {
		for _, text := range fields(e) {
			if strings.Contains(text, "hunter2") {
				t.Errorf("the token is in the log: %v", e.ContextMap())
			}
		}
	}
}

func TestExternalTLS(t *testing.T) {
	authority := newAuthority(t)
	srv := external(t, "us", func(o *server.Options) { o.TLS, o.TLSVerify, o.TLSConfig = true, true, authority.pod(t) })
	b := open(t, Config{URLs: []string{"tls://" + srv.Addr().String()}, ClientTLS: authority.pod(t)})
	in := subscribe(t, b, "s")
	reaches(t, b, "s", in, "x")
	stranger := open(t, Config{URLs: []string{"tls://" + srv.Addr().String()}, ClientTLS: newAuthority(t).pod(t)})
	testkit.Eventually(t, "reason", func() bool { return strings.Contains(stranger.State().LastError, "certificate") })
	if stranger.State().Connected {
		t.Error("connected to a server of another authority")
	}
}

// The file is read at each connect, so that it can be put right while the bus is open.
func TestCredentialsFile(t *testing.T) {
	good, err := os.ReadFile(filepath.Join("testdata", "user.creds"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "user.creds")
	if err := os.WriteFile(file, []byte("no credentials"), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(filepath.Join("testdata", "operator.conf"))
	if err != nil {
		t.Fatal(err)
	}
	srv := external(t, "us", func(o *server.Options) {
		opts.ServerName, opts.Host, opts.Port, opts.NoSigs, opts.NoLog = o.ServerName, o.Host, o.Port, true, true
		*o = *opts
	})
	b := open(t, Config{URLs: []string{"nats://" + srv.Addr().String()}, Credentials: file})
	testkit.Eventually(t, "reason", func() bool { return b.State().LastError != "" })
	if b.State().Connected {
		t.Error("connected without credentials")
	}
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "connection", func() bool { return b.State().Connected })
	in := subscribe(t, b, "s")
	reaches(t, b, "s", in, "x")
}
