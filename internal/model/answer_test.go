package model

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseAllUsers(t *testing.T) {
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
			map[string]DataCenter{"a": {2, 0, []User{{ID: "u", Email: "x"}, {ID: "v"}}}},
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
			got, err := ParseAllUsers([]byte(tt.body), tt.shape)
			if (err == nil) != (tt.err == "") || (err != nil && !strings.Contains(err.Error(), tt.err)) {
				t.Fatalf("got %v, want an error with %q", err, tt.err)
			}
			if err == nil && !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
