package caddymodule

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/caddymodule/answer"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Whatever happens between two requests, a cached answer is the same as a new one.
func TestAnswersThatAreKeptAreAnswersMadeAnew(t *testing.T) {
	h := loadHandler(t, "api_key off\nchannels {\n\tanonymous open*\n\t}")
	const portal = "portal.example.com"
	channels := []string{"room", `odd "name" \ é`, "open house", "small"}
	var conns []*presence.Conn
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 0))
		user := func() presence.User {
			n := rng.IntN(400)
			return presence.User{ID: "user" + strconv.Itoa(n), Email: []string{"", "a@x", `"é"@x`, strconv.Itoa(n)}[rng.IntN(4)]}
		}
		for range 1500 {
			switch n := rng.IntN(10); {
			case len(conns) < 300 || n == 0:
				u := user()
				conns = append(conns, arrive(t, h, portal, u.ID, u.Email, channels[0], channels[rng.IntN(3)]))
			case n == 1:
				conns = append(conns, arrive(t, h, portal, "", "", "open house"))
			case n < 4:
				i := rng.IntN(len(conns))
				conns[i].Close()
				conns = slices.Delete(conns, i, i+1)
			case n < 6:
				if err := conns[rng.IntN(len(conns))].Authenticate(user(), nil); err != nil {
					t.Fatal(err)
				}
			case n < 8:
				_ = conns[rng.IntN(len(conns))].Leave(channels[rng.IntN(len(channels))], "") // fails if it has not joined
			default:
				_ = conns[rng.IntN(len(conns))].Join(channels[rng.IntN(len(channels))], presence.WatchNone, "") // fails at a limit
			}
			if rng.IntN(10) == 0 {
				sameAnswers(t, h, channels[rng.IntN(len(channels))])
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	}
}

// sameAnswers compares answers with those for sites with plugins.
func sameAnswers(t *testing.T, h *Handler, channel string) {
	t.Helper()
	host := h.app.hub.Registry.Host(testkit.MustHost(t, "portal.example.com"))
	var one []presence.Listing
	if l, ok := host.Channel(channel, presence.PerUser); ok {
		one = append(one, l)
	}
	users, stats := host.Users(presence.PerUser)
	all := answer.DataCenter{Name: "local", Authenticated: stats.Users, Anonymous: stats.Anonymous, Users: users}
	for _, test := range []struct {
		path, body string
		want       []byte
	}{
		{"users", `{}`, answer.AppendListings(nil, host.Channels(presence.PerUser))},
		{"users", `{"channel":` + strconv.Quote(channel) + `}`, answer.AppendListings(nil, one)},
		{"allusers", `{"includeUsers":true}`, slices.Concat(answer.AllUsers([]answer.DataCenter{all})...)},
	} {
		w := post(t, h, "/message/"+test.path, test.body)
		if w.Code != http.StatusOK || w.Body.String() != string(test.want) {
			t.Errorf("%s %s: status %d\ngot  %s\nwant %s", test.path, test.body, w.Code, w.Body, test.want)
		}
		if got := w.Header().Get("Content-Length"); got != strconv.Itoa(w.Body.Len()) {
			t.Errorf("%s %s: Content-Length %s of %d bytes", test.path, test.body, got, w.Body.Len())
		}
	}
}

// hall is a host with a number of users, spread evenly over a number of channels.
func hall(b *testing.B, users, channels int) (*Handler, *presence.Host, []*presence.Conn) {
	b.Helper()
	h := loadHandler(b, "api_key off\nlimits {\n\tconnections_per_host 200000\n\t}")
	conns := make([]*presence.Conn, users)
	for i := range conns {
		u := presence.User{ID: fmt.Sprintf("user%06d", i), Email: fmt.Sprintf("user%06d@example.com", i)}
		conn, err := h.app.hub.Registry.Connect(testkit.MustHost(b, "portal.example.com"), h.rollcall.Site.Rules(), &u, sink{})
		if err != nil {
			b.Fatal(err)
		}
		if err := conn.Join(fmt.Sprintf("room%d", i%channels), presence.WatchNone, ""); err != nil {
			b.Fatal(err)
		}
		conns[i] = conn
	}
	b.Cleanup(func() {
		for _, c := range conns {
			c.Close()
		}
	})
	return h, h.app.hub.Registry.Host(testkit.MustHost(b, "portal.example.com")), conns
}

// gauge is a response that counts its bytes.
type gauge struct {
	header http.Header
	bytes  int64
}

func (c *gauge) Header() http.Header         { return c.header }
func (c *gauge) WriteHeader(int)             {}
func (c *gauge) Write(b []byte) (int, error) { c.bytes += int64(len(b)); return len(b), nil }

// BenchmarkUsers answers /message/users: from the cache, with an empty cache, for plugins, and by
// encoding/json as the baseline. It ends before the socket.
func BenchmarkUsers(b *testing.B) {
	for _, size := range []struct{ users, channels int }{{1000, 1}, {15_000, 1}, {100_000, 100}} {
		b.Run(fmt.Sprintf("%d in %d", size.users, size.channels), func(b *testing.B) {
			h, host, conns := hall(b, size.users, size.channels)
			w := &gauge{header: make(http.Header)}
			ask := func() {
				r, _ := http.NewRequest(http.MethodPost, "http://portal.example.com/message/users", strings.NewReader("{}"))
				w.bytes = 0
				if err := h.ServeHTTP(w, prepare(w, r), notFound); err != nil {
					b.Fatal(err)
				}
			}
			ask()
			length := w.bytes
			turn := 0
			for _, bb := range []struct {
				name    string
				prepare func()
				f       func()
			}{
				{"kept", nil, ask},
				{"fresh", func() { // a user in each chunk gets another e-mail
					turn++
					for i := 0; i < len(conns); i += 64 {
						u, _ := conns[i].User()
						if err := conns[i].Authenticate(presence.User{ID: u.ID, Email: fmt.Sprintf("%c%s", 'a'+turn%2, u.Email[1:])}, nil); err != nil {
							b.Fatal(err)
						}
					}
				}, ask},
				{"copied", nil, func() { answer.AppendListings(nil, host.Channels(presence.PerUser)) }},
				{"encoding_json", nil, func() { appendByReflection(b, host.Channels(presence.PerUser)) }},
			} {
				b.Run(bb.name, func(b *testing.B) {
					b.SetBytes(length)
					b.ReportAllocs()
					for b.Loop() {
						if bb.prepare != nil {
							b.StopTimer()
							bb.prepare()
							b.StartTimer()
						}
						bb.f()
					}
				})
			}
		})
	}
}

// appendByReflection makes the answer in the simple way.
func appendByReflection(b *testing.B, list []presence.Listing) []byte {
	b.Helper()
	type user struct {
		ID    string `json:"id"`
		Email string `json:"email"`
	}
	answer := make(map[string]any, len(list))
	for _, l := range list {
		users := make([]user, len(l.Users))
		for i, u := range l.Users {
			users[i] = user{u.ID, u.Email}
		}
		switch {
		case l.Kind == presence.Private && len(users) > 0:
			answer[l.Channel] = users[0]
		case l.Named():
			answer[l.Channel] = users
		default:
			answer[l.Channel] = l.Count
		}
	}
	text, err := json.Marshal(answer)
	if err != nil {
		b.Fatal(err)
	}
	return text
}
