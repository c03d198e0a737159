package caddymodule

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/gorilla/websocket"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rollcall-gateway/rollcall/caddymodule/copies"
	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// started starts our apps of a Caddyfile.
func started(t *testing.T, caddyfile string) configured {
	t.Helper()
	c := mustLoad(t, caddyfile)
	if err := c.app.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// emitStopping emits the event that comes before Caddy stops the apps of a configuration.
func (c configured) emitStopping(t *testing.T) {
	t.Helper()
	events, err := c.ctx.App("events")
	if err != nil {
		t.Fatal(err)
	}
	events.(*caddyevents.App).Emit(c.ctx, "stopping", nil)
}

func (c configured) mustStop(t *testing.T) {
	t.Helper()
	if err := c.app.Stop(); err != nil {
		t.Error(err)
	}
}

func (c configured) mustCleanup(t *testing.T) {
	t.Helper()
	if err := c.app.Cleanup(); err != nil {
		t.Error(err)
	}
}

// expectCode reads a websocket to its end.
func expectCode(t *testing.T, conn *websocket.Conn, want int) {
	t.Helper()
	if code, reason := closedWith(t, conn); code != want {
		t.Errorf("closed with %d %s, want %d", code, reason, want)
	}
}

// expectHealth checks the status of the process.
func expectHealth(t *testing.T, status string) {
	t.Helper()
	if w := getAdmin(t, "/rollcall/health"); !strings.Contains(w.Body.String(), `"status":"`+status+`"`) {
		t.Errorf("health is %s, want %s", w.Body, status)
	}
}

// HTTP can stop before or after this app, and can wait for other connections indefinitely.
func TestClientsAreToldBeforeAnyAppIsStopped(t *testing.T) {
	for name, begin := range map[string]func(configured, *testing.T){
		"by the event":               configured.emitStopping,
		"by Stop, without the event": configured.mustStop,
	} {
		t.Run(name, func(t *testing.T) {
			c := started(t, siteWithKey("portal.example.com", "k"))
			h := c.handler(t)
			conn := mustDial(t, listen(t, h), "portal.example.com")
			welcome(t, conn)
			expectHealth(t, "ok")
			begin(c, t)
			expectHealth(t, "draining")
			checkProblem(t, post(t, h, "/message/users", `{"apiKey":"k"}`), http.StatusServiceUnavailable, "draining")
			expectCode(t, conn, websocket.CloseGoingAway)
			c.mustStop(t)
			c.mustCleanup(t)
		})
	}
}

// HTTP listens until the delay is over, in its Stop, which can be called before or after that of
// this app.
func TestShutdownDelayServesOn(t *testing.T) {
	const endless = "{\n\tshutdown_delay 1000h\n}\n" // only Cleanup ends it
	c := started(t, endless+siteWithKey("portal.example.com", "k"))
	h := c.handler(t)
	server := listen(t, h)
	before := mustDial(t, server, "portal.example.com")
	welcome(t, before)
	served := func(when string) {
		t.Helper()
		expectHealth(t, "draining")
		if w := post(t, h, "/message/users", `{"apiKey":"k"}`); w.Code != http.StatusOK || w.Header().Get("Connection") != "" {
			t.Errorf("%s: an endpoint answers %d: %s", when, w.Code, w.Body)
		}
	}
	h.app.hub.StartDrain(c.app.snapshot, true)
	served("after the event")
	c.mustStop(t)
	served("after Stop")
	late := mustDial(t, server, "portal.example.com")
	welcome(t, late)
	cleaned := make(chan struct{})
	go func() { // ends with Cleanup
		defer close(cleaned)
		c.mustCleanup(t)
	}()
	expectCode(t, before, websocket.CloseServiceRestart)
	expectCode(t, late, websocket.CloseServiceRestart)
	<-cleaned
}

// A configuration that leaves while Caddy keeps running has nothing to wait for: clients cannot
// come back.
func TestShutdownDelayIsForExits(t *testing.T) {
	c := started(t, "{\n\tshutdown_delay 1000h\n}\n"+siteWithKey("portal.example.com", "k"))
	conn := mustDial(t, listen(t, c.handler(t)), "portal.example.com")
	welcome(t, conn) // an unfinished handshake would be refused, with 1012
	c.emitStopping(t)
	expectCode(t, conn, websocket.CloseGoingAway)
}

// In its Stop, HTTP waits for running requests. They need the state that they started with.
func TestRequestUnderWayHasItsClusterWhileHTTPStops(t *testing.T) {
	d := &clusterLog{}
	c := mustLoad(t, clustered(overNATS))
	h := c.handler(t)
	stage(t, h.app.hub, func(cluster.Config) (gateway.Pods, error) {
		return &fakeCluster{name: "it", clusterLog: d, ready: true, truth: cluster.Truth{Complete: true}}, nil
	})
	if err := c.app.Start(); err != nil {
		t.Fatal(err)
	}
	body, upload := io.Pipe()
	answered := make(chan *httptest.ResponseRecorder, 1)
	go func() { // ends with the upload
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "http://portal.example.com/message/allusers", body)
		if err := h.ServeHTTP(w, prepare(w, r), notFound); err != nil {
			t.Error(err)
		}
		answered <- w
	}()
	if _, err := io.WriteString(upload, `{"apiKey":"k",`); err != nil { // read before Stop
		t.Fatal(err)
	}
	h.app.hub.StartDrain(c.app.snapshot, true)
	<-h.app.hub.Drained()
	c.mustStop(t)
	if _, err := io.WriteString(upload, `"requireComplete":true}`); err != nil {
		t.Fatal(err)
	}
	upload.Close()
	if w := <-answered; w.Code != http.StatusOK || w.Header().Get("Rollcall-Complete") != "true" {
		t.Errorf("status %d, complete %q: %s", w.Code, w.Header().Get("Rollcall-Complete"), w.Body)
	}
	d.expect(t, "drain it", "allusers portal.example.com false false")
	c.mustCleanup(t)
	d.expect(t, "close it")
}

func TestCopiesAreTakenUntilHTTPHasStopped(t *testing.T) {
	dataFolder(t)
	host, l := testkit.MustHost(t, "portal.example.com"), newListener(t)
	c := started(t, siteWithBackend("portal.example.com", l.URL))
	site, hub := c.handler(t).rollcall.Site, c.app.hub
	hub.StartDrain(c.app.snapshot, true)
	<-hub.Drained()
	c.mustStop(t)
	if err := hub.CopyToBackend(site, host, copied(1)); err != nil {
		t.Errorf("of a request that is under way: %v", err)
	}
	l.expect(t, "portal.example.com 1")
	c.mustCleanup(t)
	if err := hub.CopyToBackend(site, host, copied(2)); !errors.Is(err, copies.ErrNotCopied) {
		t.Errorf("after the end: %v", err)
	}
}

func TestReloadStartsNoDrain(t *testing.T) {
	first := started(t, siteWithKey("portal.example.com", "before"))
	server := listen(t, first.handler(t))
	conn := mustDial(t, server, "portal.example.com")
	welcome(t, conn)
	hub := first.app.hub

	failed := started(t, siteWithKey("portal.example.com", "failed"))
	failed.mustStop(t) // another app of the configuration fails to start
	failed.mustCleanup(t)
	if hub.InEffect() != first.app.snapshot {
		t.Error("a configuration that was given up is in effect")
	}

	second := started(t, siteWithKey("portal.example.com", "after"))
	first.emitStopping(t)
	expectHealth(t, "ok")
	first.mustStop(t)
	first.mustCleanup(t)
	expectHealth(t, "ok")
	if hub.InEffect() != second.app.snapshot {
		t.Error("the new configuration is not in effect")
	}
	if err := conn.WriteJSON(map[string]string{"type": "ping"}); err != nil {
		t.Fatal(err)
	}
	if _, pong, err := conn.ReadMessage(); err != nil || !strings.Contains(string(pong), `"pong"`) {
		t.Errorf("after the reload a client reads %s, error %v", pong, err)
	}
	second.emitStopping(t)
	expectCode(t, conn, websocket.CloseGoingAway)
}

// A signal that comes during a reload sets Exiting at once, but Caddy finishes the reload first.
// HTTP of the old configuration then waits for its connections.
func TestExitDuringAReloadStartsTheDrain(t *testing.T) {
	first := started(t, siteWithKey("portal.example.com", "k"))
	conn := mustDial(t, listen(t, first.handler(t)), "portal.example.com")
	welcome(t, conn)
	hub := first.app.hub
	second := started(t, siteWithKey("portal.example.com", "k"))
	hub.StartDrain(first.app.snapshot, true)
	expectHealth(t, "draining")
	expectCode(t, conn, websocket.CloseServiceRestart)
	first.mustStop(t)
	first.mustCleanup(t)
	checkProblem(t, post(t, second.handler(t), "/message/users", `{"apiKey":"k"}`), http.StatusServiceUnavailable, "draining")
	second.emitStopping(t)
	second.mustStop(t)
	second.mustCleanup(t)
}

// Caddy discards a configuration without Stop if all apps have started and a remote admin endpoint
// cannot.
func TestConfigurationGivenUpAfterItsStartIsTakenBack(t *testing.T) {
	first := started(t, siteWithKey("portal.example.com", "first"))
	given := started(t, siteWithKey("portal.example.com", "given up"))
	given.mustCleanup(t)
	third := started(t, siteWithKey("portal.example.com", "third"))
	first.mustStop(t)
	first.mustCleanup(t)
	if first.app.hub.InEffect() != third.app.snapshot {
		t.Error("the configuration that was given up is in effect")
	}
}

func TestStopsAtOnceDrainOnce(t *testing.T) {
	c := started(t, siteWithKey("portal.example.com", "k"))
	conn := mustDial(t, listen(t, c.handler(t)), "portal.example.com")
	welcome(t, conn)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if i%2 == 0 {
				c.app.hub.StartDrain(c.app.snapshot, true)
			} else {
				_ = stopHandler{c.app}.Handle(t.Context(), caddy.Event{})
			}
		})
	}
	all.Wait()
	c.mustStop(t)
	code, _ := closedWith(t, conn)
	if code != websocket.CloseServiceRestart && code != websocket.CloseGoingAway {
		t.Errorf("closed with %d", code)
	}
	c.mustCleanup(t)
	c.mustCleanup(t)
}

func TestClusterThatStartsDuringTheDrainDrains(t *testing.T) {
	d := &clusterLog{}
	c := mustLoad(t, clustered(overNATS))
	hub := c.app.hub
	fail := true
	stage(t, hub, func(cluster.Config) (gateway.Pods, error) {
		if fail {
			return nil, errors.New("no NATS today")
		}
		return &fakeCluster{name: "it", clusterLog: d}, nil
	})
	s := c.snapshot()
	hub.Offer(s)
	hub.StartDrain(s, true)
	<-hub.Drained()
	fail = false
	hub.RetryCluster()
	d.expect(t)
	next := mustLoad(t, clustered(overNATS)).snapshot() // from a reload that the exit interrupts
	hub.Offer(next)
	hub.TakeBack(s)
	d.expect(t, "drain it")
}

// Caddy's debug log prints the handlers of an event.
func TestStopHandlerIsPrintedWithoutSecrets(t *testing.T) {
	c := mustLoad(t, clustered(overNATS+"\nsecret "+clusterSecret))
	line, err := zapcore.NewJSONEncoder(zapcore.EncoderConfig{}).EncodeEntry(
		zapcore.Entry{}, []zapcore.Field{zap.Any("handler", stopHandler{c.app})})
	if err != nil || strings.TrimSpace(line.String()) != `{"handler":{}}` {
		t.Errorf("it is printed as %s, error %v", line, err)
	}
}

// HTTP can start before this app. A failed start must not leave the connections behind that it has
// accepted.
func TestConfigurationGivenUpBeforeItsStartKeepsNoConnections(t *testing.T) {
	const before = "portal.example.com"
	first := started(t, siteWithKey(before, "k"))
	stays := mustDial(t, listen(t, first.handler(t)), before)
	welcome(t, stays)
	second := mustLoad(t, siteWithKey(before, "k")+"\n"+siteWithKey("new.example.com", "n"))
	for _, h := range second.app.handlers {
		if name := testkit.MustHost(t, "new.example.com"); second.snapshot().Find(name) == h.rollcall.Site {
			early := mustDial(t, listen(t, h), "new.example.com")
			welcome(t, early)
			second.mustCleanup(t)
			expectCode(t, early, websocket.CloseGoingAway)
		}
	}
	if host := first.app.hub.Registry.Host(testkit.MustHost(t, before)); host == nil || len(host.Outboxes()) != 1 {
		t.Error("the connection of the configuration in effect is gone")
	}
	first.mustStop(t)
	expectCode(t, stays, websocket.CloseGoingAway)
	first.mustCleanup(t)
}
