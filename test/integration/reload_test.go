package integration

import (
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

const otherSite = "http://other.example.com:9080 {\n rollcall {\n api_key " + apiKey + "\n }\n}\n"

var otherHost = ws.Site{URL: siteURL, Host: "other.example.com:9080", Key: apiKey}

// room has connections with channels and watchers, which a reload must not touch.
type room struct {
	crowd *ws.Crowd
	// Answers of the endpoints.
	users, allUsers string
}

const (
	roomUsers    = 20
	roomVisitors = 10
)

// fill connects users, which listen to one channel and watch another, and visitors.
func fill(t *testing.T) *room {
	t.Helper()
	r := &room{crowd: ws.Gather(t, roomUsers+roomVisitors, func(i int) ws.Plan {
		p := ws.Plan{Request: portalHost.Socket(), Joins: []string{
			`{"type":"join","channel":"anonymousChat","presence":"count"}`,
		}}
		if i < roomUsers {
			raw := token(t, fmt.Sprintf("USER_%d", i/2), "", 0)
			p.Request.Header = ws.Header("Authorization", "Bearer "+raw)
			p.Joins = append(p.Joins, `{"type":"join","channel":"salesRoom","presence":"list"}`)
		}
		return p
	})}
	r.crowd.Settle(t)
	r.users = portalHost.Answer(t, "users", `{"dedupeUsers":false}`)
	r.allUsers = portalHost.Answer(t, "allusers", `{"includeUsers":true,"dedupeUsers":false}`)
	return r
}

// expectUntouched checks that no connection in the room notices a change.
func (r *room) expectUntouched(t *testing.T, do func()) {
	t.Helper()
	presence, other := r.crowd.Heard()
	do()
	if open := r.crowd.Open(); open != len(r.crowd.Members) {
		t.Fatalf("%d of %d connections are open", open, len(r.crowd.Members))
	}
	r.crowd.Settle(t)
	if p, o := r.crowd.Heard(); p != presence || o != other {
		t.Errorf("%d presence frames and %d others came", p-presence, o-other)
	}
	portalHost.Expect(t, "users", `{"dedupeUsers":false}`, r.users)
	portalHost.Expect(t, "allusers", `{"includeUsers":true,"dedupeUsers":false}`, r.allUsers)
}

func TestReloadTouchesNoConnection(t *testing.T) {
	load(t, portal(jwtOptions))
	r := fill(t)

	t.Run("same configuration", func(t *testing.T) {
		r.expectUntouched(t, func() { reload(t, portal(jwtOptions)) })
	})
	t.Run("changed options", func(t *testing.T) {
		r.expectUntouched(t, func() {
			reload(t, portal(jwtOptions+"ping 10s 20s\n limits {\n queue 128KiB\n channels_per_connection 5\n }"))
		})
	})
	t.Run("host added", func(t *testing.T) {
		r.expectUntouched(t, func() { reload(t, portal(jwtOptions)+otherSite) })
		otherHost.Dial(t).ExpectNothing(t)
	})
	t.Run("host removed", func(t *testing.T) {
		leaving := otherHost.Dial(t)
		leaving.Join(t, "anonymousChat")
		r.expectUntouched(t, func() { reload(t, portal(jwtOptions)) })
		ws.ExpectClose(t, leaving.Conn, websocket.CloseGoingAway)
	})
	t.Run("Caddyfile that cannot be parsed", func(t *testing.T) {
		r.expectUntouched(t, func() { reloadFails(t, portal("colour red"), "colour") })
	})
	t.Run("option that cannot be provisioned", func(t *testing.T) {
		r.expectUntouched(t, func() { reloadFails(t, portal("origins nonsense"), "nonsense") })
		r.expectUntouched(t, func() {
			reloadFails(t, portal(jwtOptions)+strings.Replace(otherSite, "api_key",
				"origins nonsense\n api_key", 1), "nonsense")
		})
	})
}

// If an app of a new configuration does not start, the whole configuration is rolled back. Apps
// start in random order, so this is repeated until Rollcall has certainly been started before the
// failure.
func TestReloadThatFailsToStart(t *testing.T) {
	load(t, portal(jwtOptions))
	r := fill(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	broken := portal(jwtOptions+"channels {\n authenticated anonymous*\n }") +
		"http://" + taken.Addr().String() + " {\n respond 204\n}\n"
	for range 10 {
		r.expectUntouched(t, func() { reloadFails(t, broken, "address already in use") })
	}
	visitor := portalHost.Dial(t)
	visitor.Join(t, "anonymousOther") // the old rules still apply
	visitor.Close(t)
	portalHost.Await(t, "users", `{"channel":"anonymousOther"}`, `{}`)
	r.expectUntouched(t, func() { reload(t, portal(jwtOptions)) })
}

func TestReloadClassifiesAnew(t *testing.T) {
	load(t, portal(jwtOptions))
	visitor := portalHost.Dial(t)
	visitor.Join(t, "anonymousChat")
	visitor.Join(t, "anonymousOther")
	user := portalHost.Dial(t, login(t, "USER_1", "a@example.com")...)
	user.Join(t, "anonymousChat")

	reload(t, portal(jwtOptions+"channels {\n authenticated anonymousChat\n }"))
	visitor.Expect(t, `{"type":"left","channel":"anonymousChat","reason":"denied"}`)
	visitor.ExpectNothing(t)
	user.ExpectNothing(t)
	portalHost.Expect(t, "users", `{}`, fmt.Sprintf(`{%q:1,%q:%s,"anonymousChat":[%s],"anonymousOther":1}`,
		visitor.Welcome.Channel, user.Welcome.Channel, user1, user1))
	visitor.Send(t, `{"type":"join","channel":"anonymousChat"}`)
	visitor.ExpectError(t, "", "login_required")

	reload(t, portal(jwtOptions))
	visitor.Join(t, "anonymousChat")
	user.ExpectNothing(t)
	portalHost.Expect(t, "users", `{"channel":"anonymousChat"}`, `{"anonymousChat":2}`)
}

func TestReloadTellsWatchersTheKind(t *testing.T) {
	load(t, portal(jwtOptions))
	watcher := portalHost.Dial(t, login(t, "USER_1", "a@example.com")...)
	watcher.Ask(t, `{"type":"join","channel":"anonymousChat","presence":"list"}`,
		`{"type":"joined","channel":"anonymousChat","kind":"anonymous","seq":0,"count":1}`)
	reload(t, portal(jwtOptions+"channels {\n authenticated anonymousChat\n }"))
	watcher.Expect(t, `{"type":"presence","channel":"anonymousChat","seq":1,"kind":"authenticated","joined":[`+user1+`],"left":[],"count":1}`)
	reload(t, portal(jwtOptions))
	watcher.Expect(t, `{"type":"presence","channel":"anonymousChat","seq":2,"kind":"anonymous","joined":[],"left":[`+user1+`],"count":1}`)
	reload(t, portal(jwtOptions+"ping 20s"))
	watcher.ExpectNothing(t)
}

// The limits and keys in effect apply to open connections, too.
func TestReloadChangesOpenConnections(t *testing.T) {
	load(t, portal(jwtOptions))
	c := portalHost.Dial(t)
	raw := token(t, "USER_1", "a@example.com", 0)

	reload(t, portal("limits {\n frame 1KiB\n channels_per_connection 1\n }"))
	c.Join(t, "anonymous1")
	c.Send(t, `{"type":"join","channel":"anonymous2"}`)
	c.ExpectError(t, "", "too_many_channels")
	c.Send(t, `{"type":"authenticate","token":"`+raw+`"}`)
	c.ExpectError(t, "", "bad_token")

	reload(t, portal(jwtOptions))
	c.Ask(t, `{"type":"authenticate","token":"`+raw+`"}`, `{"type":"authenticated","user":`+user1+`}`)
	c.Join(t, "anonymous2")
}

func TestReloadThatRemovesTheHost(t *testing.T) {
	load(t, portal(jwtOptions)+otherSite)
	stays, leaves := otherHost.Dial(t), portalHost.Dial(t)
	reload(t, caddyfile("", otherSite))
	ws.ExpectClose(t, leaves.Conn, websocket.CloseGoingAway)
	stays.ExpectNothing(t)

	// The site still exists, but without Rollcall.
	reload(t, caddyfile("", otherSite+"http://portal.example.com:9080 {\n respond 204\n}\n"))
	stays.ExpectNothing(t)
	reload(t, portal(jwtOptions)+otherSite)
	back := portalHost.Dial(t)
	reload(t, caddyfile("", otherSite+"http://portal.example.com:9080 {\n respond 204\n}\n"))
	ws.ExpectClose(t, back.Conn, websocket.CloseGoingAway)
	stays.ExpectNothing(t)
}

func TestReloadThatRemovesRollcall(t *testing.T) {
	load(t, portal(jwtOptions))
	r := fill(t)
	reload(t, caddyfile("", "http://portal.example.com:9080 {\n respond 204\n}\n"))
	for i, end := range r.crowd.AwaitEnds(t, ws.Patience) {
		if !websocket.IsCloseError(end, websocket.CloseGoingAway) {
			t.Errorf("connection %d ended with: %v", i, end)
		}
	}
	reload(t, portal(jwtOptions))
	portalHost.Dial(t).ExpectNothing(t)
	portalHost.Expect(t, "allusers", `{}`,
		`{"us-east-1":{"authenticated":0,"anonymous":1},"_total":{"authenticated":0,"anonymous":1}}`)
}

func TestReloadWhileOthersConnect(t *testing.T) {
	load(t, portal(jwtOptions))
	r := fill(t)
	done := make(chan error, 1)
	go func() {
		for i := range 20 {
			options := jwtOptions + fmt.Sprintf("ping %ds", 20+i)
			if status, body, err := post(portal(options)); err != nil || status != http.StatusOK {
				done <- fmt.Errorf("reload %d: status %d: %s (%w)", i, status, body, err)
				return
			}
		}
		done <- nil
	}()
	busy := true
	for busy {
		c := portalHost.Dial(t)
		c.Join(t, "anonymousOther")
		c.Close(t)
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			busy = false
		default:
		}
	}
	portalHost.Await(t, "users", `{"channel":"anonymousOther"}`, `{}`)
	portalHost.Await(t, "users", `{"dedupeUsers":false}`, r.users)
	r.expectUntouched(t, func() {})
}

func TestReloadsLeaveNothingBehind(t *testing.T) {
	load(t, portal(jwtOptions))
	r := fill(t)
	variants := []string{
		portal(jwtOptions), portal(jwtOptions + "ping 20s 30s"), portal(jwtOptions) + otherSite,
	}
	round := func() {
		for _, text := range variants {
			reload(t, text)
		}
		reloadFails(t, portal("origins nonsense"), "nonsense")
	}
	for range 3 { // caches and pools fill
		round()
	}
	goroutines, heap := usage(t, 0)
	r.expectUntouched(t, func() {
		for range 10 {
			round()
		}
	})
	const slack = 10
	afterGoroutines, afterHeap := usage(t, goroutines+slack)
	t.Logf("goroutines %d, then %d; heap %d KiB, then %d KiB", goroutines, afterGoroutines, heap>>10, afterHeap>>10)
	if afterGoroutines > goroutines+slack {
		t.Errorf("%d goroutines, before the reloads %d", afterGoroutines, goroutines)
	}
	const most = 2 << 20 // bytes; one configuration holds more
	if afterHeap > heap+most {
		t.Errorf("%d KiB of heap, before the reloads %d", afterHeap>>10, heap>>10)
	}
}

// usage returns the number of goroutines and the heap in use, after the goroutines have come down
// to a number, or stay the same.
func usage(t *testing.T, goroutines int) (int, uint64) {
	t.Helper()
	var m runtime.MemStats
	last, same := 0, 0
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		<-tick.C
		n := runtime.NumGoroutine()
		if n != last {
			last, same = n, 0
		}
		if same++; n <= goroutines || same == 20 {
			break
		}
	}
	runtime.GC()
	runtime.GC() // the second frees what pools held
	runtime.ReadMemStats(&m)
	return last, m.HeapAlloc
}
