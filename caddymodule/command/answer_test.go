package command

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// withoutStaff shows the id of each user alone and leaves out the staff.
func withoutStaff(users []plugins.User) ([]json.RawMessage, error) {
	shown := []json.RawMessage{}
	for _, u := range users {
		if !strings.HasSuffix(u.Email, "@staff") {
			shown = append(shown, json.RawMessage(`{"id":"`+u.ID+`"}`))
		}
	}
	return shown, nil
}

func TestShownAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		endpoint     plugins.Endpoint
		answer, want string
	}{
		"lists are shown in order, and numbers stay": {
			plugins.EndpointUsers,
			`{"b":[{"id":"1","email":"x"},{"id":"2","email":"y@staff"},{"id":"3","email":""}], "a": 12}`,
			`{"b":[{"id":"1"},{"id":"3"}],"a":12}`,
		},
		"a list that is empty in the end stays": {
			plugins.EndpointUsers, `{"b":[{"id":"2","email":"y@staff"}],"c":[]}`, `{"b":[],"c":[]}`,
		},
		"a private channel goes with its user": {
			plugins.EndpointUsers,
			`{"tab|1":{"id":"1","email":"x"},"tab|2":{"id":"2","email":"@staff"},"tab|3":1}`,
			`{"tab|1":{"id":"1"},"tab|3":1}`,
		},
		"names keep what JSON escapes": {plugins.EndpointUsers, `{"a\"b\u0000":[]}`, `{"a\"b\u0000":[]}`},
		"counts follow the lists": {
			plugins.EndpointAllUsers,
			`{"eu":{"authenticated":[{"id":"1","email":"x"},{"id":"2","email":"@staff"}],"authenticatedCount":2,"anonymous":4},
			  "us":{"authenticated":[{"id":"3","email":"x"}],"authenticatedCount":1,"anonymous":0},
			  "_total":{"authenticated":3,"anonymous":4}}`,
			`{"eu":{"authenticated":[{"id":"1"}],"authenticatedCount":1,"anonymous":4},` +
				`"us":{"authenticated":[{"id":"3"}],"authenticatedCount":1,"anonymous":0},` +
				`"_total":{"authenticated":2,"anonymous":4}}`,
		},
		"numbers alone stay": {
			plugins.EndpointAllUsers,
			`{"eu":{"authenticated":2,"anonymous":4},"_total":{"authenticated":2,"anonymous":4}}`,
			`{"eu":{"authenticated":2,"anonymous":4},"_total":{"authenticated":2,"anonymous":4}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := shownAnswer(c.endpoint, []byte(c.answer), withoutStaff)
			if err != nil || string(got) != c.want {
				t.Errorf("got %s, %v\nwant %s", got, err, c.want)
			}
		})
	}
}

func TestShownAnswerRefusesWhatIsNoAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		endpoint     plugins.Endpoint
		answer, want string
	}{
		"nothing":                   {plugins.EndpointUsers, ``, "not a JSON object"},
		"an array":                  {plugins.EndpointUsers, `[]`, "not a JSON object"},
		"cut off":                   {plugins.EndpointUsers, `{"a":[`, "not a JSON object"},
		"cut off after a member":    {plugins.EndpointUsers, `{"a":1`, "not a JSON object"},
		"two values":                {plugins.EndpointUsers, `{} {}`, "more than one JSON value"},
		"text as a channel":         {plugins.EndpointUsers, `{"a":"b"}`, `channel "a": neither a list of users`},
		"a user with other keys":    {plugins.EndpointUsers, `{"a":[{"id":"1","name":"x"}]}`, "that no plugin has changed"},
		"a user without an id":      {plugins.EndpointUsers, `{"a":[{"email":"x"}]}`, `"a", user 1: {"email":"x"} is not a user`},
		"an answer of the other":    {plugins.EndpointUsers, `{"eu":{"authenticated":1}}`, "that no plugin has changed"},
		"and the other way round":   {plugins.EndpointAllUsers, `{"a":[]}`, `data center "a": not a JSON object`},
		"no authenticated":          {plugins.EndpointAllUsers, `{"eu":{}}`, `data center "eu" has no authenticated`},
		"a sum that is no object":   {plugins.EndpointAllUsers, `{"eu":{"authenticated":[]},"_total":3}`, "_total: not a JSON object"},
		"a list with a wrong entry": {plugins.EndpointAllUsers, `{"eu":{"authenticated":[1]}}`, "user 1: 1 is not a user"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := shownAnswer(c.endpoint, []byte(c.answer), withoutStaff)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %s, %v\nwant the error %s", got, err, c.want)
			}
		})
	}
}
