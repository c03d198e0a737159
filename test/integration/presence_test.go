package integration

import (
	"fmt"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

func TestWatchersHearWhoComesAndGoes(t *testing.T) {
	load(t, portal(jwtOptions))
	watcher := portalHost.Dial(t, login(t, "USER_1", "a@example.com")...)
	watcher.Ask(t, `{"type":"join","channel":"salesRoom","presence":"list","id":"j"}`,
		`{"type":"joined","id":"j","channel":"salesRoom","kind":"authenticated","seq":0,"members":[`+user1+`],"count":1}`)
	counter := portalHost.Dial(t, login(t, "USER_1", "a@example.com")...)
	counter.Ask(t, `{"type":"join","channel":"salesRoom","presence":"count"}`,
		`{"type":"joined","channel":"salesRoom","kind":"authenticated","seq":0,"count":1}`)
	watcher.ExpectNothing(t) // a second tab is no new user

	tab1 := portalHost.Dial(t, login(t, "USER_2", "b@example.com")...)
	tab1.Join(t, "salesRoom")
	joined := `{"type":"presence","channel":"salesRoom","seq":1,"joined":[` + user2 + `],"left":[],"count":2}`
	watcher.Expect(t, joined)
	counter.Send(t, `{"type":"ping"}`)
	var heard struct {
		Type       string
		Seq, Count int
	}
	decode(t, counter.Next(t), &heard)
	if heard.Type != "presence" || heard.Seq != 1 || heard.Count != 2 {
		t.Errorf("the watcher of the count received %+v", heard)
	}
	counter.Expect(t, `{"type":"pong"}`)

	tab2 := portalHost.Dial(t, login(t, "USER_2", "b@example.com")...)
	tab2.Ask(t, `{"type":"join","channel":"salesRoom","presence":"list"}`,
		`{"type":"joined","channel":"salesRoom","kind":"authenticated","seq":1,"members":[`+user1+`,`+user2+`],"count":2}`)
	tab1.Ask(t, `{"type":"leave","channel":"salesRoom"}`, `{"type":"left","channel":"salesRoom"}`)
	tab1.ExpectNothing(t)
	watcher.ExpectNothing(t) // the other tab is still there

	tab2.Close(t)
	watcher.Expect(t, `{"type":"presence","channel":"salesRoom","seq":2,"joined":[],"left":[`+user2+`],"count":1}`)

	watcher.Ask(t, `{"type":"leave","channel":"salesRoom"}`, `{"type":"left","channel":"salesRoom"}`)
	tab1.Join(t, "salesRoom")
	watcher.ExpectNothing(t)
}

func TestWatchersOfAnAnonymousChannelHearCounts(t *testing.T) {
	load(t, portal(jwtOptions))
	watcher := portalHost.Dial(t)
	watcher.Ask(t, `{"type":"join","channel":"anonymousChat","presence":"list"}`,
		`{"type":"joined","channel":"anonymousChat","kind":"anonymous","seq":0,"count":1}`)
	user := portalHost.Dial(t, login(t, "USER_1", "a@example.com")...)
	user.Join(t, "anonymousChat")
	watcher.Expect(t, `{"type":"presence","channel":"anonymousChat","seq":1,"joined":[],"left":[],"count":2}`)
	user.Close(t)
	watcher.Expect(t, `{"type":"presence","channel":"anonymousChat","seq":2,"joined":[],"left":[],"count":1}`)
}

func TestLeavingByBreakingOff(t *testing.T) {
	load(t, portal(jwtOptions))
	watcher := portalHost.Dial(t, login(t, "USER_1", "a@example.com")...)
	watcher.Ask(t, `{"type":"join","channel":"salesRoom","presence":"list"}`,
		`{"type":"joined","channel":"salesRoom","kind":"authenticated","seq":0,"members":[`+user1+`],"count":1}`)
	other := portalHost.Dial(t, login(t, "USER_2", "b@example.com")...)
	other.Join(t, "salesRoom")
	watcher.Expect(t, `{"type":"presence","channel":"salesRoom","seq":1,"joined":[`+user2+`],"left":[],"count":2}`)
	_ = other.Conn.NetConn().Close()
	watcher.Expect(t, `{"type":"presence","channel":"salesRoom","seq":2,"joined":[],"left":[`+user2+`],"count":1}`)
}

func TestSilentClientsAreDropped(t *testing.T) {
	load(t, portal("ping 200ms 700ms"))
	alive := portalHost.Dial(t)
	answering := make(chan struct{})
	go func() { // reads, which answers pings; ends with the connection
		defer close(answering)
		_, _, _ = alive.Conn.ReadMessage()
	}()
	silent := portalHost.Dial(t) // reads nothing from now on, so it answers no ping
	both := fmt.Sprintf(`{%q:1,%q:1}`, alive.Welcome.Channel, silent.Welcome.Channel)
	if diff := ws.Diff(portalHost.Answer(t, "users", `{}`), both); diff != "" {
		t.Error(diff)
	}
	portalHost.Await(t, "users", `{}`, fmt.Sprintf(`{%q:1}`, alive.Welcome.Channel))
	_ = alive.Conn.Close()
	<-answering
}

func TestAuthenticateInPlace(t *testing.T) {
	load(t, portal(jwtOptions))
	watcher := portalHost.Dial(t, login(t, "USER_1", "a@example.com")...)
	watcher.Ask(t, `{"type":"join","channel":"salesRoom","presence":"list"}`,
		`{"type":"joined","channel":"salesRoom","kind":"authenticated","seq":0,"members":[`+user1+`],"count":1}`)

	c := portalHost.Dial(t)
	c.Join(t, "anonymousChat")
	c.Ask(t, `{"type":"authenticate","token":"`+token(t, "USER_2", "b@example.com", 0)+`"}`,
		`{"type":"authenticated","user":`+user2+`}`)
	c.Join(t, "salesRoom")
	watcher.Expect(t, `{"type":"presence","channel":"salesRoom","seq":1,"joined":[`+user2+`],"left":[],"count":2}`)
	portalHost.Expect(t, "users", `{}`, fmt.Sprintf(`{%q:%s,%q:%s,"salesRoom":[%s,%s],"anonymousChat":1}`,
		watcher.Welcome.Channel, user1, c.Welcome.Channel, user2, user1, user2))

	const user2New = `{"id":"USER_2","email":"new@example.com"}`
	c.Ask(t, `{"type":"authenticate","token":"`+token(t, "USER_2", "new@example.com", 0)+`"}`,
		`{"type":"authenticated","user":`+user2New+`}`)
	watcher.Expect(t, `{"type":"presence","channel":"salesRoom","seq":2,"joined":[],"left":[],"updated":[`+user2New+`],"count":2}`)

	const user3 = `{"id":"USER_3","email":"c@example.com"}`
	c.Ask(t, `{"type":"authenticate","token":"`+token(t, "USER_3", "c@example.com", 0)+`"}`,
		`{"type":"authenticated","user":`+user3+`}`)
	watcher.Expect(t, `{"type":"presence","channel":"salesRoom","seq":3,"joined":[`+user3+`],"left":[`+user2New+`],"count":2}`)
	portalHost.Expect(t, "allusers", `{"includeUsers":true}`,
		`{"us-east-1":{"authenticated":[`+user1+`,`+user3+`],"authenticatedCount":2,"anonymous":0},
		  "_total":{"authenticated":2,"anonymous":0}}`)
}
