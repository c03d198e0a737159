package cluster

import (
	"net/http"
	"reflect"
	"testing"
)

var (
	a1 = Pod{DC: "a", Name: "1"}
	a2 = Pod{DC: "a", Name: "2"}
	b1 = Pod{DC: "b", Name: "1"}
)

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
			if err := a.parseCompleteness(tt.header); (err != nil) != tt.wrong {
				t.Fatal(err)
			}
			if !tt.wrong && (a.Complete != tt.complete || !reflect.DeepEqual(a.Missing, tt.missing)) {
				t.Errorf("got %v, %q", a.Complete, a.Missing)
			}
		})
	}
}
