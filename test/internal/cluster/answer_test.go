package cluster

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

func TestAnswerIsDecoded(t *testing.T) {
	tests := []struct {
		name  string
		shape Shape
		body  string
		want  map[string]DataCenter
		err   string
	}{
		{
			"counts",
			Shape{},
			`{"a":{"authenticated":2,"anonymous":1},"b":{"authenticated":0,"anonymous":0},"_total":{"authenticated":2,"anonymous":1}}`,
			map[string]DataCenter{"a": {2, 1, nil}, "b": {0, 0, nil}},
			"",
		},
		{
			"users",
			Shape{Include: true},
			`{"a":{"authenticated":[{"id":"v","email":""},{"id":"u","email":"x"}],"authenticatedCount":2,"anonymous":0},` +
				`"_total":{"authenticated":2,"anonymous":0}}`,
			map[string]DataCenter{"a": {2, 0, []ws.User{{ID: "u", Email: "x"}, {ID: "v"}}}},
			"",
		},
		{"no sum", Shape{}, `{"a":{"authenticated":0,"anonymous":0}}`, nil, "_total"},
		{
			"wrong sum",
			Shape{},
			`{"a":{"authenticated":2,"anonymous":1},"_total":{"authenticated":2,"anonymous":2}}`, nil, "_total",
		},
		{
			"wrong count",
			Shape{Include: true},
			`{"a":{"authenticated":[],"authenticatedCount":1,"anonymous":0},"_total":{"authenticated":0,"anonymous":0}}`,
			nil, "authenticatedCount",
		},
		{
			"no list",
			Shape{Include: true},
			`{"a":{"authenticated":0,"anonymous":0},"_total":{"authenticated":0,"anonymous":0}}`, nil, "a: ",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := Answer{Shape: tt.shape}
			err := a.decode(tt.body)
			if (err == nil) != (tt.err == "") || (err != nil && !strings.Contains(err.Error(), tt.err)) {
				t.Fatalf("got %v, want an error with %q", err, tt.err)
			}
			if err == nil && !reflect.DeepEqual(a.DCs, tt.want) {
				t.Errorf("got %+v, want %+v", a.DCs, tt.want)
			}
		})
	}
}

func TestAnswerSaysWhatItIsWorth(t *testing.T) {
	tests := []struct {
		name     string
		header   http.Header
		complete bool
		missing  []string
		wrong    bool
	}{
		{"complete", http.Header{"Rollcall-Complete": {"true"}}, true, nil, false},
		{"missing", http.Header{"Rollcall-Complete": {"false"}, "Rollcall-Missing": {"a/1, b/1"}}, false, []string{"a/1", "b/1"}, false},
		{"joining", http.Header{"Rollcall-Complete": {"false"}}, false, nil, false},
		{"nothing said", http.Header{}, false, nil, true},
		{"both", http.Header{"Rollcall-Complete": {"true"}, "Rollcall-Missing": {"a/1"}}, false, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var a Answer
			if err := a.truth(tt.header); (err != nil) != tt.wrong {
				t.Fatal(err)
			}
			if !tt.wrong && (a.Complete != tt.complete || !reflect.DeepEqual(a.Missing, tt.missing)) {
				t.Errorf("got %v, %q", a.Complete, a.Missing)
			}
		})
	}
}
