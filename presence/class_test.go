package presence

import (
	"strings"
	"testing"
	"time"
)

func TestPatternsBuiltInRules(t *testing.T) {
	tests := []struct {
		channel string
		want    Kind
	}{
		{"salesRoom", Authenticated},
		{"anonymousChat", Anonymous},
		{"anonymous", Anonymous},
		{"anonymous*", Anonymous},
		{"Anonymous", Authenticated},
		{"anonymou", Authenticated},
		{"an-anonymous", Authenticated},
		{"*", Authenticated},
	}
	for _, tt := range tests {
		class, err := Patterns{}.Classify(HostName{}, tt.channel)
		if err != nil || class != (Class{Kind: tt.want}) {
			t.Errorf("Classify(%q) = %+v, %v; want kind %v and no flag", tt.channel, class, err, tt.want)
		}
	}
}

func TestPatternsPrecedence(t *testing.T) {
	tests := []struct {
		name     string
		patterns Patterns
		channel  string
		want     Kind
	}{
		{"anonymous pattern", Patterns{Anonymous: []string{"lobby-*"}}, "lobby-1", Anonymous},
		{"no pattern matches", Patterns{Anonymous: []string{"lobby-*"}}, "room-1", Authenticated},
		{"any of several", Patterns{Anonymous: []string{"a", "b", "c*"}}, "cd", Anonymous},
		{
			"authenticated wins over anonymous",
			Patterns{Authenticated: []string{"*-vip"}, Anonymous: []string{"lobby-*"}},
			"lobby-vip", Authenticated,
		},
		{
			"authenticated wins over the built-in rule",
			Patterns{Authenticated: []string{"anonymous-vip"}},
			"anonymous-vip", Authenticated,
		},
		{
			"the built-in rule applies in addition to patterns",
			Patterns{Anonymous: []string{"lobby-*"}, Authenticated: []string{"vip-*"}},
			"anonymous1", Anonymous,
		},
		{
			"the built-in rule wins over the default",
			Patterns{Default: Authenticated},
			"anonymous1", Anonymous,
		},
		{"default anonymous", Patterns{Default: Anonymous}, "room", Anonymous},
		{
			"authenticated wins over default anonymous",
			Patterns{Authenticated: []string{"vip-*"}, Default: Anonymous},
			"vip-1", Authenticated,
		},
		{"default authenticated", Patterns{Default: Authenticated}, "room", Authenticated},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			class, err := tt.patterns.Classify(HostName{}, tt.channel)
			if err != nil || class != (Class{Kind: tt.want}) {
				t.Errorf("Classify(%q) = %+v, %v; want kind %v and no flag", tt.channel, class, err, tt.want)
			}
		})
	}
}

func TestMatchPattern(t *testing.T) {
	tests := []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"", "a", false},
		{"a", "", false},
		{"*", "", true},
		{"*", "anything", true},
		{"**", "", true},
		{"room", "room", true},
		{"room", "rooms", false},
		{"room", "Room", false},
		{"room*", "room", true},
		{"room*", "room-1", true},
		{"*room", "bedroom", true},
		{"*room", "rooms", false},
		{"a*c", "abc", true},
		{"a*c", "ac", true},
		{"a*c", "abcd", false},
		{"a*b*c", "a-b-b-c", true},
		{"*a*", "b", false},
		{"a*", "*", false},
		{"?", "a", false}, // only '*' is special
		{"[a]", "a", false},
		{"\\*", "*", false},
		{"salle-*", "salle-été", true},
		{"*é", "\xa9é", true}, // bytes, which may be invalid UTF-8
	}
	for _, tt := range tests {
		if got := matchPattern(tt.pattern, tt.s); got != tt.want {
			t.Errorf("matchPattern(%q, %q) = %v", tt.pattern, tt.s, got)
		}
	}
}

// matchReference defines what a pattern matches, in time exponential in the number of stars.
func matchReference(pattern, s string) bool {
	switch {
	case pattern == "":
		return s == ""
	case pattern[0] == '*':
		return matchReference(pattern[1:], s) || (s != "" && matchReference(pattern, s[1:]))
	}
	return s != "" && pattern[0] == s[0] && matchReference(pattern[1:], s[1:])
}

func TestMatchPatternAgreesWithTheReference(t *testing.T) {
	texts := []string{""}
	for start := 0; len(texts[start]) < 6; start++ { // every text of a, b and * of up to 6 bytes
		for _, c := range "ab*" {
			texts = append(texts, texts[start]+string(c))
		}
	}
	for _, pattern := range texts {
		if len(pattern) > 5 {
			break
		}
		for _, s := range texts {
			if got, want := matchPattern(pattern, s), matchReference(pattern, s); got != want {
				t.Fatalf("matchPattern(%q, %q) = %v, want %v", pattern, s, got, want)
			}
		}
	}
}

// A matcher that tries every way to share the text among the stars would not finish in a lifetime.
func TestMatchPatternIsFastOnHostilePatterns(t *testing.T) {
	text := strings.Repeat("a", 2000)
	tests := []struct {
		name, pattern string
		want          bool
	}{
		{"stars only", strings.Repeat("*", 10_000), true},
		{"stars between, no match", strings.Repeat("a*", 500) + "b", false},
		{"stars between, match", strings.Repeat("*a", 500), true},
		{"long text after the last star", "*" + strings.Repeat("a", 500) + "b", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			if got := matchPattern(tt.pattern, text); got != tt.want {
				t.Errorf("got %v", got)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func FuzzMatchPattern(f *testing.F) {
	f.Add("", "")
	f.Add("a*b*c", "aabbcc")
	f.Add("**a*", "ba")
	f.Add("anonymous*", "anonymousChat")
	f.Add("*\xff", "\xfe\xff")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		// The reference is exponential, so it gets small inputs; the others must at least return.
		got := matchPattern(pattern, s)
		if len(pattern) > 12 || len(s) > 16 {
			return
		}
		if want := matchReference(pattern, s); got != want {
			t.Fatalf("matchPattern(%q, %q) = %v, want %v", pattern, s, got, want)
		}
	})
}

func TestKindText(t *testing.T) {
	tests := []struct {
		kind Kind
		want string
	}{
		{Authenticated, "authenticated"},
		{Anonymous, "anonymous"},
		{Private, "private"},
		{0, "Kind(0)"},
		{9, "Kind(9)"},
	}
	for _, tt := range tests {
		if got := tt.kind.String(); got != tt.want {
			t.Errorf("Kind(%d).String() = %q, want %q", uint8(tt.kind), got, tt.want)
		}
	}
}

func TestParseKind(t *testing.T) {
	for _, want := range []Kind{Authenticated, Anonymous} {
		if got, err := ParseKind(want.String()); err != nil || got != want {
			t.Errorf("ParseKind(%q) = %v, %v", want.String(), got, err)
		}
	}
	for _, s := range []string{"", "private", "Anonymous", "Kind(1)"} {
		if got, err := ParseKind(s); err == nil || got != 0 {
			t.Errorf("ParseKind(%q) = %v, %v; want an error", s, got, err)
		}
	}
}
