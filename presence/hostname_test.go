package presence

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParseHostNameGivesTheCanonicalForm(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	longest := strings.Join([]string{label63, label63, label63, strings.Repeat("b", 61)}, ".")
	tests := []struct{ name, in, want string }{
		{"already canonical", "portal.example.com", "portal.example.com"},
		{"upper case", "Portal.EXAMPLE.com", "portal.example.com"},
		{"port", "portal.example.com:8443", "portal.example.com"},
		{"highest port", "portal.example.com:65535", "portal.example.com"},
		{"empty port (RFC 3986 section 3.2.3)", "portal.example.com:", "portal.example.com"},
		{"trailing dot", "portal.example.com.", "portal.example.com"},
		{"trailing dot and port", "portal.example.com.:443", "portal.example.com"},
		{"one label", "localhost", "localhost"},
		{"underscore", "_dmarc.Example.com", "_dmarc.example.com"},
		{"hyphens at the edges of a label", "-a-.example", "-a-.example"},
		{"digits", "1.example", "1.example"},
		{"longest name", longest, longest},
		{"longest name with a trailing dot", longest + ".", longest},

		{"IPv4", "192.0.2.1", "192.0.2.1"},
		{"IPv4 with port", "192.0.2.1:80", "192.0.2.1"},
		{"IPv4 with trailing dot", "192.0.2.1.", "192.0.2.1"},
		{"IPv4 in full-width digits", "１９２.0.2.1", "192.0.2.1"},
		{"IPv6 in brackets", "[2001:db8::1]", "2001:db8::1"},
		{"IPv6 in brackets with port", "[2001:db8::1]:443", "2001:db8::1"},
		{"IPv6 in brackets with empty port", "[2001:db8::1]:", "2001:db8::1"},
		{"IPv6 bare", "2001:db8::1", "2001:db8::1"},
		{"IPv6 upper case and not compressed", "[2001:0DB8:0:0:0:0:0:1]", "2001:db8::1"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.1]:80", "192.0.2.1"},

		{"IDNA", "münchen.example", "xn--mnchen-3ya.example"},
		{"IDNA in upper case", "MÜNCHEN.example", "xn--mnchen-3ya.example"},
		{"IDNA decomposed", "mu\u0308nchen.example", "xn--mnchen-3ya.example"},
		{"IDNA with port and trailing dot", "münchen.example.:8080", "xn--mnchen-3ya.example"},
		{"IDNA encoded, in upper case", "XN--MNCHEN-3YA.example", "xn--mnchen-3ya.example"},
		{"sharp s is its own letter", "straße.example", "xn--strae-oqa.example"},
		{"full-width letters", "ｐｏｒｔａｌ.example", "portal.example"},
		{"full-width dots", "portal．example。com｡", "portal.example.com"},
		{"ligature", "ﬁ.example", "fi.example"},
		{"Kelvin sign", "\u212a.example", "k.example"},
		{"soft hyphen is nothing", "por\u00adtal.example", "portal.example"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := ParseHostName(tt.in)
			if err != nil || n.String() != tt.want {
				t.Fatalf("ParseHostName(%q) = %q, %v; want %q", tt.in, n, err, tt.want)
			}
			if n.IsZero() {
				t.Error("a parsed name is zero")
			}
			if again, err := ParseHostName(n.String()); err != nil || again != n {
				t.Errorf("ParseHostName(%q) = %q, %v; want the same again", n, again, err)
			}
		})
	}
}

func TestParseHostNameRefuses(t *testing.T) {
	tests := []struct{ name, in string }{
		{"empty", ""},
		{"only a port", ":8080"},
		{"only a dot", "."},
		{"only a soft hyphen", "\u00ad"},
		{"empty label first", ".example"},
		{"empty label inside", "portal..example"},
		{"empty label last", "portal.example.."},
		{"empty label after mapping", "ü．．example"},
		{"label of 64 bytes", strings.Repeat("a", 64) + ".example"},
		{"name of 254 bytes", strings.Repeat("a.", 126) + "ab"},
		{"name that grows too long by encoding", strings.Repeat("ü.", 126) + "a"},

		{"port not a number", "portal.example:http"},
		{"port with sign", "portal.example:-1"},
		{"port of six digits", "portal.example:443443"},
		{"port over 65535", "portal.example:65536"},
		{"two ports", "portal.example:80:80"},
		{"full-width colon", "portal.example：80"},
		{"brackets without end", "[2001:db8::1"},
		{"brackets without start", "2001:db8::1]"},
		{"text after brackets", "[2001:db8::1]443"},
		{"bad port after brackets", "[2001:db8::1]:x"},
		{"IPv4 in brackets", "[192.0.2.1]"},
		{"name in brackets", "[portal.example]"},
		{"bad IPv6", "2001:db8:::1"},
		{"zone", "fe80::1%eth0"},
		{"zone in brackets", "[fe80::1%25eth0]:80"},

		{"space", "portal example"},
		{"leading space", " portal.example"},
		{"space next to other scripts", "mün chen.example"},
		{"NUL", "portal\x00.example"},
		{"new line", "portal.example\n"},
		{"slash", "portal.example/x"},
		{"user info", "user@portal.example"},
		{"percent encoding", "%70ortal.example"},
		{"wildcard", "*.example"},
		{"symbol that maps to a slash", "\u2100.example"},
		{"zero-width joiner out of place", "a\u200db.example"},
		{"right-to-left label that starts with a digit", "1א.example"},
		{"invalid UTF-8", "\xff.example"},
		{"invalid UTF-8 next to other scripts", "ü\xff.example"},
		{"surrogate", "\xed\xa0\x80.example"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := ParseHostName(tt.in)
			if !errors.Is(err, errBadHost) || !n.IsZero() {
				t.Errorf("ParseHostName(%q) = %q, %v; want errBadHost and no name", tt.in, n, err)
			}
		})
	}
}

// A Host header may be as long as all headers together, and encoding a label takes quadratic time.
func TestParseHostNameIsQuickOnHugeNames(t *testing.T) {
	var label strings.Builder
	for i := range 20_000 {
		label.WriteRune(rune(0x4e00 + i))
	}
	tests := []struct{ name, in string }{
		{"one label of different characters", label.String()},
		{"many labels", strings.Repeat("ü.", 200_000)},
		{"characters that map to nothing", strings.Repeat("\u00ad", 200_000) + "ü.example"},
		{"digits of a port", "a:" + strings.Repeat("1", 1_000_000)},
		{"colons", strings.Repeat(":", 1_000_000)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			if n, err := ParseHostName(tt.in); err == nil {
				t.Errorf("took it as %q", n)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestHostNameZeroValueIsNoHost(t *testing.T) {
	if n := (HostName{}); !n.IsZero() || n.String() != "" {
		t.Errorf("the zero value is %q", n)
	}
}

func FuzzParseHostName(f *testing.F) {
	for _, s := range []string{
		"", "portal.example.com:8443", "EXAMPLE.", "192.0.2.1:80", "[2001:db8::1]:443", "::ffff:192.0.2.1", "fe80::1%eth0",
		"MÜNCHEN.example", "xn--mnchen-3ya", "xn--", "a．b。c", "\u212a", "１.２.３.４", "\xff", "a b", "1א", "a\u200db",
		"ß.ẞ", "_a.-b-", "0x7f.1", "١.example", "٠.٠.٠.٠", "a:080", "[::]", "[]:1", "xn--a.ü",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseHostName(s)
		if err != nil {
			if !errors.Is(err, errBadHost) || !n.IsZero() {
				t.Fatalf("ParseHostName(%q) = %q, %v", s, n, err)
			}
			return
		}
		text := n.String()
		if text == "" || len(text) > maxHostName {
			t.Fatalf("ParseHostName(%q) = %q of %d bytes", s, text, len(text))
		}
		address := strings.Contains(text, ":")
		for _, c := range []byte(text) {
			switch {
			case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.', c == ':' && address:
			default:
				t.Fatalf("ParseHostName(%q) = %q with %q", s, text, c)
			}
		}
		if strings.HasSuffix(text, ".") || strings.HasPrefix(text, ".") {
			t.Fatalf("ParseHostName(%q) = %q with a dot at the edge", s, text)
		}
		if again, err := ParseHostName(text); err != nil || again != n {
			t.Fatalf("ParseHostName(%q) = %q, but then %q, %v", s, text, again, err)
		}
		port := text + ":443"
		if address {
			port = "[" + text + "]:443"
		}
		if again, err := ParseHostName(port); err != nil || again != n {
			t.Fatalf("ParseHostName(%q) = %q, %v; want %q", port, again, err, text)
		}
	})
}
