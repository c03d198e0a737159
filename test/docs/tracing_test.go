package docs

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/process"
)

// Spans of endpoints, handshakes, questions and copies arrive at an OTLP collector that only
// Caddy's tracing knows. The names of the documented spans are those.
func TestSpansArriveAtACollector(t *testing.T) {
	var (
		mu       sync.Mutex
		received strings.Builder
		traced   bool // the backend was told of a trace
	)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // protobuf, in which texts are as they are
		mu.Lock()
		defer mu.Unlock()
		received.Write(body)
	}))
	defer collector.Close()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		traced = traced || r.Header.Get("Traceparent") != ""
		_, _ = io.WriteString(w, `{"allow":true}`)
	}))
	defer backend.Close()

	s := &server{home: t.TempDir(), addr: freeAddr(t), admin: freeAddr(t)}
	s.configure(t, `http://localhost:8080 {
	tracing
	rollcall {
		api_key `+apiKey+`
		channels {
			default granted
		}
		jwt {
			key `+jwtSecret+`
		}
		authorize `+backend.URL+` {
			secret `+backendSecret+`
		}
		backend `+backend.URL+` {
			secret `+backendSecret+`
		}
	}
}
`)
	cmd := exec.Command(caddy, "run", "--config", filepath.Join(s.home, "Caddyfile"), "--adapter", "caddyfile")
	cmd.Dir = s.home
	cmd.Env = append(environment(s.home, s.admin), "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
		"OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_BSP_SCHEDULE_DELAY=50")
	process.Start(t, cmd, func() error { return responds("http://" + s.addr + "/message/users") })
	for endpoint, body := range map[string]string{
		"users": "", "adduser": `,"users":[{"id":"ada","channels":[{"name":"salesRoom","mode":"listen"}]}]`, // for copies
	} {
		resp, err := http.Post("http://"+s.addr+"/message/"+endpoint, "application/json", strings.NewReader(`{"apiKey":"`+apiKey+`"`+body+`}`))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	c := s.connect(t, "ada")
	c.expect(t, "welcome")
	c.send(t, `{"type":"authenticate","token":"`+sign(t, "ada")+`"}`)
	c.expect(t, "authenticated")
	for _, channel := range []string{"salesRoom", "attic"} { // an assigned one, and one that is asked about
		c.send(t, `{"type":"join","channel":"`+channel+`"}`)
		for frame := ""; !strings.Contains(frame, `"channel":"`+channel+`"`); {
			frame = c.receive(t)
		}
	}
	c.send(t, `{"type":"send","channels":["salesRoom"],"message":{}}`)

	want := []string{"rollcall users", "rollcall handshake", "rollcall authorize", "rollcall webhook", "rollcall.host"}
	page := readPage(t, "docs/operations.md").text
	for _, name := range want {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("docs/operations.md does not name %s", name)
		}
	}
	lacking := func() (names []string) {
		mu.Lock()
		defer mu.Unlock()
		for _, name := range want {
			if !strings.Contains(received.String(), name) {
				names = append(names, name)
			}
		}
		if !traced {
			names = append(names, "traceparent")
		}
		return names
	}
	deadline := time.Now().Add(patience)
	for len(lacking()) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("what did not arrive: %q", lacking())
		}
		time.Sleep(20 * time.Millisecond)
	}
}
