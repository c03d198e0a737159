package answer

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence"
)

func TestAppendListings(t *testing.T) {
	ann, bob := presence.User{ID: "USER_1", Email: "a@example.com"}, presence.User{ID: "USER_2", Email: "b@example.com"}
	for _, test := range []struct {
		name string
		list []presence.Listing
		want string
	}{
		{"none", nil, `{}`},
		{
			"the example of the reference",
			[]presence.Listing{
				{Channel: "tab|abc123", Kind: presence.Private, Users: []presence.User{{ID: "USER_ID", Email: "person@example.com"}}},
				{Channel: "salesRoom", Kind: presence.Authenticated, Users: []presence.User{ann, bob}},
				{Channel: "anonymousChat", Kind: presence.Anonymous, Count: 3},
			},
			`{"tab|abc123":{"id":"USER_ID","email":"person@example.com"},` +
				`"salesRoom":[{"id":"USER_1","email":"a@example.com"},{"id":"USER_2","email":"b@example.com"}],"anonymousChat":3}`,
		},
		{"private channel of an anonymous connection", []presence.Listing{{Channel: "tab|a", Kind: presence.Private, Count: 1}}, `{"tab|a":1}`},
		{"authenticated channel without users", []presence.Listing{{Channel: "a", Kind: presence.Authenticated}}, `{"a":[]}`},
		{"count only", []presence.Listing{{Channel: "a", Kind: presence.Authenticated, CountOnly: true, Count: 7}}, `{"a":7}`},
		{"no e-mail", []presence.Listing{{Channel: "a", Kind: presence.Authenticated, Users: []presence.User{{ID: "1"}}}}, `{"a":[{"id":"1","email":""}]}`},
		{"odd name", []presence.Listing{{Channel: "a\"\\b", Kind: presence.Anonymous, Count: 1}}, `{"a\"\\b":1}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := AppendListings(nil, test.list)
			if !json.Valid(got) || string(got) != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestAppendAllUsers(t *testing.T) {
	ann, bob := presence.User{ID: "USER_1", Email: "a@example.com"}, presence.User{ID: "USER_2", Email: "b@example.com"}
	for _, test := range []struct {
		name string
		dcs  []DataCenter
		want string
	}{
		{
			"the counts of the reference",
			[]DataCenter{
				{Name: "us-east-1", Authenticated: 12, Anonymous: 4},
				{Name: "eu-west-1", Authenticated: 7, Anonymous: 2},
			},
			`{"us-east-1":{"authenticated":12,"anonymous":4},"eu-west-1":{"authenticated":7,"anonymous":2},"_total":{"authenticated":19,"anonymous":6}}`,
		},
		{
			"the users of the reference",
			[]DataCenter{{Name: "us-east-1", Authenticated: 2, Anonymous: 4, Users: []presence.User{ann, bob}}},
			`{"us-east-1":{"authenticated":[{"id":"USER_1","email":"a@example.com"},{"id":"USER_2","email":"b@example.com"}],` +
				`"authenticatedCount":2,"anonymous":4},"_total":{"authenticated":2,"anonymous":4}}`,
		},
		{
			"zeros",
			[]DataCenter{{Name: "local"}},
			`{"local":{"authenticated":0,"anonymous":0},"_total":{"authenticated":0,"anonymous":0}}`,
		},
		{
			"no users",
			[]DataCenter{{Name: "local", Users: []presence.User{}}},
			`{"local":{"authenticated":[],"authenticatedCount":0,"anonymous":0},"_total":{"authenticated":0,"anonymous":0}}`,
		},
		{"no data center", nil, `{"_total":{"authenticated":0,"anonymous":0}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := slices.Concat(AllUsers(test.dcs)...)
			if !json.Valid(got) || string(got) != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestAppendNames(t *testing.T) {
	for _, test := range []struct {
		name string
		list []presence.Listing
		want string
	}{
		{"none", nil, `{"authenticated":[],"anonymous":[]}`},
		{"each kind, in order", []presence.Listing{
			{Channel: "a", Kind: presence.Anonymous, Count: 3},
			{Channel: "b", Kind: presence.Authenticated},
			{Channel: "c", Kind: presence.Authenticated, CountOnly: true, Count: 4},
			{Channel: "d", Kind: presence.Anonymous},
		}, `{"authenticated":["b","c"],"anonymous":["a","d"]}`},
		{"private", []presence.Listing{{Channel: "tab|a", Kind: presence.Private}}, `{"authenticated":[],"anonymous":[]}`},
		{"odd name", []presence.Listing{{Channel: "a\"\\b", Kind: presence.Anonymous}}, `{"authenticated":[],"anonymous":["a\"\\b"]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := AppendNames(nil, test.list); !json.Valid(got) || string(got) != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
