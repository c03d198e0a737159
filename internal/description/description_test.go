package description

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/rollcall-gateway/rollcall/caddymodule/routes"
	"github.com/rollcall-gateway/rollcall/docs"
)

func answer(kind string, fields ...string) http.Header {
	h := http.Header{"Content-Type": {kind}}
	for i := 0; i < len(fields); i += 2 {
		h.Set(fields[i], fields[i+1])
	}
	return h
}

func TestExchange(t *testing.T) {
	whole := answer("application/json", "Rollcall-Complete", "true")
	none := answer("")
	const key = `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"no","code":"bad_key"}`
	const bad = `{"type":"about:blank","title":"Bad Request","status":400,"detail":"channel must be a string","code":"bad_value"}`
	for name, test := range map[string]struct {
		Exchange
		wrong string // part of the error; "" for none
	}{
		"the seed":             {Exchange{Request: `{"channel":"a"}`, Status: 200, Header: whole, Response: `{"tab|abc123":{"id":"U","email":"p@example.com"},"salesRoom":[{"id":"U","email":""}],"anonymousChat":3}`}, ""},
		"no body":              {Exchange{Status: 200, Header: whole, Response: `{}`}, ""},
		"an unknown field":     {Exchange{Request: `{"other":1}`, Status: 200, Header: whole, Response: `{}`}, ""},
		"an error":             {Exchange{Request: `{"channel":1}`, Status: 401, Header: answer("application/problem+json"), Response: key}, ""},
		"another handler":      {Exchange{Status: 200, Header: none}, ""},
		"another path":         {Exchange{Path: "/other/users", Status: 200, Header: whole, Response: `[]`}, ""},
		"no endpoint":          {Exchange{Path: "/message/other", Status: 404, Header: answer("text/plain")}, ""},
		"shaped":               {Exchange{Status: 200, Header: whole, Response: `[1]`, Shaped: true}, ""},
		"user_info of Pusher":  {Exchange{Status: 200, Header: whole, Response: `{"a":[{"id":"U","email":"","info":"any"}]}`}, ""},
		"another method":       {Exchange{Method: http.MethodGet, Status: 405, Header: answer("application/problem+json"), Response: `{}`}, ""},
		"a new endpoint":       {Exchange{Path: "/message/new", Status: 200, Header: whole, Response: `{}`}, "no such operation"},
		"a refused value":      {Exchange{Request: `{"channel":1}`, Status: 400, Header: answer("application/problem+json"), Response: bad}, ""},
		"refused for nothing":  {Exchange{Request: `{"channel":"a"}`, Status: 400, Header: answer("application/problem+json"), Response: bad}, "the request was refused, but fits"},
		"a wrong request":      {Exchange{Request: `{"channel":1}`, Status: 200, Header: whole, Response: `{}`}, "the request was accepted"},
		"two wishes":           {Exchange{Request: `{"channel":"a","limit":1}`, Status: 200, Header: whole, Response: `{}`}, "the request was accepted"},
		"a user without email": {Exchange{Status: 200, Header: whole, Response: `{"a":[{"id":"U"}]}`}, "missing property"},
		"a new field":          {Exchange{Status: 200, Header: whole, Response: `{"a":[{"id":"U","email":"","name":""}]}`}, "additional properties"},
		"two users of a tab":   {Exchange{Status: 200, Header: whole, Response: `{"tab|a":2}`}, "tab|a"},
		"no JSON":              {Exchange{Status: 200, Header: whole, Response: `{}{}`}, "not JSON"},
		"another status":       {Exchange{Status: 201, Header: whole, Response: `{}`}, "no such status"},
		"no completeness":      {Exchange{Status: 200, Header: answer("application/json"), Response: `{}`}, "Rollcall-Complete is missing"},
		"odd completeness":     {Exchange{Status: 200, Header: answer("application/json", "Rollcall-Complete", "maybe"), Response: `{}`}, "Rollcall-Complete"},
		"a new header":         {Exchange{Status: 200, Header: answer("application/json", "Rollcall-Complete", "true", "Rollcall-New", "1"), Response: `{}`}, "Rollcall-New is unknown"},
		"a new code":           {Exchange{Status: 401, Header: answer("application/problem+json"), Response: strings.Replace(key, "bad_key", "new", 1)}, "code"},
		"an error as JSON":     {Exchange{Status: 401, Header: answer("application/json"), Response: key}, "want application/problem+json"},
	} {
		t.Run(name, func(t *testing.T) {
			e := test.Exchange
			e.Method = cmp.Or(e.Method, http.MethodPost)
			if e.Path == "" {
				e.Path = "/message/users?x=1"
			}
			expectError(t, e.Check(), test.wrong)
		})
	}
}

func TestSocket(t *testing.T) {
	for name, test := range map[string]struct {
		sent, received, wrong, accepted string
	}{
		"join":                    {`{"type":"join","channel":"a","other":1}`, `{"type":"joined","channel":"a","kind":"anonymous"}`, "", ""},
		"both statuses":           {`{"type":"status","status":null}`, `{"type":"status","status":{"a":1}}`, "", ""},
		"refused":                 {`{"type":"shout"}`, `{"type":"error","code":"unknown_type","message":"no"}`, "", ""},
		"accepted":                {`{"type":"shout"}`, `{"type":"pong"}`, "", "shout"},
		"wrong ID":                {`{"type":"ping","id":true}`, `{"type":"pong"}`, "", "ping"},
		"not UTF-8":               {"{\"type\":\"ping\",\"id\":\"\xff\"}", `{"type":"pong"}`, "", "UTF-8"},
		"a new key":               {`{"type":"ping"}`, `{"type":"pong","new":1}`, "additional properties", ""},
		"a new type":              {`{"type":"ping"}`, `{"type":"new"}`, "unknown", ""},
		"a count without a seq":   {`{"type":"ping"}`, `{"type":"joined","channel":"a","kind":"anonymous","count":1}`, "seq", ""},
		"presence without a list": {`{"type":"ping"}`, `{"type":"presence","channel":"a","seq":1,"count":1}`, "joined", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var s Socket
			s.Sent(test.sent)
			expectError(t, s.Received(test.received), test.wrong)
			expectError(t, s.Accepted(), test.accepted)
		})
	}
}

func expectError(t *testing.T, err error, part string) {
	t.Helper()
	if (err == nil) != (part == "") || err != nil && !strings.Contains(err.Error(), part) {
		t.Errorf("got the error %v, want %q", err, part)
	}
}

// TestPaths checks that the paths are those that Rollcall claims, and its own.
func TestPaths(t *testing.T) {
	d, err := newDocument(docs.OpenAPI, jsonschema.Draft2020)
	if err != nil {
		t.Fatal(err)
	}
	paths, _ := d.at("/paths")
	got := slices.Sorted(maps.Keys(paths))
	want := append(routes.Endpoints{}.Paths(), "/openapi.yaml")
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("docs/openapi.yaml describes\n%q, want\n%q", got, want)
	}
}

// TestExamples checks that the examples in both files fit their schemas.
func TestExamples(t *testing.T) {
	for name, file := range map[string]struct {
		text  string
		draft *jsonschema.Draft
		least int
	}{
		"openapi":  {docs.OpenAPI, jsonschema.Draft2020, 17},
		"asyncapi": {docs.AsyncAPI, jsonschema.Draft7, 16},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := newDocument(file.text, file.draft)
			if err != nil {
				t.Fatal(err)
			}
			found := 0
			check := func(place string, example any) {
				found++
				schema, err := d.compile(open, place)
				if err == nil {
					err = schema.Validate(example)
				}
				if err != nil {
					t.Errorf("the example of %s: %v", place, err)
				}
			}
			var walk func(place string, value any)
			walk = func(place string, value any) {
				o, _ := value.(object)
				for key, item := range o {
					walk(place+"/"+escape(key), item)
				}
				if example, ok := o["example"]; ok {
					check(place+"/schema", example)
				}
				examples, _ := o["examples"].([]any)
				for _, e := range examples {
					check(place+"/payload", e.(object)["payload"])
				}
			}
			walk("", d.root)
			if found < file.least {
				t.Errorf("only %d examples found", found)
			}
		})
	}
}

// TestFilesHaveNoEmptyValues finds descriptions without quotes whose comma begins another key.
func TestFilesHaveNoEmptyValues(t *testing.T) {
	var walk func(t *testing.T, place string, value any)
	walk = func(t *testing.T, place string, value any) {
		switch v := value.(type) {
		case nil:
			t.Errorf("%s has no value", place)
		case []any:
			for _, item := range v {
				walk(t, place, item)
			}
		case object:
			for key, item := range v {
				if !strings.HasPrefix(key, "example") {
					walk(t, place+"/"+escape(key), item)
				}
			}
		}
	}
	for name, text := range map[string]string{"openapi": docs.OpenAPI, "asyncapi": docs.AsyncAPI} {
		t.Run(name, func(t *testing.T) {
			d, err := newDocument(text, jsonschema.Draft2020)
			if err != nil {
				t.Fatal(err)
			}
			walk(t, "", d.root)
		})
	}
}

// TestUnseen notes one operation and one frame.
func TestUnseen(t *testing.T) {
	seen.Clear()
	raw, err := json.Marshal(Unseen())
	if err != nil || !strings.Contains(string(raw), `"POST /leave"`) || !strings.Contains(string(raw), `"frame welcome"`) {
		t.Errorf("unseen are %s", raw)
	}
	e := Exchange{
		Method: http.MethodPost, Path: "/message/leave", Request: `{"users":["ada"],"channels":["a"]}`,
		Status: 200, Header: answer("application/json", "Rollcall-Complete", "true"), Response: `{"left":1}`,
	}
	if err := e.Check(); err != nil {
		t.Error(err)
	}
	var s Socket
	if err := s.Received(`{"type":"welcome","connection":"KVISVn8QQ4TXUCYAyAiukg","channel":"tab|KVISVn8QQ4TXUCYAyAiukg","user":null,"ping":0.5}`); err != nil {
		t.Error(err)
	}
	if raw, _ := json.Marshal(Unseen()); strings.Contains(string(raw), "leave\"") && strings.Contains(string(raw), "POST /leave") || strings.Contains(string(raw), "frame welcome") {
		t.Errorf("unseen are %s", raw)
	}
}
