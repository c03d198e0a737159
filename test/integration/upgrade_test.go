package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// useSocket joins a channel and leaves the server as it was.
func useSocket(t *testing.T, s ws.Site, header ...string) {
	t.Helper()
	c := s.Dial(t, header...)
	c.Ask(t, `{"type":"join","channel":"anonymousChat","presence":"count"}`,
		`{"type":"joined","channel":"anonymousChat","kind":"anonymous","seq":0,"count":1}`)
	s.Expect(t, "users", `{"channel":"anonymousChat"}`, `{"anonymousChat":1}`)
	c.Close(t)
	s.Await(t, "users", `{}`, `{}`)
}

// Caddy's wrappers of the response affect an upgrade, so each is tested.
func TestUpgradeWithOtherDirectives(t *testing.T) {
	const block = " rollcall {\n api_key " + apiKey + "\n }\n"
	tests := map[string]struct{ options, site string }{
		"nothing":   {"", block},
		"log":       {"", "log {\n output discard\n }\n" + block},
		"metrics":   {"metrics {\n per_host\n }\n", block},
		"encode":    {"", "encode gzip zstd\n" + block},
		"tracing":   {"", "tracing {\n span test\n }\n" + block},
		"intercept": {"", "intercept {\n @any status 5xx\n handle_response @any {\n respond \"intercepted\"\n }\n }\n" + block},
		"header":    {"", "header X-Frame-Options DENY\n" + block},
		"templates": {"", "templates\n" + block},
		"no idle timeouts": {
			"servers {\n timeouts {\n read_body_idle -1s\n write_idle -1s\n }\n }\n", block,
		},
		"write timeout": {"servers {\n timeouts {\n write 5s\n read_body 5s\n }\n }\n", block},
		"all": {
			"metrics\n", "log {\n output discard\n }\nencode gzip\ntracing\nheader X-Frame-Options DENY\n" +
				"intercept {\n @any status 5xx\n handle_response @any {\n respond \"intercepted\"\n }\n }\n" + block,
		},
		"route":       {"", "route {\n" + block + "\n}\n"},
		"handle_path": {"", "handle_path /app/* {\n" + block + "\n}\nhandle {\n" + block + "}\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			load(t, caddyfile(tt.options, "http://portal.example.com:9080 {\n"+tt.site+"}\n"))
			useSocket(t, portalHost)
			useSocket(t, portalHost, "Accept-Encoding", "gzip")
		})
	}
}

// records reads a log in JSON. Lines come a little after their event, so it waits for a matching
// one.
func records(t *testing.T, path string, fits func(map[string]any) bool) (found map[string]any) {
	t.Helper()
	ws.Poll(t, ws.Patience, func() error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			var record map[string]any
			if json.Unmarshal([]byte(line), &record) == nil && fits(record) {
				found = record
				return nil
			}
		}
		return fmt.Errorf("no line fits in: %s", text)
	})
	return found
}

func TestAccessLogTellsOfTheUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	load(t, caddyfile("", "http://portal.example.com:9080 {\n log {\n output file "+path+"\n format json\n }\n rollcall\n}\n"))
	c := portalHost.Dial(t)
	record := records(t, path, func(r map[string]any) bool { return r["status"] == float64(http.StatusSwitchingProtocols) })
	if got := record["rollcall_connection"]; got != c.Welcome.Connection {
		t.Errorf("the access log names the connection %v, want %s", got, c.Welcome.Connection)
	}
	c.ExpectNothing(t)
}

func TestUpgradeBehindAProxy(t *testing.T) {
	load(t, portal("")+"http://portal.example.com:9081 {\n reverse_proxy 127.0.0.1:9080\n}\n")
	front := portalHost
	front.URL = frontURL
	useSocket(t, front)
	direct, proxied := portalHost.Dial(t), front.Dial(t)
	direct.Join(t, "anonymousChat")
	proxied.Ask(t, `{"type":"join","channel":"anonymousChat","presence":"count"}`,
		`{"type":"joined","channel":"anonymousChat","kind":"anonymous","seq":0,"count":2}`)
	direct.Close(t)
	proxied.Expect(t, `{"type":"presence","channel":"anonymousChat","seq":1,"joined":[],"left":[],"count":1}`)
}

func TestUpgradeOverTLS(t *testing.T) {
	load(t, caddyfile("", "https://localhost:9443 {\n tls internal\n rollcall {\n api_key "+apiKey+"\n }\n}\n"))
	site := ws.Site{URL: tlsURL, Host: "localhost:9443", Key: apiKey, Client: tlsClient("localhost")}
	ws.Poll(t, ws.Patience, func() error { // the certificate is issued after the start
		_, err := site.Ask("users", `{}`)
		return err
	})
	useSocket(t, site)
	useSocket(t, site, "Origin", "https://localhost:9443")
	conn, _ := ws.Open(t, withHeader(site, "Origin", "http://localhost:9443"))
	ws.ExpectClose(t, conn, 4003)
}

// raw sends bytes to the server and returns its answer.
func raw(t *testing.T, text string) *http.Response {
	t.Helper()
	conn := open(t)
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func open(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(siteURL, "http://"), ws.Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(ws.Patience))
	return conn
}

// handshake returns a complete handshake, with replacements; "" removes the line.
func handshake(replace map[string]string) string {
	var b strings.Builder
	for _, line := range []string{
		"GET /message/socket HTTP/1.1", "Host: portal.example.com", "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	} {
		field, _, _ := strings.Cut(line, " ")
		if other, ok := replace[field]; ok {
			line = other
		}
		if line != "" {
			b.WriteString(line + "\r\n")
		}
	}
	return b.String() + "\r\n"
}

func TestHandshakesThatAreRefused(t *testing.T) {
	load(t, portal(""))
	witness := portalHost.Dial(t)
	if resp := raw(t, handshake(nil)); resp.StatusCode != http.StatusSwitchingProtocols ||
		resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("a good handshake: %s %v", resp.Status, resp.Header)
	}
	tests := map[string]struct {
		replace map[string]string
		status  int
	}{
		"POST":             {map[string]string{"GET": "POST /message/socket HTTP/1.1"}, 405},
		"PUT":              {map[string]string{"GET": "PUT /message/socket HTTP/1.1"}, 405},
		"HTTP/1.0":         {map[string]string{"GET": "GET /message/socket HTTP/1.0"}, 426},
		"no upgrade":       {map[string]string{"Connection:": "", "Upgrade:": ""}, 426},
		"another upgrade":  {map[string]string{"Upgrade:": "Upgrade: h2c"}, 426},
		"an older version": {map[string]string{"Sec-WebSocket-Version:": "Sec-WebSocket-Version: 8"}, 426},
		"no version":       {map[string]string{"Sec-WebSocket-Version:": ""}, 426},
		"no key":           {map[string]string{"Sec-WebSocket-Key:": ""}, 400},
		"a key too short":  {map[string]string{"Sec-WebSocket-Key:": "Sec-WebSocket-Key: YQ=="}, 400},
		"a body":           {map[string]string{"Upgrade:": "Upgrade: websocket\r\nContent-Length: 2"}, 400},
		"a chunked body":   {map[string]string{"Upgrade:": "Upgrade: websocket\r\nTransfer-Encoding: chunked"}, 400},
		"a host like no":   {map[string]string{"Host:": "Host: a b"}, 400},
		"two hosts":        {map[string]string{"Host:": "Host: portal.example.com\r\nHost: other.example.com"}, 400},
		"CONNECT":          {map[string]string{"GET": "CONNECT /message/socket HTTP/1.1"}, 405},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			text := handshake(tt.replace)
			switch name {
			case "a body":
				text += "{}"
			case "a chunked body":
				text += "2\r\n{}\r\n0\r\n\r\n"
			}
			resp := raw(t, text)
			if resp.StatusCode != tt.status {
				t.Errorf("status %s, want %d", resp.Status, tt.status)
			}
			if tt.status == 405 && resp.Header.Get("Allow") != "GET" {
				t.Errorf("Allow is %q", resp.Header.Get("Allow"))
			}
			if tt.status == 426 && resp.Header.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("Sec-WebSocket-Version is %q", resp.Header.Get("Sec-WebSocket-Version"))
			}
		})
	}
	witness.ExpectNothing(t)
}

func TestFramesRightBehindTheHandshake(t *testing.T) {
	load(t, portal(""))
	conn := open(t)
	// Both are in one packet: the early bytes must not be lost.
	if _, err := io.WriteString(conn, handshake(nil)+"\x81\x8f\x00\x00\x00\x00"+`{"type":"ping"}`); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	if _, err := http.ReadResponse(r, nil); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for !strings.Contains(all.String(), `{"type":"pong"}`) {
		b, err := r.ReadByte()
		if err != nil {
			t.Fatalf("no pong in %q: %v", all.String(), err)
		}
		all.WriteByte(b)
	}
}

func TestHalfOpenHandshakesHurtNobody(t *testing.T) {
	load(t, portal(""))
	witness := portalHost.Dial(t)
	whole := handshake(nil)
	const halves = 200
	for i := range halves {
		conn := open(t)
		if _, err := io.WriteString(conn, whole[:len(whole)*i/halves]); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 { // connections that break off
		conn := open(t)
		if _, err := io.WriteString(conn, whole); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	useSocketBeside(t, witness)
	witness.ExpectNothing(t)
}

// useSocketBeside connects another client and waits until the witness is alone again.
func useSocketBeside(t *testing.T, witness *ws.Client) {
	t.Helper()
	c := portalHost.Dial(t)
	c.Join(t, "anonymousChat")
	c.Close(t)
	portalHost.Await(t, "users", `{}`, fmt.Sprintf(`{%q:1}`, witness.Welcome.Channel))
}
