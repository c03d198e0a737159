package guest

import (
	"fmt"
	"strings"
	"testing"
)

// Soak makes a million calls of the probe of an SDK and checks that its memory stops growing.
func Soak(t *testing.T, file []byte) {
	g := Configured(t, file)
	request := Request{Version: 1, Kind: 1, Host: "portal.example.com", Channel: "authenticated+a-name+hidden"}.Encode()
	users := Batch(User("mask", "ann@example.com"), User("1", "bob@example.com"), User("add", "eve@example.com"))
	answer := []byte(`{"room":[` + strings.Repeat(`{"id":"1","email":"\"ann\"@example.com"},`, 20) + `null],"lobby":3}`)
	var warm uint32
	for i := range 1_000_000 {
		var err error
		switch i % 10 {
		default:
			_, err = g.Call("rollcall_classify", request)
		case 7, 8:
			_, err = g.Call("rollcall_members", users, 1)
		case 9:
			if i%100 == 9 {
				_, err = g.Call("rollcall_shape", answer, 1)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if i == 100_000 {
			warm = g.Memory()
		}
	}
	t.Logf("memory: %s after 100,000 calls, %s after 1,000,000", kib(warm), kib(g.Memory()))
	if size := g.Memory(); size > warm || size > 4<<20 {
		t.Errorf("the memory is %s after 1,000,000 calls and was %s after 100,000", kib(size), kib(warm))
	}
}

func kib(size uint32) string { return fmt.Sprintf("%d KiB", size>>10) }
