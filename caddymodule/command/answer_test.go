package command

import (
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/caddymodule/answer"
	"github.com/rollcall-gateway/rollcall/plugins"
)

// rewritten reads an answer and writes it as the server does.
func rewritten(e plugins.Endpoint, raw []byte) ([]byte, error) {
	if e == plugins.EndpointAllUsers {
		dcs, _, err := readDataCenters(raw)
		return slices.Concat(answer.AllUsers(dcs)...), err
	}
	list, _, err := readListings(raw)
	return answer.AppendListings(nil, list), err
}

func TestAnswersAreReadAsTheyAreWritten(t *testing.T) {
	for name, c := range map[string]struct {
		endpoint plugins.Endpoint
		answer   string
	}{
		"lists in order, and numbers":    {plugins.EndpointUsers, `{"b":[{"id":"1","email":"x"},{"id":"2","email":""}],"a":12}`},
		"an empty list":                  {plugins.EndpointUsers, `{"b":[{"id":"2","email":"y"}],"c":[]}`},
		"private channels":               {plugins.EndpointUsers, `{"tab|1":{"id":"1","email":"x"},"tab|3":1}`},
		"names keep what JSON escapes":   {plugins.EndpointUsers, `{"a\"b\u0000":[]}`},
		"nothing":                        {plugins.EndpointUsers, `{}`},
		"numbers alone of data centers":  {plugins.EndpointAllUsers, `{"eu":{"authenticated":2,"anonymous":4},"_total":{"authenticated":2,"anonymous":4}}`},
		"lists and numbers side by side": {plugins.EndpointAllUsers, `{"eu":{"authenticated":[],"authenticatedCount":0,"anonymous":4},"us":{"authenticated":3,"anonymous":0},"_total":{"authenticated":3,"anonymous":4}}`},
		"lists of data centers": {
			plugins.EndpointAllUsers,
			`{"eu":{"authenticated":[{"id":"1","email":"x"},{"id":"2","email":"y"}],"authenticatedCount":2,"anonymous":4},` +
				`"us":{"authenticated":[{"id":"3","email":"x"}],"authenticatedCount":1,"anonymous":0},` +
				`"_total":{"authenticated":3,"anonymous":4}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := rewritten(c.endpoint, []byte(c.answer))
			if err != nil || string(got) != c.answer {
				t.Errorf("got %s, %v\nwant %s", got, err, c.answer)
			}
		})
	}
}

func TestReadersRefuseWhatIsNoAnswer(t *testing.T) {
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
			got, err := rewritten(c.endpoint, []byte(c.answer))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %s, %v\nwant the error %s", got, err, c.want)
			}
		})
	}
}
