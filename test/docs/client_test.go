package docs

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"
)

const patience = 10 * time.Second

// client is a websocket connection.
type client struct {
	name  string
	ws    *websocket.Conn
	early []string // frames that came before frames that are shown before them
}

func (s *server) connect(t *testing.T, name string) *client {
	t.Helper()
	return s.connectAt(t, name, "/message/socket")
}

func (s *server) connectAt(t *testing.T, name, path string) *client {
	t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{"rollcall.v1"}, HandshakeTimeout: patience}
	ws, _, err := dialer.Dial("ws://"+s.addr+path, nil)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	return &client{name: name, ws: ws}
}

func (c *client) send(t *testing.T, frame string) {
	t.Helper()
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
}

func (c *client) receive(t *testing.T) string {
	t.Helper()
	_ = c.ws.SetReadDeadline(time.Now().Add(patience))
	_, frame, err := c.ws.ReadMessage()
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	return string(frame)
}

// next returns the wanted frame if it comes next, or after at most ahead others; otherwise, the
// frame that comes.
func (c *client) next(t *testing.T, want string, ahead int) string {
	t.Helper()
	if i := slices.Index(c.early, want); i >= 0 {
		c.early = slices.Delete(c.early, i, i+1)
		return want
	}
	for {
		got := canonical(t, c.receive(t))
		if got == want || len(c.early) >= ahead {
			return got
		}
		c.early = append(c.early, got)
	}
}

// expect receives a frame of the given type.
func (c *client) expect(t *testing.T, kind string) {
	t.Helper()
	frame := c.receive(t)
	if !strings.HasPrefix(frame, `{"type":"`+kind+`"`) {
		t.Fatalf("%s: got %s, want type %s", c.name, frame, kind)
	}
}

// enter opens the connections of a serve comment. A user logs in by token, or by the query if the
// Caddyfile reads it. Each is a user, empty for an anonymous one, and
// channels.
func (s *server) enter(t *testing.T, clients []string) {
	t.Helper()
	for _, who := range clients {
		if strings.Contains(who, "@") {
			s.enterPusher(t, who)
			continue
		}
		name, channels, _ := strings.Cut(who, ":")
		path := "/message/socket"
		if s.byQuery {
			path += "?user=" + name
		}
		c := s.connectAt(t, name, path)
		c.expect(t, "welcome")
		if name != "" && !s.byQuery {
			c.send(t, `{"type":"authenticate","token":"`+sign(t, name)+`"}`)
			c.expect(t, "authenticated")
		}
		for channel := range strings.SplitSeq(channels, ",") {
			if channel != "" {
				c.send(t, `{"type":"join","channel":"`+channel+`"}`)
				c.expect(t, "joined")
			}
		}
		// Reading answers pings: the commands of a page can take longer than a client may be
		// silent.
		_ = c.ws.SetReadDeadline(time.Time{})
		go func() { // ends with the connection, which the cleanup closes
			for {
				if _, _, err := c.ws.ReadMessage(); err != nil {
					return
				}
			}
		}()
	}
}

// sign returns a token for a user.
func sign(t *testing.T, name string) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": name, "email": name + "@example.com", "exp": time.Now().Add(time.Hour).Unix()}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(jwtSecret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

var (
	shownToken = regexp.MustCompile(`"eyJ[^"]*"`)
	connection = regexp.MustCompile(`("connection": ?)"[^"]*"`)
)

// canonical rewrites JSON so that equivalent texts are equal: it replaces the IDs of connections
// with one ID and sorts arrays, because the order of users is not significant.
func canonical(t *testing.T, text string) string {
	t.Helper()
	text = connection.ReplaceAllString(text, `$1"ID"`)
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, text)
	}
	out, err := json.MarshalIndent(ordered(v), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// ordered joins the private channels of an object under one key, because their names are random.
func ordered(v any) any {
	switch v := v.(type) {
	case map[string]any:
		var tabs []any
		for key, value := range v {
			v[key] = ordered(value)
			if strings.HasPrefix(key, "tab|") {
				delete(v, key)
				tabs = append(tabs, ordered(value))
			}
		}
		if tabs != nil {
			v["tab|"] = ordered(tabs)
		}
	case []any:
		for i := range v {
			v[i] = ordered(v[i])
		}
		sortByText(v)
	case string:
		if strings.HasPrefix(v, "tab|") {
			return "tab|ID"
		}
	}
	return v
}
