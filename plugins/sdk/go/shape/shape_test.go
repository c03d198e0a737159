package shape

import (
	"errors"
	"testing"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
)

func TestHandle(t *testing.T) {
	t.Cleanup(func() { handler = nil })
	if _, err := call(rollcall.Users, []byte(`{}`)); err == nil {
		t.Error("no error without a handler")
	}
	failure := errors.New("failure")
	tests := map[string]struct {
		answer []byte
		err    error
		failed bool
	}{
		"changed":   {answer: []byte(`[]`)},
		"unchanged": {},
		"failed":    {err: failure, failed: true},
		"empty":     {answer: []byte{}, failed: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			Handle(func(e rollcall.Endpoint, body []byte) ([]byte, error) {
				if e != rollcall.AllUsers || string(body) != `{"a":1}` {
					t.Errorf("got %d, %s", e, body)
				}
				return tt.answer, tt.err
			})
			got, err := call(rollcall.AllUsers, []byte(`{"a":1}`))
			if (err != nil) != tt.failed || !tt.failed && string(got) != string(tt.answer) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
