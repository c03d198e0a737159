package app

import (
	"strings"
	"testing"
)

func TestParseChannel(t *testing.T) {
	for _, test := range []struct {
		name string
		want Traits
	}{
		{"news", 0},
		{"private-encrypted-cache-x", Signed | Encrypted | Cached},
		{"private-encrypted-x", Signed | Encrypted},
		{"private-encrypted-", Signed | Encrypted},
		{"private-cache-x", Signed | Cached},
		{"private-x", Signed},
		{"private-encrypted", Signed}, // a private channel named encrypted
		{"private-", Signed},
		{"presence-cache-x", Signed | Presence | Cached},
		{"presence-x", Signed | Presence},
		{"cache-x", Cached},
		{"#server-to-user-ada", ToUser},
		{"privateer", 0},
		{"presence1", 0},
		{"cachet", 0},
		{"Private-x", 0},
		{"-azAZ09_=@,.;", 0},
		{strings.Repeat("x", 200), 0},
	} {
		if got, err := ParseChannel(test.name); err != nil || got != test.want {
			t.Errorf("%s: got %b and %v, want %b", test.name, got, err, test.want)
		}
	}
}

func TestParseChannelRefuses(t *testing.T) {
	for _, name := range []string{
		"", "#", "#x", "#server-to-user-", "##server-to-user-x", "x#", "a b", "a/b", "a:b", "a|b", "tab|5o7PjRyBpM9Cw0xYSjXkLg", "é", "a\n", "a\x00",
		strings.Repeat("x", 201), "#" + strings.Repeat("x", 200),
	} {
		if traits, err := ParseChannel(name); err == nil {
			t.Errorf("%q has the traits %b", name, traits)
		}
	}
}

func TestClientEventsNeedASignedChannelInTheClear(t *testing.T) {
	for name, want := range map[string]bool{
		"news": false, "cache-x": false, "#server-to-user-x": false, "private-encrypted-x": false, "private-encrypted-cache-x": false,
		"private-x": true, "private-cache-x": true, "presence-x": true, "presence-cache-x": true,
	} {
		if traits, err := ParseChannel(name); err != nil || traits.ClientEvents() != want {
			t.Errorf("%s: got %v and %v", name, traits.ClientEvents(), err)
		}
	}
}
