package app

import (
	"regexp"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence"
)

func TestT09SocketIDs(t *testing.T) {
	pattern := regexp.MustCompile(`^\d+\.\d+$`)
	texts, conns := make(map[string]bool), make(map[presence.ID]bool)
	for range 100_000 {
		id := NewSocketID()
		text := id.String()
		if !pattern.MatchString(text) || texts[text] || conns[ConnID(id)] {
			t.Fatalf("%s does not match, or occurs twice", text)
		}
		texts[text], conns[ConnID(id)] = true, true
		if parsed := socketID(t, text); parsed != id {
			t.Fatalf("%s is parsed as %s", text, parsed)
		}
	}
}

func TestParseSocketID(t *testing.T) {
	for _, text := range []string{"0.0", "1234.5678", "2147483647.2147483647"} {
		if got := socketID(t, text).String(); got != text {
			t.Errorf("%s is parsed as %s", text, got)
		}
	}
	real := make(map[SocketID]bool)
	real[socketID(t, "7.1")] = true
	for _, text := range []string{"07.1", "2147483648.1", "7.99999999999999999999999"} {
		if id := socketID(t, text); real[id] || (id.a < 1<<31 && id.b < 1<<31) {
			t.Errorf("%s is the ID of a connection: %s", text, id)
		}
	}
	for _, text := range []string{"", ".", "1.", ".1", "1", "1.2.3", "a.b", "-1.2", "1,2", " 1.2", "1.2\n", "١.٢"} {
		if id, err := ParseSocketID(text); err == nil {
			t.Errorf("%q is parsed as %s", text, id)
		}
	}
}
