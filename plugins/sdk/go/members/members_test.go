package members

import (
	"bytes"
	"testing"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
)

func TestHandle(t *testing.T) {
	t.Cleanup(func() { handler = nil })
	if _, err := call(rollcall.Users, three); err == nil {
		t.Error("no error without a handler")
	}
	Handle(func(e rollcall.Endpoint, m *Member) {
		if e != rollcall.AllUsers {
			t.Errorf("endpoint %d", e)
		}
		m.Delete("visits")
		m.Delete("email")
	})
	want := records([]string{"id=1"}, []string{"id=2"}, []string{"id=3"})
	if got, err := call(rollcall.AllUsers, three); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
}
