package pusher

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence"
)

// one decodes the only frame.
func one(t testing.TB, frames []byte) event {
	t.Helper()
	list := payloads(t, frames)
	if len(list) != 1 {
		t.Fatalf("got %d frames: %q", len(list), list)
	}
	return decode(t, list[0])
}

func user(id, info string) presence.View {
	return presence.View{User: presence.User{ID: id, Info: info}}
}

// as returns a user that plugins show in another way.
func as(shown, record string) presence.View {
	return presence.View{User: presence.User{ID: "1", Info: `{"secret":1}`}, Shown: &presence.Shown{ID: shown, Record: record}}
}

func TestJoinedHasTheMembers(t *testing.T) {
	for _, test := range []struct {
		name    string
		members []presence.View
		hide    presence.Fields
		joined  presence.Joined
		want    string
	}{
		{
			"members",
			[]presence.View{user("1", `{"name":"A"}`), user("2", "")},
			0,
			presence.Joined{Count: 2},
			`{"presence":{"ids":["1","2"],"hash":{"1":{"name":"A"},"2":null},"count":2}}`,
		},
		{
			"a hidden member does not count",
			[]presence.View{user("1", "")},
			0,
			presence.Joined{Count: 5},
			`{"presence":{"ids":["1"],"hash":{"1":null},"count":1}}`,
		},
		{
			"names that need escaping",
			[]presence.View{user(`a"\é</`, `{"x":"\"\\\u0000\n"}`), user("__proto__", "[1, 2]"), user("constructor", "true")},
			0,
			presence.Joined{},
			`{"presence":{"ids":["a\"\\é\u003c/","__proto__","constructor"],"hash":{"a\"\\é\u003c/":{"x":"\"\\\u0000\n"},"__proto__":[1, 2],"constructor":true},"count":3}}`,
		},
		{
			"shown by plugins",
			[]presence.View{as("x", `{"id":"x","info":{"name":"X"}}`), as("y", `{"id":"y"}`)},
			0,
			presence.Joined{},
			`{"presence":{"ids":["x","y"],"hash":{"x":{"name":"X"},"y":null},"count":2}}`,
		},
		{
			"the joiner, whom others do not see",
			[]presence.View{user("1", "")},
			0,
			presence.Joined{Self: new(user("2", "true"))},
			`{"presence":{"ids":["1","2"],"hash":{"1":null,"2":true},"count":2}}`,
		},
		{
			"the joiner alone",
			[]presence.View{},
			0,
			presence.Joined{Self: new(user("2", ""))},
			`{"presence":{"ids":["2"],"hash":{"2":null},"count":1}}`,
		},
		{
			"names off", nil, 0,
			presence.Joined{Unnamed: true, Count: 5000, Self: new(user("2", ""))},
			`{"presence":{"ids":["2"],"hash":{"2":null},"count":5000}}`,
		},
		{
			"no member", nil, 0,
			presence.Joined{},
			`{"presence":{"ids":[],"hash":{},"count":0}}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.joined.Channel = "presence-x"; test.members != nil {
				test.joined.Members = Encoder{}.Members(test.members, test.hide)
			}
			if got := one(t, Encoder{}.Joined(test.joined)); got != (event{succeeded, "presence-x", test.want, ""}) || !json.Valid([]byte(got.Data)) {
				t.Errorf("got %+v\nwant %s", got, test.want)
			}
		})
	}
}

func TestJoinedOfAChannelThatListsNobody(t *testing.T) {
	for _, channel := range []string{"news", "private-x", "presence1", `a "native" name`} {
		j := presence.Joined{Channel: channel, Count: 7, Members: Encoder{}.Members([]presence.View{user("1", "")}, 0)}
		if got := one(t, Encoder{}.Joined(j)); got != (event{succeeded, channel, "{}", ""}) {
			t.Errorf("got %+v", got)
		}
	}
}

func TestPresenceIsAFrameForEachMember(t *testing.T) {
	d := presence.Diff{
		Channel: "presence-x",
		Joined:  []presence.View{user("1", `{"name":"A"}`), user("2", "")},
		Left:    []presence.View{user("3", `{"name":"C"}`), as("y", `{"id":"y"}`)},
		Updated: []presence.View{user("4", "")},
	}
	want := []event{
		{"pusher_internal:member_removed", "presence-x", `{"user_id":"3"}`, ""},
		{"pusher_internal:member_removed", "presence-x", `{"user_id":"y"}`, ""},
		{"pusher_internal:member_added", "presence-x", `{"user_id":"1","user_info":{"name":"A"}}`, ""},
		{"pusher_internal:member_added", "presence-x", `{"user_id":"2"}`, ""},
	}
	got := payloads(t, Encoder{}.Presence(d))
	if len(got) != len(want) {
		t.Fatalf("got %q", got)
	}
	for i := range want {
		if e := decode(t, got[i]); e != want[i] {
			t.Errorf("got %+v, want %+v", e, want[i])
		}
	}
	for name, silent := range map[string]presence.Diff{
		"updated": {Channel: "presence-x", Updated: d.Updated}, "names off": {Channel: "presence-x", Count: 5000, Names: presence.NamesHidden},
		"names back": {Channel: "presence-x", Names: presence.NamesReturned}, "count": {Channel: "news", Count: 2}, "another channel": {Channel: "room", Joined: d.Joined},
	} {
		if frames := (Encoder{}).Presence(silent); frames != nil {
			t.Errorf("%s: %q", name, frames)
		}
	}
}

func TestLeft(t *testing.T) {
	if frame := (Encoder{}).Left("", "news", ""); frame != nil {
		t.Errorf("unsubscribing is answered: %q", frame)
	}
	for _, reason := range []presence.Reason{presence.ReasonDenied, presence.ReasonRemoved} {
		if kind, code, _ := status(t, one(t, Encoder{}.Left("", "private-x", reason)), "private-x"); kind != "AuthError" || code != 403 {
			t.Errorf("%s: got %s and %d", reason, kind, code)
		}
	}
}

func TestOtherFrames(t *testing.T) {
	for _, test := range []struct {
		frame []byte
		want  event
	}{
		{Encoder{}.CacheMiss("cache-x"), event{"pusher:cache_miss", "cache-x", "{}", ""}},
		{Encoder{}.SubscriptionCount("news", 3), event{"pusher_internal:subscription_count", "news", `{"subscription_count":3}`, ""}},
		{
			Encoder{}.Watchlist([]string{"a", `"`}, []string{"b"}),
			event{"pusher_internal:watchlist_events", "", `{"events":[{"name":"online","user_ids":["a","\""]},{"name":"offline","user_ids":["b"]}]}`, ""},
		},
		{Encoder{}.Watchlist(nil, []string{"b"}), event{"pusher_internal:watchlist_events", "", `{"events":[{"name":"offline","user_ids":["b"]}]}`, ""}},
		{Encoder{}.Watchlist([]string{"a"}, nil), event{"pusher_internal:watchlist_events", "", `{"events":[{"name":"online","user_ids":["a"]}]}`, ""}},
		{signInSuccess(`{"id":"a"}`), event{"pusher:signin_success", "", `{"user_data":"{\"id\":\"a\"}"}`, ""}},
		{errorFrame(4301, `"slow"`), event{"pusher:error", "", `{"code":4301,"message":"\"slow\""}`, ""}},
		{errorFrame(noCode, "no"), event{"pusher:error", "", `{"code":null,"message":"no"}`, ""}},
	} {
		if got := one(t, test.frame); got != test.want {
			t.Errorf("got %+v, want %+v", got, test.want)
		}
	}
}

// FuzzMembers checks that whatever users have, the snapshot is JSON with each of them.
func FuzzMembers(f *testing.F) {
	f.Add("1", `{"name":"A"}`, "2", "")
	f.Add(`a"\`, `"\u0000"`, "__proto__", "[ 1 ]")
	f.Fuzz(func(t *testing.T, id, info, self, selfInfo string) {
		if !json.Valid([]byte(info)) || !json.Valid([]byte(selfInfo)) || id == self {
			return
		}
		id, self, info, selfInfo = strings.ToValidUTF8(id, "?"), strings.ToValidUTF8(self, "?"), strings.ToValidUTF8(info, "?"), strings.ToValidUTF8(selfInfo, "?")
		joiner := user(self, selfInfo)
		j := presence.Joined{Channel: "presence-x", Members: Encoder{}.Members([]presence.View{user(id, info)}, 0), Self: &joiner}
		var data struct {
			Presence struct {
				IDs   []string
				Hash  map[string]json.RawMessage
				Count int
			}
		}
		if err := json.Unmarshal([]byte(one(t, Encoder{}.Joined(j)).Data), &data); err != nil {
			t.Fatal(err)
		}
		p := data.Presence
		if p.Count != 2 || fmt.Sprint(p.IDs) != fmt.Sprint([]string{id, self}) || len(p.Hash) != 2 && id != self {
			t.Errorf("got %+v", p)
		}
	})
}
