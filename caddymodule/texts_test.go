package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// entrance is a way by which a text enters. It reports whether it accepts the text.
type entrance struct {
	name string
	open func(t *testing.T, text string) bool
}

type textCase struct {
	name, text string
	want       bool
}

// textCases are the texts that every entrance gets; most is the maximum length in bytes.
func textCases(most int) []textCase {
	return []textCase{
		{"one letter", "a", true},
		{"longest", strings.Repeat("a", most), true},
		{"longest, in two bytes a letter", strings.Repeat("é", most/2), true},
		{"one byte too long", strings.Repeat("a", most+1), false},
		{"too long, with as many letters as bytes are allowed", strings.Repeat("é", most), false},
		{"a space, a quote and a backslash", ` "\`, true},
		{"U+0000", "a\x00b", false},
		{"U+001F", "a\u001fb", false},
		{"U+007F", "a\u007fb", false},
		{"U+0080", "a\u0080b", false},
		{"U+0085, the next line", "a\u0085b", false},
		{"U+009F", "a\u009fb", false},
		{"U+00A0, a space that does not break", "a\u00a0b", true},
		{"U+200E, the mark left to right", "a\u200eb", true},
		{"U+2028, the line separator", "a\u2028b", true},
		{"U+FFFD, which replaces what is not Unicode", "a\ufffdb", false},
		{"U+10FFFF", "a\U0010ffffb", true},
	}
}

// tryDoors checks that all entrances agree about all texts.
func tryDoors(t *testing.T, cases []textCase, doors []entrance) {
	t.Helper()
	for _, d := range doors {
		t.Run(d.name, func(t *testing.T) {
			for _, tt := range cases {
				if got := d.open(t, tt.text); got != tt.want {
					t.Errorf("%s: let in %t, want %t", tt.name, got, tt.want)
				}
			}
		})
	}
}

// quoted returns a text as JSON.
func quoted(t *testing.T, text string) string {
	t.Helper()
	b, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var fromPod = message.Sender{DataCenter: "dc", Pod: "web-1", Incarnation: message.Incarnation{Started: 1, Random: 1}, Seq: 1}

// sent reports whether a pod sends a message with the text.
func sent(t *testing.T, with func(text string) message.Message, text string) bool {
	t.Helper()
	_, err := message.NewCodec("").Append(nil, "subject", fromPod, with(text))
	return err == nil
}

// received reports whether a pod accepts a message with the text from a pod that does not check it.
func received(t *testing.T, with func(text string) message.Message, text string) bool {
	t.Helper()
	codec, most := message.NewCodec(""), min(len(text), 200)
	// A placeholder of the same length is encoded and then replaced, and with it the length of a
	// text that is too long.
	pad := strings.Repeat("x", most)
	payload, err := codec.Append(nil, "subject", fromPod, with(pad))
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := bytes.Cut(payload, append(varint(most), pad...))
	if !ok {
		t.Fatal("the text is not in the payload")
	}
	payload = append(bytes.Clone(before), varint(len(text))...)
	payload = append(append(payload, text...), after...)
	_, _, err = codec.Decode("subject", payload)
	return err == nil
}

func varint(n int) []byte {
	var b []byte
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// A user that one entrance accepts can be listed, assigned to channels and sent to other pods.
func TestAllDoorsAgreeOnUserIDs(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	h := loadHandler(t, "api_key k\nuser {http.request.header.Test-User}\njwt {\nkey "+tokenSecret+"\n}")
	portal := testkit.MustHost(t, "portal.example.com")
	login := func(key, value string) bool {
		r := httptest.NewRequest(http.MethodGet, "http://portal.example.com/message/socket", http.NoBody)
		r.Header.Set(key, value)
		l, p := h.rollcall.Site.Login(prepare(httptest.NewRecorder(), r), testkit.MustHost(t, "portal.example.com"))
		return p == nil && l.User != nil
	}
	explained := func(text string) message.Message {
		return &message.Query{ID: 1, Kind: message.KindExplain, Host: portal, User: text}
	}
	joined := func(text string) message.Message {
		return &message.Delta{Host: portal, Channel: "sales", Parts: 1, Delta: presence.Delta{
			Clock: 1, Conns: 1, Joined: []presence.Member{{User: presence.User{ID: text}}},
		}}
	}
	tryDoors(t, textCases(presence.MaxUserID), []entrance{
		{"token", func(t *testing.T, text string) bool {
			return login("Authorization", "Bearer "+signedToken(t, jwt.MapClaims{"sub": text}))
		}},
		{"authentication handler", func(_ *testing.T, text string) bool { return login("Test-User", text) }},
		{"adduser", func(t *testing.T, text string) bool {
			w := post(t, h, "/message/adduser", `{"apiKey":"k","users":[{"id":`+quoted(t, text)+`,"channels":[{"name":"sales"}]}]}`)
			return w.Code == http.StatusCreated
		}},
		{"explain", func(_ *testing.T, text string) bool {
			status, _, _ := adminExplain(nil, httptest.NewRequest(http.MethodGet,
				"/rollcall/explain?host=portal.example.com&user="+url.QueryEscape(text), http.NoBody))
			return status == http.StatusOK
		}},
		{"question to pods", func(t *testing.T, text string) bool { return sent(t, explained, text) }},
		{"question of a pod", func(t *testing.T, text string) bool { return received(t, explained, text) }},
		{"change to pods", func(t *testing.T, text string) bool { return sent(t, joined, text) }},
		{"change on a pod", func(t *testing.T, text string) bool { return received(t, joined, text) }},
		{"assignment of a pod", func(t *testing.T, text string) bool { return merged(t, portal, text, "sales") }},
	})
}

// merged reports whether a book accepts a record of another pod.
func merged(t *testing.T, host presence.HostName, user, channel string) bool {
	t.Helper()
	b := assignment.NewBook(1, nil)
	r := assignment.Record{Host: host, User: user, Channel: channel, Mode: assignment.Listen, Version: assignment.Version{Clock: 1 << 60}}
	_, _ = b.Merge([]assignment.Record{r}) // the book has no file
	return b.Len() == 1
}

func TestAllDoorsAgreeOnAddresses(t *testing.T) {
	h := loadHandler(t, "user {http.request.header.Test-User} {http.request.header.Test-Email}\njwt {\nkey "+tokenSecret+"\n}")
	login := func(t *testing.T, header ...string) bool {
		t.Helper()
		r := httptest.NewRequest(http.MethodGet, "http://portal.example.com/message/socket", http.NoBody)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		l, p := h.rollcall.Site.Login(prepare(httptest.NewRecorder(), r), testkit.MustHost(t, "portal.example.com"))
		return p == nil && l.User != nil
	}
	joined := func(text string) message.Message {
		return &message.Delta{Host: testkit.MustHost(t, "portal.example.com"), Channel: "sales", Parts: 1, Delta: presence.Delta{
			Clock: 1, Conns: 1, Joined: []presence.Member{{User: presence.User{ID: "ada", Email: text}, Seen: 1}},
		}}
	}
	tryDoors(t, textCases(presence.MaxEmail), []entrance{
		{"token", func(t *testing.T, text string) bool {
			return login(t, "Authorization", "Bearer "+signedToken(t, jwt.MapClaims{"sub": "ada", "email": text}))
		}},
		{"authentication handler", func(t *testing.T, text string) bool { return login(t, "Test-User", "ada", "Test-Email", text) }},
		{"change to pods", func(t *testing.T, text string) bool { return sent(t, joined, text) }},
		{"change on a pod", func(t *testing.T, text string) bool { return received(t, joined, text) }},
	})
}

func TestAllDoorsAgreeOnChannels(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	h := loadHandler(t, fmt.Sprintf("api_key k\nlimits {\nchannel_name %d\n}", presence.MaxChannelName))
	portal := testkit.MustHost(t, "portal.example.com")
	conn, _ := attend(t, h, "ada")
	counted := func(text string) message.Message {
		return &message.Query{ID: 1, Kind: message.KindUsers, Host: portal, Channel: text}
	}
	joined := func(text string) message.Message {
		return &message.Delta{Host: portal, Channel: text, Parts: 1, Delta: presence.Delta{Clock: 1, Conns: 1}}
	}
	tryDoors(t, textCases(presence.MaxChannelName), []entrance{
		{"join", func(t *testing.T, text string) bool {
			if err := conn.Join(text, presence.WatchNone, ""); err != nil {
				return false
			}
			if err := conn.Leave(text, ""); err != nil {
				t.Error(err)
			}
			return true
		}},
		{"adduser", func(t *testing.T, text string) bool {
			w := post(t, h, "/message/adduser", `{"apiKey":"k","users":[{"id":"bob","channels":[{"name":`+quoted(t, text)+`}]}]}`)
			return w.Code == http.StatusCreated
		}},
		{"sendmessage", func(t *testing.T, text string) bool {
			w := post(t, h, "/message/sendmessage", `{"apiKey":"k","channels":[`+quoted(t, text)+`],"message":{}}`)
			return w.Code == http.StatusCreated
		}},
		{"question to pods", func(t *testing.T, text string) bool { return sent(t, counted, text) }},
		{"question of a pod", func(t *testing.T, text string) bool { return received(t, counted, text) }},
		{"change to pods", func(t *testing.T, text string) bool { return sent(t, joined, text) }},
		{"change on a pod", func(t *testing.T, text string) bool { return received(t, joined, text) }},
		{"assignment of a pod", func(t *testing.T, text string) bool { return merged(t, portal, "ada", text) }},
	})
}
