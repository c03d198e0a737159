package e2e

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
	proc "github.com/rollcall-gateway/rollcall/test/internal/process"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// natsServer is a NATS that is not a pod.
type natsServer struct {
	*server.Server
	log *proc.Buffer
}

// natsLog is the server's logger.
type natsLog struct{ to *proc.Buffer }

func (l natsLog) write(format string, v ...any) { fmt.Fprintf(l.to, format+"\n", v...) }

func (l natsLog) Noticef(format string, v ...any) { l.write(format, v...) }
func (l natsLog) Warnf(format string, v ...any)   { l.write(format, v...) }
func (l natsLog) Fatalf(format string, v ...any)  { l.write(format, v...) }
func (l natsLog) Errorf(format string, v ...any)  { l.write(format, v...) }
func (l natsLog) Debugf(format string, v ...any)  { l.write(format, v...) }
func (l natsLog) Tracef(format string, v ...any)  { l.write(format, v...) }

// startNATS runs a NATS until the test ends.
func startNATS(t *testing.T, opts *server.Options) *natsServer {
	t.Helper()
	opts.Host, opts.NoSigs = "127.0.0.1", true
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	n := &natsServer{Server: s, log: new(proc.Buffer)}
	s.SetLogger(natsLog{n.log}, true, false)
	s.Start()
	t.Cleanup(n.end)
	if !s.ReadyForConnections(ws.Patience) {
		t.Fatalf("NATS is not ready:\n%s", n.log.Tail(4<<10))
	}
	return n
}

func (n *natsServer) end() {
	n.Shutdown()
	n.WaitForShutdown()
}

// client connects to the NATS until the test ends.
func (n *natsServer) client(t *testing.T) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(n.ClientURL(), nats.NoEcho())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// intruder returns a server with routes to pods, with a user and a password.
func intruder(t *testing.T, routes []string, user *url.Userinfo) *natsServer {
	t.Helper()
	opts := &server.Options{Cluster: server.ClusterOpts{
		Name: "rollcall", Host: "127.0.0.1", Port: podPort(t), PoolSize: 1, NoAdvertise: true,
		Compression: server.CompressionOpts{Mode: server.CompressionOff}, ConnectRetries: 1000,
	}, NoSystemAccount: true}
	for _, r := range routes {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats-route", Host: r, User: user})
	}
	return startNATS(t, opts)
}

// overheard returns the password for routes, which crosses the network in plain text without TLS.
// It admits a server, but is not enough for a payload that a pod would accept.
func overheard(t *testing.T) *url.Userinfo {
	t.Helper()
	key, err := hkdf.Key(sha256.New, []byte(clusterSecret), nil, "rollcall nats route password v1", sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	return url.UserPassword("rollcall", hex.EncodeToString(key))
}

// capture is a payload from a pod.
type capture struct {
	subject string
	payload []byte
	from    message.Sender
	message message.Message
}

// eavesdropper receives all payloads of the pods.
type eavesdropper struct {
	mu       sync.Mutex
	captures []capture
}

func eavesdrop(t *testing.T, nc *nats.Conn) *eavesdropper {
	t.Helper()
	e, codec := new(eavesdropper), message.NewCodec(clusterSecret)
	_, err := nc.Subscribe("rollcall.>", func(m *nats.Msg) {
		from, msg, err := codec.Decode(m.Subject, m.Data)
		if err != nil {
			return // an attack of this test
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.captures = append(e.captures, capture{m.Subject, m.Data, from, msg})
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// heard returns the payloads so far.
func (e *eavesdropper) heard() []capture {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.captures)
}

// awaitAll waits for each kind of payload that pods always exchange.
func (e *eavesdropper) awaitAll(t *testing.T) {
	t.Helper()
	ws.Poll(t, ws.Patience, func() error {
		missing := map[string]bool{"heartbeat": true, "query": true, "reply": true, "delta": true}
		for _, c := range e.heard() {
			switch c.message.(type) {
			case *message.Heartbeat:
				delete(missing, "heartbeat")
			case *message.Query:
				delete(missing, "query")
			case *message.Reply:
				delete(missing, "reply")
			case *message.Delta:
				delete(missing, "delta")
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("not received: %v", slices.Sorted(maps.Keys(missing)))
		}
		return nil
	})
}

// attack publishes payloads that no pod may accept, and returns how many each pod must count. All
// pods receive them.
func attack(t *testing.T, nc *nats.Conn, e *eavesdropper) ignored {
	t.Helper()
	var sent ignored
	publish := func(count *int, subject string, payload []byte) {
		t.Helper()
		if err := nc.Publish(subject, payload); err != nil {
			t.Fatal(err)
		}
		*count++
	}
	const all, query = "rollcall.all", "rollcall.query"
	// A pod that never existed, with another secret and with none.
	ghost := message.Sender{DataCenter: "eu-west", Pod: "ghost", Incarnation: message.Incarnation{Started: time.Now().UnixMilli(), Random: 1}}
	for _, codec := range []*message.Codec{message.NewCodec("another-secret-of-many-letters"), message.NewCodec("")} {
		for _, m := range []message.Message{&message.Heartbeat{Seq: 1, Hello: true}, &message.Goodbye{}} {
			payload, err := codec.Append(nil, all, ghost, m)
			if err != nil {
				t.Fatal(err)
			}
			publish(&sent.Forged, all, payload)
		}
	}
	publish(&sent.Malformed, all, nil)
	publish(&sent.Malformed, query, nil)
	publish(&sent.Forged, all, []byte{message.Version})
	publish(&sent.Forged, query, append([]byte{message.Version}, make([]byte, 100)...))
	publish(&sent.Oversized, all, append([]byte{message.Version}, make([]byte, message.MaxPayload)...))
	publish(&sent.Oversized, query, append([]byte{message.Version}, make([]byte, message.MaxPayload)...))
	publish(&sent.Version, query, []byte("GET / HTTP/1.1\r\n\r\n"))
	for _, c := range e.heard() {
		if c.subject != all && c.subject != query {
			continue // not all pods receive these
		}
		other := slices.Clone(c.payload)
		other[0] = message.Version + 1
		publish(&sent.Version, c.subject, other)
		changed := slices.Clone(c.payload)
		changed[len(changed)/2] ^= 1
		publish(&sent.Forged, c.subject, changed)
		publish(&sent.Forged, c.subject, c.payload[:len(c.payload)-1])
		elsewhere := map[string]string{all: query, query: all}[c.subject]
		publish(&sent.Forged, elsewhere, c.payload)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return sent
}

// replay publishes all received payloads again, on their subjects.
func replay(t *testing.T, nc *nats.Conn, captures []capture) {
	t.Helper()
	for _, c := range captures {
		if err := nc.Publish(c.subject, c.payload); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// minus returns the difference between two counts.
func (i ignored) minus(before ignored) ignored {
	return ignored{
		i.Malformed - before.Malformed, i.Oversized - before.Oversized, i.Forged - before.Forged,
		i.Version - before.Version, i.Unknown - before.Unknown,
		i.Repeated - before.Repeated,
	}
}

// ignores returns how many payloads each pod has ignored so far.
func (d deployment) ignores(t *testing.T) []ignored {
	t.Helper()
	list := make([]ignored, len(d))
	for i, p := range d {
		r, err := p.cluster()
		if err != nil {
			t.Fatal(err)
		}
		list[i] = r.Ignored
	}
	return list
}

// awaitIgnored waits until each pod has ignored exactly the given numbers since then. Unknown
// payloads do not count: any deployment has some, which come late.
func (d deployment) awaitIgnored(t *testing.T, before []ignored, want ignored) {
	t.Helper()
	ws.Poll(t, ws.Patience, func() error {
		for i, now := range d.ignores(t) {
			got := now.minus(before[i])
			if got.Unknown = 0; got != want {
				return fmt.Errorf("%s has ignored %+v, want %+v", d[i].Pod, got, want)
			}
		}
		return nil
	})
}
