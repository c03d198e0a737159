package app

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestT14MemberData(t *testing.T) {
	longest := `"` + strings.Repeat("x", 2046) + `"`
	for _, test := range []struct {
		name, data string
		want       User
	}{
		{"number", `{"user_id":1}`, User{ID: "1"}},
		{"string", `{"user_id":"1"}`, User{ID: "1"}},
		{"negative number", `{"user_id":-7}`, User{ID: "-7"}},
		{"a number that no float holds", `{"user_id":12345678901234567890123}`, User{ID: "12345678901234567890123"}},
		{"128 bytes", `{"user_id":"` + strings.Repeat("x", 128) + `"}`, User{ID: strings.Repeat("x", 128)}},
		{"__proto__", `{"user_id":"__proto__"}`, User{ID: "__proto__"}},
		{"constructor", `{"user_id":"constructor"}`, User{ID: "constructor"}},
		{"escaped", `{"user\u005fid":"\u00e9\ud83d\ude00"}`, User{ID: "é😀"}},
		{"the last of two", `{"user_id":"a","user_id":"b"}`, User{ID: "b"}},
		{"info that is an object", `{"user_id":"1","user_info":{ "name" : "A" }}`, User{ID: "1", Info: `{ "name" : "A" }`}},
		{"info that is an array", `{"user_id":"1","user_info":[1,"2"]}`, User{ID: "1", Info: `[1,"2"]`}},
		{"info that is true", `{"user_id":"1","user_info":true}`, User{ID: "1", Info: `true`}},
		{"info that is null", `{"user_id":"1","user_info":null}`, User{ID: "1"}},
		{"info of the longest", `{"user_id":"1","user_info":` + longest + `}`, User{ID: "1", Info: longest}},
		{"e-mail", `{"user_id":"1","user_info":{"email":"a@example.com"}}`, User{ID: "1", Email: "a@example.com", Info: `{"email":"a@example.com"}`}},
		{"e-mail that is no string", `{"user_id":"1","user_info":{"email":["a"]}}`, User{ID: "1", Info: `{"email":["a"]}`}},
		{"e-mail that is too long", `{"user_id":"1","user_info":{"email":"` + strings.Repeat("x", 321) + `"}}`, User{ID: "1", Info: `{"email":"` + strings.Repeat("x", 321) + `"}`}},
		{"e-mail of an object in it", `{"user_id":"1","user_info":{"x":{"email":"a"}}}`, User{ID: "1", Info: `{"x":{"email":"a"}}`}},
		{"other members", `{"user_id":"1","id":2,"watchlist":["a"],"x":[]}`, User{ID: "1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, _ := config()
			if got, err := c.ParseMember(test.data); err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v and %v, want %+v", got, err, test.want)
			}
		})
	}
}

func TestT14MemberDataRefuses(t *testing.T) {
	for _, test := range []struct{ name, data, says string }{
		{"fraction", `{"user_id":1.5}`, "whole number"},
		{"exponent", `{"user_id":1e3}`, "whole number"},
		{"empty", `{"user_id":""}`, "is empty"},
		{"129 bytes", `{"user_id":"` + strings.Repeat("x", 129) + `"}`, "128"},
		{"a number of 129 bytes", `{"user_id":1` + strings.Repeat("0", 128) + `}`, "128"},
		{"missing", `{"user_info":{}}`, "user_id of channel_data must be"},
		{"null", `{"user_id":null}`, "must be"},
		{"true", `{"user_id":true}`, "must be"},
		{"object", `{"user_id":{"id":"1"}}`, "must be"},
		{"control character", `{"user_id":"a\u0000"}`, "control"},
		{"half a surrogate pair", `{"user_id":"\ud800"}`, "UTF-8"},
		{"info that is too long", `{"user_id":"1","user_info":"` + strings.Repeat("x", 2047) + `"}`, "2048"},
		{"no object", `["user_id"]`, "not a JSON object"},
		{"no JSON", `user_id`, "not a JSON object"},
		{"not UTF-8", "{\"user_id\":\"1\",\"user_info\":\"\xff\"}", "not a JSON object"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, _ := config()
			if got, err := c.ParseMember(test.data); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %+v and %v, want an error with %q", got, err, test.says)
			}
		})
	}
}

func TestParseUser(t *testing.T) {
	c, _ := config()
	c.EmailField = "mail"
	got, err := c.ParseUser(`{"id":12345,"user_info":{"mail":"a@example.com"},"watchlist":["a","b","a"],"more":1}`)
	want := User{ID: "12345", Email: "a@example.com", Info: `{"mail":"a@example.com"}`, Watchlist: []string{"a", "b"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v and %v, want %+v", got, err, want)
	}
	if got, err := c.ParseUser(`{"id":"x","watchlist":null}`); err != nil || got.ID != "x" || got.Watchlist != nil {
		t.Errorf("without a watchlist: got %+v and %v", got, err)
	}
	for _, data := range []string{`{"user_id":"1"}`, `{"id":""}`, `{"id":"1","watchlist":"a"}`, `{"id":"1","watchlist":[1]}`, `{"id":"1","watchlist":{}}`, ``} {
		if got, err := c.ParseUser(data); err == nil {
			t.Errorf("%s: got %+v", data, got)
		}
	}
}

// FuzzParseMember checks that a member has an ID that presence accepts, and the bytes of its info
// (T34).
func FuzzParseMember(f *testing.F) {
	for _, data := range []string{channelData, `{"user_id":"\u0061","user_info":[ 1 ]}`, `{"user_id":-0}`, `{"user_id":1,"user_info":{"email":"\ud800"}}`, `{}`, `[]`} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data string) {
		c, _ := config()
		u, err := c.ParseMember(data)
		if err != nil {
			return
		}
		if u.ID == "" || len(u.ID) > MaxUserID || len(u.Info) > c.UserInfo || len(u.Email) > 320 {
			t.Errorf("a member over the limits: %+v", u)
		}
		if u.Info != "" && (!json.Valid([]byte(u.Info)) || !strings.Contains(data, u.Info)) {
			t.Errorf("the info %q is not that of the data", u.Info)
		}
	})
}

// FuzzParseUser checks that a user has an ID, and a watchlist in which each user is once (T34).
func FuzzParseUser(f *testing.F) {
	for _, data := range []string{`{"id":"12345"}`, `{"id":1,"watchlist":["a","a","\u0062"]}`, `{"id":"1","watchlist":[ ]}`, `{"id":"1","watchlist":[[]]}`} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data string) {
		c, _ := config()
		u, err := c.ParseUser(data)
		if err != nil {
			return
		}
		seen := make(map[string]bool)
		for _, id := range u.Watchlist {
			if seen[id] {
				t.Errorf("%q is in the watchlist twice", id)
			}
			seen[id] = true
		}
		if u.ID == "" || len(u.ID) > MaxUserID {
			t.Errorf("a user without an ID, or with a long one: %+v", u)
		}
	})
}
