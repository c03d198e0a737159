package gateway

import (
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// patience is how long a test waits for what has to happen; a test that passes does not wait.
const patience = 10 * time.Second

// eventually polls until the condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(time.Millisecond)
	}
}

func mustHost(t testing.TB, name string) presence.HostName {
	t.Helper()
	host, err := presence.ParseHostName(name)
	if err != nil {
		t.Fatal(err)
	}
	return host
}

func joinedFrame(channel string) string {
	return `{"type":"joined","channel":"` + channel + `","kind":"authenticated"}`
}
