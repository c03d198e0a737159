package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// expectProblem checks all parts of a problem.
func expectProblem(t *testing.T, a ws.Answer, status int, code string) {
	t.Helper()
	var p struct {
		Type, Title, Detail, Code string
		Status                    int
	}
	if err := json.Unmarshal([]byte(a.Body), &p); err != nil {
		t.Fatalf("status %d with %q, want a problem: %v", a.Status, a.Body, err)
	}
	if a.Status != status || p.Status != status || p.Code != code {
		t.Errorf("status %d with %s, want %d %s", a.Status, a.Body, status, code)
	}
	if p.Type != "about:blank" || p.Title != http.StatusText(status) || p.Detail == "" {
		t.Errorf("%s lacks type, title or detail", a.Body)
	}
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type is %q", got)
	}
	if got := a.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control is %q", got)
	}
}

func TestEndpointErrors(t *testing.T) {
	load(t, portal(""))
	const withKey = `{"apiKey":"` + apiKey + `",`
	long := strings.Repeat("x", 70<<10)
	tests := map[string]struct {
		method string
		body   string
		header []string
		status int
		code   string
	}{
		"GET":                      {method: "GET", status: 405, code: "method_not_allowed"},
		"DELETE":                   {method: "DELETE", status: 405, code: "method_not_allowed"},
		"OPTIONS":                  {method: "OPTIONS", status: 405, code: "method_not_allowed"},
		"not JSON":                 {body: `{"apiKey":`, status: 400, code: "bad_json"},
		"two values":               {body: `{} {}`, status: 400, code: "bad_json"},
		"an array":                 {body: `[]`, status: 400, code: "bad_json"},
		"null":                     {body: `null`, status: 400, code: "bad_json"},
		"apiKey a number":          {body: `{"apiKey":1}`, status: 400, code: "bad_value"},
		"apiKey null":              {body: `{"apiKey":null}`, status: 400, code: "bad_value"},
		"channel a number":         {body: withKey + `"channel":7}`, status: 400, code: "bad_value"},
		"dedupeUsers a string":     {body: withKey + `"dedupeUsers":"no"}`, status: 400, code: "bad_value"},
		"requireComplete a number": {body: withKey + `"requireComplete":1}`, status: 400, code: "bad_value"},
		"unknown scope":            {body: withKey + `"scope":"galaxy"}`, status: 400, code: "bad_value"},
		"body too large":           {body: withKey + `"x":"` + long + `"}`, status: 413, code: "too_large"},
		"a form": {
			body: "apiKey=" + apiKey, header: []string{"Content-Type", "application/x-www-form-urlencoded"},
			status: 415, code: "not_json",
		},
		"bad Content-Type": {body: `{}`, header: []string{"Content-Type", ";;"}, status: 415, code: "not_json"},
		"wrong key":        {body: `{"apiKey":"nearly"}`, status: 401, code: "bad_key"},
		"missing key":      {body: `{}`, status: 401, code: "bad_key"},
		"empty key":        {body: `{"apiKey":""}`, status: 401, code: "bad_key"},
		"wrong key in the header": {
			header: []string{"X-Api-Key", "nearly"}, status: 401, code: "bad_key",
		},
		"wrong key in the body, right one in the header": {
			body: `{"apiKey":"nearly"}`, header: []string{"X-Api-Key", apiKey}, status: 401, code: "bad_key",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			method := tt.method
			if method == "" {
				method = http.MethodPost
			}
			a := portalHost.Request(t, method, "/message/users", tt.body, tt.header...)
			expectProblem(t, a, tt.status, tt.code)
			if allow := a.Header.Get("Allow"); (tt.status == 405) != (allow == "POST") {
				t.Errorf("Allow is %q", allow)
			}
			for _, sent := range []string{"nearly", apiKey} {
				if strings.Contains(a.Body, sent) {
					t.Errorf("the answer holds a key: %s", a.Body)
				}
			}
		})
	}
	t.Run("includeUsers a string", func(t *testing.T) {
		a := portalHost.Request(t, "POST", "/message/allusers", withKey+`"includeUsers":"yes"}`)
		expectProblem(t, a, 400, "bad_value")
	})
}

func TestWrongAndMissingKeysGetTheSameAnswer(t *testing.T) {
	load(t, portal(""))
	missing := portalHost.Request(t, "POST", "/message/users", `{}`)
	wrong := portalHost.Request(t, "POST", "/message/users", `{"apiKey":"wrong"}`)
	missing.Header.Del("Date")
	wrong.Header.Del("Date")
	if missing.Body != wrong.Body || missing.Status != wrong.Status {
		t.Errorf("missing: %d %s, wrong: %d %s", missing.Status, missing.Body, wrong.Status, wrong.Body)
	}
	for field := range missing.Header {
		if missing.Header.Get(field) != wrong.Header.Get(field) {
			t.Errorf("%s differs: %q and %q", field, missing.Header.Get(field), wrong.Header.Get(field))
		}
	}
}

func TestAPIKeys(t *testing.T) {
	hash := sha256.Sum256([]byte("BFAPI_hashed"))
	tests := map[string]struct {
		option string
		status map[string]int // by key; "" for none
	}{
		"several": {
			"api_key BFAPI_old BFAPI_new",
			map[string]int{"BFAPI_old": 200, "BFAPI_new": 200, "BFAPI_old BFAPI_new": 401, "": 401},
		},
		"hash": {
			"api_key sha256:" + hex.EncodeToString(hash[:]),
			map[string]int{"BFAPI_hashed": 200, hex.EncodeToString(hash[:]): 401, "": 401},
		},
		"off":  {"api_key off", map[string]int{"": 200, "anything": 200, "off": 200}},
		"none": {"", map[string]int{"": 401, "off": 401}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			load(t, caddyfile("", "http://portal.example.com:9080 {\n rollcall {\n "+tt.option+"\n }\n}\n"))
			for key, want := range tt.status {
				header := []string{}
				body := `{}`
				if key != "" {
					header = append(header, "X-Api-Key", key)
					body = `{"apiKey":` + strconv.Quote(key) + `}`
				}
				if a := portalHost.Request(t, "POST", "/message/users", "", header...); a.Status != want {
					t.Errorf("%q in the header: status %d, want %d", key, a.Status, want)
				}
				if a := portalHost.Request(t, "POST", "/message/users", body); a.Status != want {
					t.Errorf("%q in the body: status %d, want %d", key, a.Status, want)
				}
			}
		})
	}
}

func TestTooManyBadKeysAreStopped(t *testing.T) {
	const other = "http://%s:9080 {\n rollcall {\n api_key %s\n }\n}\n"
	load(t, portal("")+fmt.Sprintf(other, "*.example.com", apiKey)+fmt.Sprintf(other, "other.example.org", "BFAPI_other"))
	var last ws.Answer
	for range 30 {
		last = portalHost.Request(t, "POST", "/message/users", `{"apiKey":"wrong"}`)
		if last.Status != http.StatusUnauthorized {
			break
		}
	}
	expectProblem(t, last, http.StatusTooManyRequests, "too_many_bad_keys")
	if seconds, err := strconv.Atoi(last.Header.Get("Retry-After")); err != nil || seconds < 1 || seconds > 60 {
		t.Errorf("Retry-After is %q", last.Header.Get("Retry-After"))
	}
	right := portalHost.Request(t, "POST", "/message/users", "", "X-Api-Key", apiKey)
	expectProblem(t, right, http.StatusTooManyRequests, "too_many_bad_keys")

	same := portalHost
	same.Host = "same.example.com" // another site with the same key
	blocked := same.Request(t, "POST", "/message/users", "", "X-Api-Key", apiKey)
	expectProblem(t, blocked, http.StatusTooManyRequests, "too_many_bad_keys")
	reload(t, portal("ping 10s"))
	blocked = portalHost.Request(t, "POST", "/message/users", "", "X-Api-Key", apiKey)
	expectProblem(t, blocked, http.StatusTooManyRequests, "too_many_bad_keys")
	reload(t, portal("")+fmt.Sprintf(other, "other.example.org", "BFAPI_other"))
	ws.Site{URL: siteURL, Host: "other.example.org", Key: "BFAPI_other"}.Expect(t, "users", `{}`, `{}`)
}

func TestClientsBehindATrustedProxyAreToldApart(t *testing.T) {
	load(t, caddyfile("servers {\n trusted_proxies static 127.0.0.1/32\n }", portalSite("")))
	for range 30 {
		portalHost.Request(t, "POST", "/message/users", `{"apiKey":"wrong"}`, "X-Forwarded-For", "192.0.2.1")
	}
	blocked := portalHost.Request(t, "POST", "/message/users", "", "X-Api-Key", apiKey, "X-Forwarded-For", "192.0.2.1")
	expectProblem(t, blocked, http.StatusTooManyRequests, "too_many_bad_keys")
	a := portalHost.Request(t, "POST", "/message/users", "", "X-Api-Key", apiKey, "X-Forwarded-For", "192.0.2.2")
	if a.Status != http.StatusOK {
		t.Errorf("another client: status %d: %s", a.Status, a.Body)
	}
}
