package gateway

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// Without free file descriptors a connection works, and the log says that it is not parked.
func TestConnectionThatCannotBeParkedIsLogged(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	h := newTestHub(t)
	h.log.setTarget(zap.New(core), true)
	st := testSite()
	sessions := make(chan *Session, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sock, err := socket.Upgrade(w, r, "")
		if err != nil {
			t.Error(err)
			return
		}
		s, err := h.connect(sock, testkit.MustHost(t, "portal.example.com"), st, site.Login{}, netip.Prefix{}, Native{})
		if err != nil {
			t.Error(err)
		}
		sessions <- s
	}))
	defer server.Close()
	client, _, err := websocket.DefaultDialer.Dial("ws://"+server.Listener.Addr().(*net.TCPAddr).String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := <-sessions
	defer func() {
		client.Close()
		testkit.Eventually(t, "the connection ends", func() bool { return h.metrics.open() == 0 })
		if err := h.Destruct(); err != nil {
			t.Error(err)
		}
	}()

	testkit.WithoutDescriptors(t)
	s.start(time.Time{})
	if _, welcome, err := client.ReadMessage(); err != nil {
		t.Errorf("read %s, error %v", welcome, err)
	}
	testkit.Eventually(t, "the warning is logged", func() bool { return logs.Len() > 0 })
	e := logs.All()[0]
	if e.Message != "the kernel cannot wait for an idle connection: it takes a goroutine until the next try" ||
		e.ContextMap()["error"] != "epoll: epoll_create1: too many open files" {
		t.Errorf("logged %q with %v", e.Message, e.ContextMap())
	}
	if err := client.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping","id":1}`)); err != nil {
		t.Fatal(err)
	}
	if _, got, err := client.ReadMessage(); err != nil || string(got) != `{"type":"pong","id":1}` {
		t.Errorf("read %s, error %v", got, err)
	}
}
