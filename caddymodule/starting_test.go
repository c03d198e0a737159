package caddymodule

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// A pod that starts serves sockets and joins, and refuses messages until it has joined its cluster:
// other pods would not receive them.
func TestStartingPodRefusesMessages(t *testing.T) {
	type state struct {
		file  string // Caddyfile
		ready bool   // its cluster is joined
		err   error  // its cluster cannot be started
	}
	waiting, joined := state{file: clustered(overNATS)}, state{file: clustered(overNATS), ready: true}
	renamed := state{file: strings.Replace(clustered(overNATS), "pod web-1", "pod web-2", 1)}
	alone := state{file: aloneFile}
	for _, test := range []struct {
		name     string
		states   []state // the configuration at the start, and those of reloads
		refused  bool
		complete string // Rollcall-Complete of an answer about all pods
	}{
		{"alone", []state{alone}, false, "true"},
		{"joined", []state{joined}, false, "true"},
		{"not joined", []state{waiting}, true, "false"},
		{"cannot be started", []state{{file: waiting.file, err: errors.New("no NATS today")}}, true, "false"},
		{"not joined before another cluster", []state{waiting, renamed}, true, "false"},
		{"joined before another cluster", []state{joined, renamed}, false, "false"},
		{"alone before its first cluster", []state{alone, waiting}, true, "false"},
		{"joined before it is alone", []state{joined, alone}, false, "true"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c configured
			for i, s := range test.states {
				before := c
				c = mustLoad(t, s.file)
				stage(t, c.app.hub, func(cluster.Config) (gateway.Pods, error) {
					if s.err != nil {
						return nil, s.err
					}
					return &fakeCluster{name: "it", clusterLog: new(clusterLog), ready: s.ready, truth: cluster.Truth{Complete: s.ready}}, nil
				})
				c.app.hub.Offer(c.snapshot())
				if i > 0 {
					c.app.hub.TakeBack(before.snapshot())
				}
			}
			h := c.handler(t)
			conn := mustDial(t, listen(t, h), "portal.example.com")
			welcome(t, conn)
			expectAnswer(t, conn, `{"type":"join","channel":"anonymousChat"}`, `"joined"`)
			const send = `{"type":"send","channels":["anonymousChat"],"message":{"n":1},"id":7}`
			const body = `{"apiKey":"k","channels":["anonymousChat"],"message":{"n":2}}`
			w, health := post(t, h, "/message/sendmessage", body), getAdmin(t, "/rollcall/health")
			checkTruth(t, post(t, h, "/message/allusers", `{"apiKey":"k"}`), test.complete, "")
			if !test.refused {
				if w.Code != http.StatusCreated {
					t.Errorf("status %d: %s", w.Code, w.Body)
				}
				expectFrame(t, conn, `"backend":true,"message":{"n":2}`)
				if err := conn.WriteMessage(websocket.TextMessage, []byte(send)); err != nil {
					t.Fatal(err)
				}
				frames := readText(t, conn) + readText(t, conn) // in any order
				if !strings.Contains(frames, `{"type":"sent","id":7}`) || !strings.Contains(frames, `"message":{"n":1}`) {
					t.Errorf("the answers are %s", frames)
				}
				if health.Code != http.StatusOK || !strings.Contains(health.Body.String(), `"status":"ok"`) {
					t.Errorf("health: %d %s", health.Code, health.Body)
				}
				return
			}
			checkProblem(t, w, http.StatusServiceUnavailable, "unavailable")
			if retry := w.Header().Get("Retry-After"); retry != "1" {
				t.Errorf("Retry-After %q", retry)
			}
			expectAnswer(t, conn, send, `{"type":"error","id":7,"code":"unavailable","message":"try again later"}`)
			expectAnswer(t, conn, `{"type":"ping"}`, `"pong"`) // no message came before
			if health.Code != http.StatusServiceUnavailable || !strings.Contains(health.Body.String(), `"status":"starting","data_center":"us-east-1","pod":"`+c.snapshot().Pod+`"`) {
				t.Errorf("health: %d %s", health.Code, health.Body)
			}
			checkProblem(t, post(t, h, "/message/sendmessage", `{"apiKey":"k","channels":[],"message":{}}`), http.StatusBadRequest, "bad_value")
			got := scrape(t, c.ctx.GetMetricsRegistry())
			for _, from := range []string{"backend", "client"} {
				if line := "messages_total{from=" + from + ",host=portal.example.com,result=unavailable} 1"; !strings.Contains(got, line) {
					t.Errorf("no %s in\n%s", line, got)
				}
			}
		})
	}
}

// readText reads a frame.
func readText(t *testing.T, conn *websocket.Conn) string {
	t.Helper()
	_, frame, err := conn.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return string(frame)
}
