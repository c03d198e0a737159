package docs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/token"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// The app on docs/pusher.md.
const (
	pusherKey    = "demo-app"
	pusherSecret = "demo-app-secret-0123456789"
)

// pusherClient is a websocket connection of Pusher's protocol.
type pusherClient struct {
	client
	socket string // its socket_id
}

// pusherFrame is a frame in either direction. Data is an object, or a text that holds one.
type pusherFrame struct {
	Event   string          `json:"event"`
	Channel string          `json:"channel,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	UserID  string          `json:"user_id,omitempty"`
}

// connectPusher opens a connection, and returns it with its first frame.
func (s *server) connectPusher(t *testing.T, name string) (*pusherClient, string) {
	t.Helper()
	dialer := websocket.Dialer{HandshakeTimeout: patience}
	ws, resp, err := dialer.Dial("ws://"+s.addr+"/app/"+pusherKey+"?protocol=7&client=js&version=8.6.0", http.Header{})
	if err != nil {
		t.Fatalf("%s: %v %v", name, err, resp)
	}
	t.Cleanup(func() { _ = ws.Close() })
	c := &pusherClient{client: client{name: name, ws: ws}}
	first := c.receive(t)
	var established struct {
		SocketID string `json:"socket_id"`
	}
	var f pusherFrame
	var text string
	if err := json.Unmarshal([]byte(first), &f); err != nil || json.Unmarshal(f.Data, &text) != nil || json.Unmarshal([]byte(text), &established) != nil {
		t.Fatalf("%s: the first frame is %s", name, first)
	}
	c.socket = established.SocketID
	return c, first
}

// sign returns the auth of a frame for this connection.
func (c *pusherClient) sign(text string) string {
	mac := hmac.New(sha256.New, []byte(pusherSecret))
	mac.Write([]byte(c.socket + ":" + text))
	return pusherKey + ":" + hex.EncodeToString(mac.Sum(nil))
}

// ask sends a frame, and receives frames until the event that answers it.
func (c *pusherClient) ask(t *testing.T, event string, data any, answer string) {
	t.Helper()
	raw, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	c.send(t, fmt.Sprintf(`{"event":%q,"data":%s}`, event, raw))
	for {
		frame := c.receive(t)
		var f pusherFrame
		if err := json.Unmarshal([]byte(frame), &f); err != nil {
			t.Fatalf("%s: %v: %s", c.name, err, frame)
		}
		switch f.Event {
		case answer:
			return
		case "pusher:error", "pusher:subscription_error":
			t.Fatalf("%s: %s", c.name, frame)
		}
	}
}

// enterPusher opens a connection of a serve comment: NAME@CHANNELS, or NAME!@CHANNELS for one that
// signs in.
func (s *server) enterPusher(t *testing.T, who string) {
	t.Helper()
	name, channels, _ := strings.Cut(who, "@")
	name, signedIn := strings.CutSuffix(name, "!")
	c, _ := s.connectPusher(t, name)
	info := ""
	if signedIn {
		info = fmt.Sprintf(`,"user_info":{"email":"%s@example.com"}`, name)
		data := fmt.Sprintf(`{"id":%q%s}`, name, info)
		c.ask(t, "pusher:signin", map[string]string{"auth": c.sign(":user::" + data), "user_data": data}, "pusher:signin_success")
	}
	for channel := range strings.SplitSeq(channels, ",") {
		data := map[string]string{"channel": channel}
		switch {
		case strings.HasPrefix(channel, "presence-"):
			data["channel_data"] = fmt.Sprintf(`{"user_id":%q%s}`, name, info)
			data["auth"] = c.sign(channel + ":" + data["channel_data"])
		case strings.HasPrefix(channel, "private-"):
			data["auth"] = c.sign(channel)
		}
		c.ask(t, "pusher:subscribe", data, "pusher_internal:subscription_succeeded")
	}
}

// signed replaces SIGNATURE in a frame.
func (c *pusherClient) signed(t *testing.T, frame string) string {
	t.Helper()
	var f struct {
		Data struct {
			Channel     string `json:"channel"`
			ChannelData string `json:"channel_data"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(frame), &f); err != nil {
		t.Fatalf("%v: %s", err, frame)
	}
	text := f.Data.Channel
	if f.Data.ChannelData != "" {
		text += ":" + f.Data.ChannelData
	}
	return strings.ReplaceAll(frame, pusherKey+":SIGNATURE", c.sign(text))
}

var (
	socketID  = regexp.MustCompile(`"[0-9]+\.[0-9]+"`)
	errorText = regexp.MustCompile(`"error":"(\\.|[^"\\])*"`)
)

// canonicalPusher is canonical for a frame of Pusher's protocol, whose data is JSON in a string.
func canonicalPusher(t *testing.T, frame string) string {
	t.Helper()
	var f map[string]any
	if err := json.Unmarshal([]byte(frame), &f); err != nil {
		t.Fatalf("%v: %s", err, frame)
	}
	if text, ok := f["data"].(string); ok {
		text = errorText.ReplaceAllString(socketID.ReplaceAllString(text, `"ID"`), `"error":"..."`)
		var data any
		if err := json.Unmarshal([]byte(text), &data); err != nil {
			t.Fatalf("the data is not JSON: %s", frame)
		}
		f["data"] = map[string]any{"text": data}
	}
	out, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return canonical(t, string(out))
}

// playPusher plays the next text block over Pusher's protocol.
func (p page) playPusher(t *testing.T, s *server, o order) {
	t.Helper()
	script := p.blockAt(t, o, 0, "text")
	clients := make(map[string]*pusherClient)
	for i, line := range strings.Split(script.text, "\n") {
		at := block{line: script.line + 1 + i}
		name, frame, ok := strings.Cut(line, " ")
		if !ok || len(name) < 2 {
			t.Fatalf("%s:%d: neither NAME> nor NAME<: %s", p.name, at.line, line)
		}
		frame = strings.TrimSpace(frame)
		name, direction := name[:len(name)-1], name[len(name)-1]
		c, first := clients[name], ""
		if c == nil {
			c, first = s.connectPusher(t, name)
			clients[name] = c
		}
		switch {
		case direction == '>':
			c.send(t, c.signed(t, frame))
		case first != "":
			p.same(t, at, canonicalPusher(t, first), canonicalPusher(t, frame))
		case direction == '<':
			p.same(t, at, canonicalPusher(t, c.receive(t)), canonicalPusher(t, frame))
		default:
			t.Fatalf("%s:%d: neither NAME> nor NAME<: %s", p.name, at.line, line)
		}
	}
	// No other frames came than those on the page.
	for _, c := range clients {
		c.send(t, `{"event":"pusher:ping"}`)
		p.same(t, script, c.receive(t), `{"event":"pusher:pong","data":"{}"}`)
	}
}

// TestPusherPageHasTheTestedApp compares the app on the page with that of these tests.
func TestPusherPageHasTheTestedApp(t *testing.T) {
	p := readPage(t, "docs/pusher.md")
	if !slices.ContainsFunc(p.blocks, func(b block) bool {
		return b.lang == "caddyfile" && strings.Contains(b.text, "app 101 "+pusherKey+" "+pusherSecret+"\n")
	}) {
		t.Errorf("%s has no app with the key %s", p.name, pusherKey)
	}
}

// TestPusherPageOptionsConnect connects pusher-js with the options on the page, but without TLS.
func TestPusherPageOptionsConnect(t *testing.T) {
	p := readPage(t, "docs/pusher.md")
	block := func(lang string) string {
		t.Helper()
		i := slices.IndexFunc(p.blocks, func(b block) bool { return b.lang == lang })
		if i < 0 {
			t.Fatalf("%s has no block of %s", p.name, lang)
		}
		return p.blocks[i].text
	}
	s := serve(t, block("caddyfile"), "")
	host, port, _ := strings.Cut(s.addr, ":")
	options := block("js")
	for old, replacement := range map[string]string{"portal.example.com": host, "forceTLS: true": "forceTLS: false, wsPort: " + port} {
		if !strings.Contains(options, old) {
			t.Fatalf("the options have no %q", old)
		}
		options = strings.ReplaceAll(options, old, replacement)
	}
	cmd := exec.Command("node", "--input-type=module")
	cmd.Dir, cmd.Stdin = s.home, strings.NewReader(fmt.Sprintf(`
import Pusher from "pusher-js";
const pusher = new Pusher(%q, { cluster: "any", %s
});
pusher.connection.bind("error", (e) => { console.error(JSON.stringify(e)); process.exit(1); });
pusher.subscribe("news").bind("pusher:subscription_succeeded", () => { console.log("subscribed"); pusher.disconnect(); });
setTimeout(() => process.exit(1), 20_000).unref();
`, pusherKey, options))
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "subscribed\n" {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestPusherCodesAreDocumented covers the codes of close frames and of pusher:error, and the types
// of refused subscriptions.
func TestPusherCodesAreDocumented(t *testing.T) {
	code := regexp.MustCompile(`^(close|code)[A-Z]`)
	kind := regexp.MustCompile(`^type[A-Z]`)
	var names []string
	inspect(t, "caddymodule/pusher", func(n ast.Node) {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) == 0 {
			return
		}
		for i, name := range spec.Names {
			l, ok := spec.Values[i].(*ast.BasicLit)
			switch {
			case !ok:
			case code.MatchString(name.Name) && l.Kind == token.INT:
				names = append(names, l.Value)
			case kind.MatchString(name.Name):
				text, _ := literal(l)
				names = append(names, text)
			}
		}
	})
	documented(t, "docs/pusher.md", names, 13)
}
