package caddymodule

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"testing"
)

// eachPage requests all pages and passes them to do. body begins with the other fields of the
// request.
func eachPage(t *testing.T, h *Handler, body string, do func(page string)) {
	t.Helper()
	for after := ""; ; {
		w := post(t, h, "/message/users", body+after+"}")
		if w.Code != http.StatusOK {
			t.Fatalf("%s%s: status %d: %s", body, after, w.Code, w.Body)
		}
		do(w.Body.String())
		next := w.Header().Get("Rollcall-Next")
		if next == "" {
			return
		}
		after = fmt.Sprintf(`,"after":%q`, next)
	}
}

// The channels of all pages are those of the whole answer.
func TestUsersInPages(t *testing.T) {
	h := mustLoad(t, "http://portal.example.com {\n\trollcall {\n\t\tapi_key k\n\t}\n}").handler(t)
	for i := range 5 {
		arrive(t, h, "portal.example.com", fmt.Sprintf("u%d", i), "", "room", fmt.Sprintf("room%d", i), fmt.Sprintf("anonymous%d", i%2))
	}
	for _, fields := range []string{``, `,"dedupeUsers":false`, `,"prefix":"room"`, `,"prefix":"tab|"`, `,"prefix":"none"`, `,"scope":"all"`} {
		var whole map[string]json.RawMessage
		if err := json.Unmarshal(post(t, h, "/message/users", `{"apiKey":"k"`+fields+`}`).Body.Bytes(), &whole); err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int{1, 2, 3, 7, 13, 10_000} {
			got, pages := make(map[string]json.RawMessage), 0
			eachPage(t, h, fmt.Sprintf(`{"apiKey":"k"%s,"limit":%d`, fields, limit), func(page string) {
				var channels map[string]json.RawMessage
				if err := json.Unmarshal([]byte(page), &channels); err != nil || len(channels) > limit {
					t.Fatalf("%s: error %v", page, err)
				}
				before := len(got)
				if maps.Copy(got, channels); len(got) != before+len(channels) {
					t.Errorf("a channel is on two pages: %s", page)
				}
				pages++
			})
			if want := max(1, (len(whole)+limit-1)/limit); pages != want {
				t.Errorf("%s: %d pages of %d, want %d", fields, pages, limit, want)
			}
			a, _ := json.Marshal(got)
			b, _ := json.Marshal(whole)
			sameJSON(t, fields, string(a), string(b))
		}
	}
	for _, body := range []string{`{"apiKey":"k","limit":0}`, `{"apiKey":"k","after":"?"}`, `{"apiKey":"k","channel":"room","limit":5}`} {
		if w := post(t, h, "/message/users", body); w.Code != http.StatusBadRequest || w.Header().Get("Rollcall-Next") != "" {
			t.Errorf("%s: status %d: %s", body, w.Code, w.Body)
		}
	}
}

// Plugins see the pages, and a page without the channels that they hide has the next one.
func TestPluginsSeePages(t *testing.T) {
	h := loadPlugins(t, plugin(assemble(t, "mask"), "")+plugin(assemble(t, "shape"), "instances 1"))
	for _, id := range []string{"s1", "a", "s2"} { // the first plugin hides users with s
		arrive(t, h, "portal.example.com", id, "1@x", "room"+id)
	}
	var pages []string
	eachPage(t, h, `{"prefix":"room","limit":1`, func(page string) {
		var shaped struct{ Answer json.RawMessage }
		if err := json.Unmarshal([]byte(page), &shaped); err != nil {
			t.Fatal(err)
		}
		pages = append(pages, string(shaped.Answer))
	})
	want := []string{`{"rooma":[{"id":"a","email":"***"}]}`, `{"rooms1":[]}`, `{"rooms2":[]}`}
	if fmt.Sprint(pages) != fmt.Sprint(want) {
		t.Errorf("got %s, want %s", pages, want)
	}
	hidden := 0
	eachPage(t, h, `{"prefix":"tab|","limit":1`, func(page string) {
		var shaped struct{ Answer map[string]any }
		if err := json.Unmarshal([]byte(page), &shaped); err != nil {
			t.Fatal(err)
		}
		if len(shaped.Answer) == 0 {
			hidden++
		}
	})
	if hidden != 2 {
		t.Errorf("%d pages are empty, want 2", hidden)
	}
}
