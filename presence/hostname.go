package presence

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	// maxHostName is the longest host name in bytes, without a trailing dot (RFC 1035 section
	// 2.3.4).
	maxHostName = 253
	// maxHostText limits the text that is mapped to ASCII, because that takes quadratic time in the
	// length of a label. A character of a name that fits into maxHostName has up to 4 bytes.
	maxHostText = 4 * maxHostName
)

// HostName is a domain name or an IP address in canonical form: lower case, IDNA in ASCII, without
// port, brackets and trailing dot. Only [ParseHostName] returns one. The zero value is not a host.
type HostName struct{ name string }

// String returns the canonical text.
func (n HostName) String() string { return n.name }

// IsZero reports whether n is the zero value.
func (n HostName) IsZero() bool { return n.name == "" }

// hostProfile maps what users type (upper case, full-width, non-ASCII labels) to names in DNS. It
// accepts underscores and hyphens, which occur in internal names.
var hostProfile = idna.New(
	idna.MapForLookup(),
	idna.BidiRule(),
	idna.StrictDomainName(false),
)

// ParseHostName returns the canonical form of a host name or a Host header, with or without a port.
// It returns an error for an empty text, a bad port, a bad IP address, and a name that IDNA refuses
// or that is longer than 253 bytes.
func ParseHostName(s string) (HostName, error) {
	host, err := splitPort(s)
	if err != nil {
		return HostName{}, err
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return HostName{}, fmt.Errorf("%w: an address zone has no meaning to others", errBadHost)
		}
		return HostName{addr.Unmap().String()}, nil
	}
	if strings.ContainsRune(host, ':') {
		return HostName{}, fmt.Errorf("%w: bad IP address", errBadHost)
	}
	if !utf8.ValidString(host) {
		return HostName{}, fmt.Errorf("%w: it is not UTF-8", errBadHost)
	}
	if len(host) > maxHostText {
		return HostName{}, fmt.Errorf("%w: a name has 1 to %d bytes", errBadHost, maxHostName)
	}
	host, ok := canonicalASCII(host)
	if !ok {
		if host, err = hostProfile.ToASCII(host); err != nil {
			return HostName{}, fmt.Errorf("%w: %w", errBadHost, err)
		}
		// Mapping can turn a look-alike into a dot, so the result must satisfy the ASCII rules too.
		if host, ok = canonicalASCII(host); !ok {
			return HostName{}, fmt.Errorf("%w: character not allowed", errBadHost)
		}
	}
	if host == "" || len(host) > maxHostName {
		return HostName{}, fmt.Errorf("%w: a name has 1 to %d bytes", errBadHost, maxHostName)
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 {
			return HostName{}, fmt.Errorf("%w: a label has 1 to 63 bytes", errBadHost)
		}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.String()
	}
	return HostName{host}, nil
}

// splitPort removes the port, and the brackets of an IPv6 address.
func splitPort(s string) (string, error) {
	host, port := s, ""
	switch {
	case strings.HasPrefix(s, "["):
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", fmt.Errorf("%w: missing ']'", errBadHost)
		}
		host, port = s[1:end], s[end+1:]
		if !strings.Contains(host, ":") || (port != "" && port[0] != ':') {
			return "", fmt.Errorf("%w: bad IP address literal", errBadHost)
		}
	case strings.Count(s, ":") == 1:
		i := strings.IndexByte(s, ':')
		host, port = s[:i], s[i:]
	}
	if len(port) > 1 { // a colon alone is an empty port (RFC 3986 section 3.2.3)
		if _, err := strconv.ParseUint(port[1:], 10, 16); err != nil {
			return "", fmt.Errorf("%w: bad port", errBadHost)
		}
	}
	return host, nil
}

// canonicalASCII lowers s and removes one trailing dot. If s has other characters than letters,
// digits, '-', '_' and '.', it returns s unchanged and false.
func canonicalASCII(s string) (string, bool) {
	upper := false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		case c >= 'A' && c <= 'Z':
			upper = true
		default:
			return s, false
		}
	}
	if upper {
		s = strings.ToLower(s)
	}
	return strings.TrimSuffix(s, "."), true
}
