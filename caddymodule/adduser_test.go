package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// attend connects a user of the portal, as a session would.
func attend(t *testing.T, h *Handler, id string) (*presence.Conn, *testkit.Ear) {
	t.Helper()
	e := new(testkit.Ear)
	conn, err := h.app.hub.Registry.Connect(testkit.MustHost(t, "portal.example.com"), h.rollcall.Site.Rules(), &presence.User{ID: id}, e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	h.app.hub.Assignments.Joiner.JoinAssigned(conn)
	return conn, e
}

// wantCreated posts a request, whose answer must be 201 with the users.
func wantCreated(t *testing.T, h *Handler, endpoint, users string, ids ...string) {
	t.Helper()
	w := post(t, h, "/message/"+endpoint, `{"apiKey":"k","users":`+users+`}`)
	var body struct{ Users []string }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != http.StatusCreated || !slices.Equal(body.Users, ids) {
		t.Fatalf("%s %s: status %d: %s", endpoint, users, w.Code, w.Body)
	}
	if got := w.Header().Get("Rollcall-Complete"); got != "true" {
		t.Errorf("Rollcall-Complete %q", got)
	}
}

func TestAddUserJoinsThoseWhoAreThereAndThoseWhoCome(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	h := loadHandler(t, "api_key k")
	_, ada := attend(t, h, "ada")
	_, bob := attend(t, h, "bob")
	wantCreated(t, h, "adduser", `[{"id":"ada","channels":[{"name":"sales"},{"name":"support","mode":"listen"}]},
		{"id":"eve","channels":[{"name":"sales","mode":"receive"}]}]`, "ada", "eve")
	ada.Hears(t, testkit.JoinedFrame("sales"), testkit.JoinedFrame("support"))
	_, tab := attend(t, h, "ada")
	tab.Hears(t, testkit.JoinedFrame("sales"), testkit.JoinedFrame("support"))
	_, eve := attend(t, h, "eve")
	eve.Hears(t, testkit.JoinedFrame("sales"))
	bob.Hears(t)

	host := testkit.MustHost(t, "portal.example.com")
	for user, want := range map[string]assignment.Mode{"ada": assignment.Ignore, "eve": assignment.Receive, "bob": assignment.None} {
		if got := h.app.hub.Assignments.Mode(host, user, "sales"); got != want {
			t.Errorf("the mode of %s is %v, want %v", user, got, want)
		}
	}
	wantCreated(t, h, "adduser", `[{"id":"eve","channels":[{"name":"sales","mode":"listen"}]}]`, "eve")
	if got := h.app.hub.Assignments.Mode(host, "eve", "sales"); got != assignment.Listen {
		t.Errorf("after a change the mode is %v", got)
	}

	wantCreated(t, h, "removeuser", `[{"id":"ada","channels":[{"name":"sales","mode":"?"},{"name":"unknown"}]},{"id":"nobody"}]`, "ada", "nobody")
	ada.Hears(t, testkit.RemovedFrame("sales"))
	tab.Hears(t, testkit.RemovedFrame("sales"))
	wantCreated(t, h, "removeuser", `[{"id":"ada"}]`, "ada")
	ada.Hears(t, testkit.RemovedFrame("support"))
	tab.Hears(t, testkit.RemovedFrame("support"))
	_, late := attend(t, h, "ada")
	late.Hears(t)
	wantCreated(t, h, "adduser", `[]`)
	eve.Hears(t)
}

func TestAssignmentsSurviveTheHub(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	for i, want := range []assignment.Mode{assignment.None, assignment.Listen} {
		t.Run(fmt.Sprint("start ", i+1), func(t *testing.T) {
			h := loadHandler(t, "api_key k")
			h.app.hub.Assignments.Start(false)
			host := testkit.MustHost(t, "portal.example.com")
			if got := h.app.hub.Assignments.Mode(host, "ada", "sales"); got != want {
				t.Errorf("the mode is %v, want %v", got, want)
			}
			wantCreated(t, h, "adduser", `[{"id":"ada","channels":[{"name":"sales","mode":"listen"}]}]`, "ada")
		})
	}
}

func TestAddUserRefuses(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	h := loadHandler(t, "api_key k\nchannels {\nanonymous open-*\n}\nlimits {\nchannels_per_connection 3\nchannel_name 20\n}")
	long := strings.Repeat("u", presence.MaxUserID+1)
	many := "[" + strings.Repeat(`{"id":"a"},`, 1000) + `{"id":"a"}]`
	good := `{"id":"bob","channels":[{"name":"sales"}]},`
	tests := []struct{ name, users, code, detail, channel string }{
		{"no array", `{"id":"ada"}`, "bad_value", "users must be an array", ""},
		{"null", `null`, "bad_value", "users must be an array", ""},
		{"an array of something else", `["ada"]`, "bad_value", "users[0] must be an object", ""},
		{"an array in the array", `[` + good + `[]]`, "bad_value", "users[1] must be an object", ""},
		{"null as a user", `[` + good + `null]`, "bad_value", "users[1] must be an object", ""},
		{"too many users", many, "bad_value", "users has more than 1000 elements", ""},
		{"no id", `[` + good + `{"channels":[]}]`, "bad_value", "users[1].id must be a string", ""},
		{"a number as id", `[` + good + `{"id":7,"channels":[]}]`, "bad_value", "users[1].id must be a string", ""},
		{"null as id", `[{"id":null,"channels":[]}]`, "bad_value", "users[0].id must be a string", ""},
		{"an object as id", `[{"id":{"id":"ada"},"channels":[]}]`, "bad_value", "users[0].id must be a string", ""},
		{"an empty id", `[{"id":"","channels":[]}]`, "bad_value", "users[0].id", ""},
		{"a long id", `[{"id":"` + long + `","channels":[]}]`, "bad_value", "users[0].id", ""},
		{"an id with a control character", `[{"id":"a\u0000b","channels":[]}]`, "bad_value", "users[0].id", ""},
		{"no channels", `[{"id":"ada"}]`, "bad_value", "users[0].channels must be an array", ""},
		{"null as channels", `[{"id":"ada","channels":null}]`, "bad_value", "users[0].channels must be an array", ""},
		{"a text as channels", `[` + good + `{"id":"ada","channels":"sales"}]`, "bad_value", "users[1].channels must be an array", ""},
		{"a text as channel", `[{"id":"ada","channels":[{"name":"a"},"sales"]}]`, "bad_value", "users[0].channels[1] must be an object", ""},
		{"no name", `[{"id":"ada","channels":[{}]}]`, "bad_value", "users[0].channels[0].name must be a string", ""},
		{"a number as name", `[{"id":"ada","channels":[{"name":"a"},{"name":7}]}]`, "bad_value", "users[0].channels[1].name must be a string", ""},
		{"an unknown mode", `[{"id":"ada","channels":[{"name":"a","mode":"loud"}]}]`, "bad_value", "users[0].channels[0].mode", ""},
		{"null as mode", `[{"id":"ada","channels":[{"name":"a","mode":null}]}]`, "bad_value", "users[0].channels[0].mode", ""},
		{"a number as mode", `[{"id":"ada","channels":[{"name":"a","mode":1}]}]`, "bad_value", "users[0].channels[0].mode", ""},
		{"an empty mode", `[{"id":"ada","channels":[{"name":"a","mode":""}]}]`, "bad_value", "users[0].channels[0].mode", ""},
		{"an anonymous channel", `[` + good + `{"id":"ada","channels":[{"name":"a"},{"name":"open-day"}]}]`, "bad_channel", "users[1].channels[1]: users can be assigned", "open-day"},
		{"a private channel", `[{"id":"ada","channels":[{"name":"tab|x"}]}]`, "bad_channel", "reserved", "tab|x"},
		{"a name too long", `[{"id":"ada","channels":[{"name":"twenty-one-characters"}]}]`, "bad_channel", "more than 20 bytes", "twenty-one-characters"},
		{"a name with half a surrogate pair", `[{"id":"ada","channels":[{"name":"a\ud800"}]}]`, "bad_channel", "half a surrogate pair", "a\ufffd"},
		{"an id with half a surrogate pair", `[{"id":"a\ud800","channels":[]}]`, "bad_value", "users[0].id", ""},
		{"an empty name", `[{"id":"ada","channels":[{"name":""}]}]`, "bad_channel", "it is empty", ""},
		{"too many channels", `[` + good + `{"id":"ada","channels":[{"name":"a"},{"name":"b"},{"name":"c"},{"name":"d"}]}]`, "too_many_channels", "the limit is 3", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := post(t, h, "/message/adduser", `{"apiKey":"k","users":`+tt.users+`}`)
			checkProblem(t, w, http.StatusBadRequest, tt.code)
			var body struct{ Detail, Channel string }
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || !strings.Contains(body.Detail, tt.detail) || body.Channel != tt.channel {
				t.Errorf("%s", w.Body)
			}
			if n := h.app.hub.Assignments.Book.Len(); n != 0 {
				t.Errorf("%d assignments were made", n)
			}
		})
	}
	checkProblem(t, post(t, h, "/message/adduser", `{"apiKey":"k"}`), http.StatusBadRequest, "bad_value")
	checkProblem(t, post(t, h, "/message/adduser", `{"apiKey":"wrong","users":[]}`), http.StatusUnauthorized, "bad_key")
}

// The documented limits hold for all IDs and names, however a program encodes them.
func TestUsersOfTheDocumentedMaximum(t *testing.T) {
	const maxName = 255
	for _, test := range []struct{ name, id, channel string }{
		{"longest", strings.Repeat("u", presence.MaxUserID-4), strings.Repeat("c", maxName)},
		{"longest and escaped", strings.Repeat(`\u00e9`, (presence.MaxUserID-4)/2), "c"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("XDG_DATA_HOME", t.TempDir())
			h := loadHandler(t, "api_key k")
			users, ids := make([]string, 1000), make([]string, 1000)
			for i := range users {
				id := fmt.Sprintf("%s%04d", test.id, i)
				users[i] = fmt.Sprintf(`{ "id": "%s", "channels": [ { "name": "%s", "mode": "receive" } ] }`, id, test.channel)
				ids[i] = strings.ReplaceAll(id, `\u00e9`, "é")
			}
			list := "[" + strings.Join(users, ",\n") + "]"
			for _, endpoint := range []string{"adduser", "removeuser"} {
				wantCreated(t, h, endpoint, list, ids...)
			}
		})
	}
	h := loadHandler(t, "api_key k")
	for endpoint, limit := range map[string]int{"adduser": 1 << 20, "removeuser": 1 << 20, "users": 64 << 10, "sendmessage": 64 << 10} {
		body := `{"apiKey":"wrong","x":"` + strings.Repeat("x", limit-25)
		checkProblem(t, post(t, h, "/message/"+endpoint, body+`"}`), http.StatusUnauthorized, "bad_key")
		checkProblem(t, post(t, h, "/message/"+endpoint, body+`x"}`), http.StatusRequestEntityTooLarge, "too_large")
	}
}

// Names that can no longer be assigned can be removed.
func TestRemoveUserTakesAnyChannel(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	h := loadHandler(t, "api_key k")
	wantCreated(t, h, "adduser", `[{"id":"ada","channels":[{"name":"sales"}]}]`, "ada")
	wantCreated(t, h, "removeuser", `[{"id":"ada","channels":[{"name":"anonymousChat"},{"name":"tab|x"},{"name":""},{"name":"a\u0000b"}]}]`, "ada")
	if n := h.app.hub.Assignments.Book.Len(); n != 1 {
		t.Errorf("%d assignments are left, want 1", n)
	}
	checkProblem(t, post(t, h, "/message/removeuser", `{"apiKey":"k","users":[{"channels":[]}]}`), http.StatusBadRequest, "bad_value")
}

// Programs write null for an empty list. It must not count as an absent list, which removes
// everything.
func TestRemoveUserRefusesNullAsChannels(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	h := loadHandler(t, "api_key k")
	wantCreated(t, h, "adduser", `[{"id":"ada","channels":[{"name":"sales"}]}]`, "ada")
	for _, users := range []string{
		`[{"id":"ada","channels":null}]`, `[{"id":"ada","channels":[],"channels":null}]`,
		`[{"id":"ada","channels":{}}]`, `[{"id":"ada","channels":"sales"}]`,
	} {
		checkProblem(t, post(t, h, "/message/removeuser", `{"apiKey":"k","users":`+users+`}`), http.StatusBadRequest, "bad_value")
	}
	wantCreated(t, h, "removeuser", `[{"id":"ada","channels":[]}]`, "ada")
	wantCreated(t, h, "removeuser", `[{"id":"ada","channels":[{"name":"other","mode":null}]}]`, "ada")
	if n := h.app.hub.Assignments.Book.Len(); n != 1 {
		t.Errorf("%d assignments are left, want 1", n)
	}
}

// If a user or channel is named twice, the last one counts, and nothing of the first remains.
func TestAddUserTakesTheLastOfTwoLists(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	h := loadHandler(t, "api_key k")
	wantCreated(t, h, "adduser", `[{"id":"ada","channels":[{"name":"a","mode":"receive"}],"channels":[{"name":"b"}]}]`, "ada")
	host := testkit.MustHost(t, "portal.example.com")
	for channel, want := range map[string]assignment.Mode{"a": assignment.None, "b": assignment.Ignore} {
		if got := h.app.hub.Assignments.Mode(host, "ada", channel); got != want {
			t.Errorf("the mode in %s is %v, want %v", channel, got, want)
		}
	}
}

func TestAddUserWithoutAFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	h := loadHandler(t, "api_key k")
	folder := filepath.Join(dir, "caddy", "rollcall")
	if err := os.MkdirAll(filepath.Dir(folder), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(folder, nil, 0o600); err != nil { // blocks the folder
		t.Fatal(err)
	}
	_, ada := attend(t, h, "ada")
	const users = `[{"id":"ada","channels":[{"name":"sales"}]}]`
	for _, endpoint := range []string{"adduser", "removeuser"} {
		w := post(t, h, "/message/"+endpoint, `{"apiKey":"k","users":`+users+`}`)
		checkProblem(t, w, http.StatusServiceUnavailable, "unavailable")
		if w.Header().Get("Retry-After") != "5" {
			t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
		}
	}
	ada.Hears(t)
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	wantCreated(t, h, "adduser", users, "ada")
	ada.Hears(t, testkit.JoinedFrame("sales"))
}

// A file that another process uses is opened when that process has ended. Then connected users are
// joined.
func TestFileOfAnotherProcess(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	host := testkit.MustHost(t, "portal.example.com")
	other, err := assignment.OpenFile(assignmentsFile())
	if err != nil {
		t.Fatal(err)
	}
	book := assignment.NewBook(1, nil)
	if err := book.Attach(other); err != nil {
		t.Fatal(err)
	}
	if _, err := book.Assign(host, []assignment.Wish{{User: "ada", Channels: []assignment.Assignment{{Channel: "sales", Mode: assignment.Ignore}}}}, 0); err != nil {
		t.Fatal(err)
	}
	h := loadHandler(t, "api_key k")
	a := h.app.hub.Assignments
	a.Start(false)
	_, ada := attend(t, h, "ada")
	checkProblem(t, post(t, h, "/message/adduser", `{"apiKey":"k","users":[{"id":"ada","channels":[{"name":"x"}]}]}`), http.StatusServiceUnavailable, "unavailable")
	a.Retry()
	ada.Hears(t)
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	a.Retry()
	ada.Hears(t, testkit.JoinedFrame("sales"))
}

// damageAssignments makes a damaged file of assignments in a new data folder, and returns its
// bytes.
func damageAssignments(t *testing.T) []byte {
	t.Helper()
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	f, err := assignment.OpenFile(assignmentsFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(assignmentsFile())
	if err != nil {
		t.Fatal(err)
	}
	clear(b[2*os.Getpagesize():])
	if err := os.WriteFile(assignmentsFile(), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// A damaged file is renamed, and does not block a new one.
func TestDamagedFile(t *testing.T) {
	damaged := damageAssignments(t)
	h := loadHandler(t, "api_key k")
	core, logs := observer.New(zap.InfoLevel)
	h.app.hub.LogTo(zap.New(core), true)
	wantCreated(t, h, "adduser", `[{"id":"ada","channels":[{"name":"sales"}]}]`, "ada")
	lines := logs.FilterMessageSnippet("the file of assignments was damaged and is set aside").All()
	if len(lines) != 1 || lines[0].ContextMap()["file"] != assignmentsFile()+".damaged" {
		t.Errorf("the log says %v", logs.All())
	}
	if kept, err := os.ReadFile(assignmentsFile() + ".damaged"); err != nil || !bytes.Equal(kept, damaged) {
		t.Errorf("the damaged file is not kept: %v", err)
	}
}

// A second damaged file keeps its name while the first one exists.
func TestSecondDamagedFile(t *testing.T) {
	damageAssignments(t)
	first := assignmentsFile() + ".damaged"
	if err := os.WriteFile(first, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := loadHandler(t, "api_key k")
	core, logs := observer.New(zap.InfoLevel)
	h.app.hub.LogTo(zap.New(core), true)
	const users = `[{"id":"ada","channels":[{"name":"sales"}]}]`
	for range 3 {
		checkProblem(t, post(t, h, "/message/adduser", `{"apiKey":"k","users":`+users+`}`), http.StatusServiceUnavailable, "unavailable")
		if all := logs.FilterMessageSnippet("assignments cannot be kept").All(); len(all) != 1 ||
			!strings.Contains(all[0].ContextMap()["error"].(string), assignment.ErrDamaged.Error()) {
			t.Errorf("the log says %v", all)
		}
	}
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	wantCreated(t, h, "adduser", users, "ada")
}

// A damaged record on disk is logged, and assigns no other user; the other records apply.
func TestDamagedAssignmentIsLeftOut(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	host := testkit.MustHost(t, "portal.example.com")
	f, err := assignment.OpenFile(assignmentsFile())
	if err != nil {
		t.Fatal(err)
	}
	var records []assignment.Record
	for _, user := range []string{"USER_1", "USER_2"} {
		records = append(records, assignment.Record{Host: host, User: user, Channel: "sales", Version: assignment.Version{Clock: 1 << 60}, Mode: assignment.Listen})
	}
	if err := errors.Join(f.Save(records), f.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(assignmentsFile())
	if err != nil {
		t.Fatal(err)
	}
	b[bytes.LastIndex(b, []byte("USER_1"))+5] ^= 2 // USER_3
	if err := os.WriteFile(assignmentsFile(), b, 0o600); err != nil {
		t.Fatal(err)
	}
	hub := loadHandler(t, "api_key k").app.hub
	a := hub.Assignments
	core, logs := observer.New(zap.InfoLevel)
	hub.LogTo(zap.New(core), true)
	a.Start(false)
	for user, want := range map[string]assignment.Mode{"USER_1": assignment.None, "USER_2": assignment.Listen, "USER_3": assignment.None} {
		if got := a.Book.Mode(host, user, "sales"); got != want {
			t.Errorf("%s is assigned with the mode %s, want %s", user, got, want)
		}
	}
	lines := logs.FilterMessageSnippet("damaged assignments are left out").All()
	if len(lines) != 1 || lines[0].ContextMap()["damaged"] != int64(1) {
		t.Errorf("logged: %v", logs.All())
	}
}

// The log has one line for lasting trouble, and one when it is over.
func TestTroubleIsLoggedOnce(t *testing.T) {
	const users = `[{"id":"ada","channels":[{"name":"sales"}]}]`
	const refused, opened, again = "assignments cannot be kept: adduser and removeuser answer 503", "assignments opened", "assignments can be kept again"
	tests := []struct {
		name        string
		begin, over func(t *testing.T, h *Handler, path string)
		want        []string
	}{
		{"in the way of the folder", func(t *testing.T, _ *Handler, path string) {
			if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Dir(path)), 0o700), os.WriteFile(filepath.Dir(path), nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}, func(t *testing.T, h *Handler, path string) {
			if err := os.Remove(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
			wantCreated(t, h, "adduser", users, "ada")
		}, []string{refused, opened, again}},
		{"damaged while it is open", func(t *testing.T, h *Handler, path string) {
			wantCreated(t, h, "adduser", users, "ada")
			if err := os.Truncate(path, int64(os.Getpagesize())*2); err != nil {
				t.Fatal(err)
			}
		}, func(*testing.T, *Handler, string) {}, []string{opened, refused}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("XDG_DATA_HOME", t.TempDir())
			h := loadHandler(t, "api_key k")
			a := h.app.hub.Assignments
			a.Start(false)
			core, logs := observer.New(zap.InfoLevel)
			h.app.hub.LogTo(zap.New(core), true)
			tt.begin(t, h, assignmentsFile())
			for range 3 {
				checkProblem(t, post(t, h, "/message/adduser", `{"apiKey":"k","users":`+users+`}`), http.StatusServiceUnavailable, "unavailable")
				post(t, h, "/message/removeuser", `{"apiKey":"k","users":[{"id":"nobody"}]}`) // nothing to store
				a.Retry()
			}
			tt.over(t, h, assignmentsFile())
			var lines []string
			for _, entry := range logs.All() {
				lines = append(lines, entry.Message)
			}
			if !slices.Equal(lines, tt.want) {
				t.Errorf("the log has %q, want %q", lines, tt.want)
			}
		})
	}
}

// An operator sees that changes cost more, and why, until they no longer do.
func TestJournalThatCannotBeWrittenIsLogged(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	h := loadHandler(t, "api_key k")
	a := h.app.hub.Assignments
	a.Start(true)
	core, logs := observer.New(zap.InfoLevel)
	h.app.hub.LogTo(zap.New(core), true)
	journal := assignmentsFile() + ".journal"
	if err := os.MkdirAll(filepath.Join(journal, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	wantCreated(t, h, "adduser", `[{"id":"ada","channels":[{"name":"sales"}]}]`, "ada")
	for range 3 {
		a.Retry()
	}
	if err := os.RemoveAll(journal); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		a.Retry()
	}
	var lines []string
	for _, entry := range logs.All() {
		lines = append(lines, entry.Level.String()+": "+entry.Message)
	}
	if want := []string{
		"warn: the journal of assignments cannot be written, changes cost twice as much: check the disk",
		"info: the journal of assignments can be written again",
	}; !slices.Equal(lines, want) {
		t.Errorf("the log has %q, want %q", lines, want)
	}
	if _, err := os.Stat(journal); err != nil {
		t.Error(err)
	}
}

func TestAssignmentsOfOtherPodsAreKeptLater(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	h := loadHandler(t, "api_key k")
	a := h.app.hub.Assignments
	host := testkit.MustHost(t, "portal.example.com")
	_, ada := attend(t, h, "ada")
	r := assignment.Record{Host: host, User: "ada", Channel: "sales", Mode: assignment.Listen, Version: assignment.Version{Clock: 1 << 60}}
	if _, err := a.Book.Merge([]assignment.Record{r}); !errors.Is(err, assignment.ErrUnavailable) {
		t.Errorf("merging without a file: %v", err)
	}
	ada.Hears(t, testkit.JoinedFrame("sales"))
	a.Start(false)
	a.Retry()
	if n := a.Book.Unsaved(); n != 0 {
		t.Errorf("%d are not kept", n)
	}
	if _, err := os.Stat(assignmentsFile()); err != nil {
		t.Error(err)
	}
}

func TestAddUserTellsTheOtherPods(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	c := mustLoad(t, clustered(overNATS))
	h, d := c.app.handlers[0], &clusterLog{}
	stand := &fakeCluster{name: "portals", clusterLog: d, ready: true, truth: cluster.Truth{Missing: []string{"us-east-1/web-2"}}}
	stage(t, h.app.hub, func(cluster.Config) (gateway.Pods, error) { return stand, nil })
	h.app.hub.Offer(c.snapshot())
	w := post(t, h, "/message/adduser", `{"apiKey":"k","users":[{"id":"ada","channels":[{"name":"a"},{"name":"b"}]}]}`)
	if w.Code != http.StatusCreated || w.Header().Get("Rollcall-Complete") != "false" || w.Header().Get("Rollcall-Missing") != "us-east-1/web-2" {
		t.Errorf("status %d, %v", w.Code, w.Header())
	}
	d.expect(t, "spread portal.example.com 2")
}

func TestAssignmentMetrics(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	h := loadHandler(t, "api_key k")
	wantCreated(t, h, "adduser", `[{"id":"canary","channels":[{"name":"canary-room"},{"name":"b"}]}]`, "canary")
	got := scrape(t, h.app.ctx.GetMetricsRegistry())
	for _, want := range []string{"assignments{} 2", "assignments_unsaved{} 0", "assignment_writes_total{result=ok} 1"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "canary") {
		t.Error("a metric names a user")
	}
}

// assignmentsFile is the file of the assignments.
func assignmentsFile() string { return filepath.Join(caddy.AppDataDir(), "rollcall", "assignments.db") }
