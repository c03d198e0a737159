package presence

import (
	"strings"
	"testing"
)

func TestIDIsTwentyTwoCharactersOfBase64URL(t *testing.T) {
	seen := make(map[ID]bool)
	for range 1000 {
		id := NewID()
		if seen[id] {
			t.Fatalf("%s came twice", id)
		}
		seen[id] = true
		text := id.String()
		if len(text) != 22 || strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			t.Fatalf("an ID is written %q", text)
		}
		if got, ok := parsePrivate(id.PrivateChannel()); !ok || got != id {
			t.Fatalf("parsePrivate(%q) = %v, %v", id.PrivateChannel(), got, ok)
		}
	}
}

func TestPrivateChannelNames(t *testing.T) {
	// 22 characters have 132 bits, so the last 4 bits must be 0: an ID ends with A, Q, g or w.
	canonical := PrivatePrefix + strings.Repeat("A", 21) + "Q"
	tests := []struct {
		name, channel string
		want          bool
	}{
		{"canonical", canonical, true},
		{"no ID", PrivatePrefix, false},
		{"too short", canonical[:len(canonical)-1], false},
		{"too long", canonical + "A", false},
		{"bits after the last", canonical[:len(canonical)-1] + "R", false},
		{"padding", canonical[:len(canonical)-2] + "==", false},
		{"standard alphabet", PrivatePrefix + "+/" + strings.Repeat("A", 20), false},
		{"URL alphabet", PrivatePrefix + "-_" + strings.Repeat("A", 20), true},
		{"new line inside", PrivatePrefix + strings.Repeat("A", 20) + "\n\n", false},
		{"not ASCII", PrivatePrefix + strings.Repeat("é", 11), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, ok := parsePrivate(tt.channel)
			if ok != tt.want {
				t.Fatalf("parsePrivate(%q) = %v, %v", tt.channel, id, ok)
			}
			if ok && id.PrivateChannel() != tt.channel {
				t.Errorf("it is written %q", id.PrivateChannel())
			}
		})
	}
}

func TestIsPrivate(t *testing.T) {
	for channel, want := range map[string]bool{
		"tab|": true, "tab|x": true, "tab": false, "": false, "TAB|x": false, " tab|x": false, "a-tab|x": false,
	} {
		if got := isPrivate(channel); got != want {
			t.Errorf("IsPrivate(%q) = %v", channel, got)
		}
	}
}
