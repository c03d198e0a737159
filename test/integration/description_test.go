package integration

import (
	"io"
	"net/http"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/description"
)

// TestEverythingIsDescribed calls each endpoint, and sends and receives each type of frame. Package
// ws compares them with docs/openapi.yaml and docs/asyncapi.yaml, here as in all tests; an
// operation or a message of these files that does not occur here is one that Rollcall does not
// have.
func TestEverythingIsDescribed(t *testing.T) {
	load(t, portal(jwtOptions))
	forgetAssignments(t, `[{"id":"USER_1"}]`)
	one := portalHost.Dial(t)
	one.Ask(t, `{"type":"authenticate","token":"`+token(t, "USER_1", "a@example.com", 0)+`","id":1}`,
		`{"type":"authenticated","id":1,"user":`+user1+`}`)
	one.Ask(t, `{"type":"join","channel":"salesRoom","presence":"list","id":2}`,
		`{"type":"joined","id":2,"channel":"salesRoom","kind":"authenticated","seq":0,"members":[`+user1+`],"count":1}`)
	two := portalHost.Dial(t, login(t, "USER_2", "b@example.com")...)
	two.Join(t, "salesRoom")
	one.Expect(t, `{"type":"presence","channel":"salesRoom","seq":1,"joined":[`+user2+`],"left":[],"count":2}`)
	one.Ask(t, `{"type":"send","channels":["salesRoom"],"message":{"text":"hello"},"echo":false,"id":3}`, `{"type":"sent","id":3}`)
	two.Expect(t, `{"type":"message","channel":"salesRoom","from":`+user1+`,"message":{"text":"hello"}}`)
	two.Ask(t, `{"type":"status","status":{"away":true}}`, `{"type":"status","status":{"away":true}}`)
	two.Ask(t, `{"type":"ping"}`, `{"type":"pong"}`)
	two.Send(t, `{"type":"shout"}`)
	two.ExpectError(t, "", "unknown_type")
	two.Ask(t, `{"type":"leave","channel":"salesRoom"}`, `{"type":"left","channel":"salesRoom"}`)

	for endpoint, body := range map[string]string{
		"users": `{}`, "allusers": `{"includeUsers":true}`, "channels": `{"scope":"all"}`,
		"sendmessage": `{"users":["nobody"],"message":{}}`,
		"adduser":     `{"users":[{"id":"USER_3","channels":[]}]}`, "removeuser": `{"users":[{"id":"USER_3"}]}`,
		"online": `{"users":["USER_1","USER_3"]}`, "leave": `{"users":["USER_3"],"channels":["salesRoom"]}`,
		"disconnect": `{"users":["USER_3"],"reason":"bye"}`,
	} {
		portalHost.Answer(t, endpoint, body)
	}
	for _, file := range []string{"client.js", "client.d.ts", "openapi.yaml"} {
		portalHost.Request(t, http.MethodGet, "/message/"+file, "")
	}
	handshake := description.Exchange{
		Method: http.MethodGet, Path: "/message/socket", Status: two.Response.StatusCode, Header: two.Response.Header,
	}
	if err := handshake.Check(); err != nil {
		t.Error(err)
	}
	for _, what := range description.Unseen() {
		t.Errorf("docs/openapi.yaml or docs/asyncapi.yaml describes what no test has seen: %s", what)
	}
}

// TestSiteHasAnOpenAPIFileOfItsOwn checks that a site may answer the path of the description
// itself, unlike that of an endpoint.
func TestSiteHasAnOpenAPIFileOfItsOwn(t *testing.T) {
	load(t, caddyfile("", `http://portal.example.com:9080 {
		handle /message/openapi.yaml {
			respond own
		}
		handle /message/* {
			rollcall {
				api_key `+apiKey+`
			}
		}
	}`))
	// Not by the helpers, which would compare it with the description.
	r, err := http.NewRequest(http.MethodGet, siteURL+"/message/openapi.yaml", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = portalHost.Host
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "own" {
		t.Errorf("status %d: %.100s %v", resp.StatusCode, body, err)
	}
	portalHost.Expect(t, "users", `{}`, `{}`)
}
