package caddymodule

import (
	"net/http"
	"strings"
	"testing"
)

// The process lists at most 7 users here, as many as there are entries.
func TestAnswersThatWouldBeTooLong(t *testing.T) {
	h := mustLoad(t, "http://portal.example.com {\n\trollcall {\n\t\tapi_key k\n\t}\n}").handler(t)
	loadedProcess().api.MaxListed = 7
	const host = "portal.example.com"
	arrive(t, h, host, "ada", "", "room", "anonymous-1")
	arrive(t, h, host, "grace", "", "room")
	arrive(t, h, host, "", "", "anonymous-1")
	const users, allUsers = "/message/users", "/message/allusers"
	check := func(path, body string, want int) {
		t.Helper()
		w := post(t, h, path, `{"apiKey":"k"`+body+`}`)
		switch {
		case want == http.StatusRequestEntityTooLarge:
			checkProblem(t, w, want, "too_large")
		case w.Code != want:
			t.Errorf("%s %s: %d %s", path, body, w.Code, w.Body)
		}
	}
	check(users, ``, http.StatusOK) // room 2, anonymous-1 1, private channels 3
	arrive(t, h, host, "ada", "", "room")
	check(users, ``, http.StatusOK)
	check(users, `,"dedupeUsers":false`, http.StatusRequestEntityTooLarge) // room 3
	arrive(t, h, host, "", "")
	const all = http.StatusRequestEntityTooLarge
	check(users, ``, all)
	check(users, `,"scope":"all"`, all)
	check(users, `,"prefix":"tab|"`, http.StatusOK)
	check(users, `,"prefix":"room"`, http.StatusOK)
	check(users, `,"limit":100`, http.StatusOK)
	check(users, `,"channel":"room"`, http.StatusOK)
	if w := post(t, h, users, `{"apiKey":"k"}`); !strings.Contains(w.Body.String(), "8 users and channels") {
		t.Errorf("problem %s", w.Body)
	}

	check(allUsers, `,"includeUsers":true`, http.StatusOK)
	loadedProcess().api.MaxListed = 2
	check(allUsers, `,"includeUsers":true`, http.StatusOK)
	check(allUsers, `,"includeUsers":true,"dedupeUsers":false`, all)
	loadedProcess().api.MaxListed = 1
	check(allUsers, `,"includeUsers":true`, all)
	check(allUsers, ``, http.StatusOK)
}
