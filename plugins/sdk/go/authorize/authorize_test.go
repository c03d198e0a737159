package authorize

import (
	"testing"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
)

// input is a request for the channel "vip" of the host "a".
var input = []byte("\x01\x01\x00\x00\x01\x00\x03\x00\x02\x00\x00\x00\x00\x00\x00\x00avipu1")

func TestHandle(t *testing.T) {
	t.Cleanup(func() { handler = nil })
	if _, err := call(input); err == nil {
		t.Error("no error without a handler")
	}
	Handle(func(r *rollcall.Request) Verdict {
		if r.Channel != "vip" || r.UserID != "u1" || r.Site != rollcall.Authenticated {
			t.Errorf("got %+v", *r)
		}
		return Denied
	})
	if got, err := call(input); got != Denied || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
	if _, err := call(input[:10]); err == nil {
		t.Error("no error for half a request")
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = call(input) }); n > 1 { // one for the texts
		t.Errorf("%v allocations", n)
	}
}
