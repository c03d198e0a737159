package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// assigned posts to adduser or removeuser. It must succeed.
func assigned(t *testing.T, s ws.Site, endpoint, users string) {
	t.Helper()
	a := s.Request(t, http.MethodPost, "/message/"+endpoint, `{"users":`+users+`}`,
		"Content-Type", "application/json", "X-Api-Key", s.Key)
	if a.Status != http.StatusCreated || a.Header.Get("Rollcall-Complete") != "true" {
		t.Fatalf("%s: status %d: %s", endpoint, a.Status, a.Body)
	}
}

const (
	joinedSales = `{"type":"joined","channel":"salesRoom","kind":"authenticated"}`
	leftSales   = `{"type":"left","channel":"salesRoom","reason":"removed"}`
	salesUser1  = `[{"id":"USER_1","channels":[{"name":"salesRoom","mode":"listen"}]}]`
)

// forgetAssignments removes a test's assignments: the file outlives the test.
func forgetAssignments(t *testing.T, users string) {
	t.Cleanup(func() { assigned(t, portalHost, "removeuser", users) })
}

func TestUserIsAssignedBeforeAndAfterLogin(t *testing.T) {
	load(t, portal(jwtOptions))
	forgetAssignments(t, `[{"id":"USER_1"}]`)
	early := portalHost.Dial(t, login(t, "USER_1", "a@example.com")...)
	other := portalHost.Dial(t, login(t, "USER_2", "b@example.com")...)
	assigned(t, portalHost, "adduser", salesUser1)
	early.Expect(t, joinedSales)
	late := portalHost.Dial(t, login(t, "USER_1", "a@example.com")...)
	late.Expect(t, joinedSales)
	portalHost.Expect(t, "users", `{"channel":"salesRoom","dedupeUsers":false}`, `{"salesRoom":[`+user1+`,`+user1+`]}`)

	// A join by the client is answered as usual.
	late.Ask(t, `{"type":"join","channel":"salesRoom","presence":"list","id":7}`,
		`{"type":"joined","id":7,"channel":"salesRoom","kind":"authenticated","seq":0,"members":[`+user1+`],"count":1}`)
	assigned(t, portalHost, "removeuser", `[{"id":"USER_1","channels":[{"name":"salesRoom"}]}]`)
	early.Expect(t, leftSales)
	late.Expect(t, leftSales)
	other.ExpectNothing(t)
	portalHost.Expect(t, "users", `{"channel":"salesRoom"}`, `{}`)
}

func TestVisitorWhoLogsInIsAssigned(t *testing.T) {
	load(t, portal(jwtOptions))
	forgetAssignments(t, `[{"id":"USER_1"},{"id":"USER_2"}]`)
	assigned(t, portalHost, "adduser", `[{"id":"USER_1","channels":[{"name":"salesRoom"}]},{"id":"USER_2","channels":[{"name":"support"}]}]`)
	c := portalHost.Dial(t)
	c.ExpectNothing(t)
	c.Send(t, `{"type":"authenticate","token":"`+token(t, "USER_1", "a@example.com", 0)+`"}`)
	c.Expect(t, `{"type":"authenticated","user":`+user1+`}`)
	c.Expect(t, joinedSales)
	c.Send(t, `{"type":"authenticate","token":"`+token(t, "USER_2", "b@example.com", 0)+`"}`)
	c.Expect(t, leftSales) // before any frame for the new user
	c.Expect(t, `{"type":"authenticated","user":`+user2+`}`)
	c.Expect(t, `{"type":"joined","channel":"support","kind":"authenticated"}`)
	portalHost.Expect(t, "users", `{"channel":"support"}`, `{"support":[`+user2+`]}`)
}

// A configuration without Rollcall ends its hub, and the assignments in memory.
func TestAssignmentsAreThereAfterAStart(t *testing.T) {
	load(t, portal(jwtOptions))
	forgetAssignments(t, `[{"id":"USER_1"}]`)
	assigned(t, portalHost, "adduser", salesUser1)
	reload(t, caddyfile("", ""))
	load(t, portal(jwtOptions))
	c := portalHost.Dial(t, login(t, "USER_1", "a@example.com")...)
	c.Expect(t, joinedSales)
}

func TestAssignmentSleepsAndAwakesWithTheRules(t *testing.T) {
	open := portal(jwtOptions + "\nchannels {\nanonymous salesRoom\n}")
	load(t, open)
	forgetAssignments(t, `[{"id":"USER_1"}]`)
	a := portalHost.Request(t, http.MethodPost, "/message/adduser", `{"users":`+salesUser1+`}`, "X-Api-Key", apiKey)
	if a.Status != http.StatusBadRequest || !strings.Contains(a.Body, `"code":"bad_channel","channel":"salesRoom"`) {
		t.Errorf("status %d: %s", a.Status, a.Body)
	}
	reload(t, portal(jwtOptions))
	assigned(t, portalHost, "adduser", salesUser1)
	reload(t, open)
	c := portalHost.Dial(t, login(t, "USER_1", "a@example.com")...)
	c.ExpectNothing(t)
	reload(t, portal(jwtOptions))
	c.Expect(t, joinedSales)
}

func TestAssignmentsBelongToTheirHost(t *testing.T) {
	load(t, portal(jwtOptions)+strings.ReplaceAll(otherSite, "rollcall {", "rollcall {\n"+jwtOptions))
	forgetAssignments(t, `[{"id":"USER_1"}]`)
	assigned(t, portalHost, "adduser", salesUser1)
	c := otherHost.Dial(t, login(t, "USER_1", "a@example.com")...)
	c.ExpectNothing(t)
	assigned(t, otherHost, "removeuser", `[{"id":"USER_1"}]`)
	mine := portalHost.Dial(t, login(t, "USER_1", "a@example.com")...)
	mine.Expect(t, joinedSales)
}
