// Package secret recognizes texts that cannot be secrets because others know them, such as URLs and
// public keys.
package secret

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// PEMStart is the start of each block of PEM text (RFC 7468).
const PEMStart = "-----BEGIN "

var sshStarts = []string{"ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-", "---- BEGIN SSH2 PUBLIC KEY"}

const (
	letters   = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lettersOr = letters + "0123456789" // letters or digits
)

// Public returns what a text that others know is, such as "a URL". It returns "" for a text that
// can be a secret.
func Public(text string) string {
	if isHexKey(text) {
		return ""
	}
	if is := plain(text); is != "" {
		return is
	}
	joined := text
	if strings.ContainsFunc(text, unicode.IsSpace) {
		joined = strings.Join(strings.Fields(text), "")
	}
	joined = strings.TrimRight(joined, "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		decoded, err := encoding.DecodeString(joined)
		if err != nil {
			continue
		}
		if is := plain(string(decoded)); is != "" {
			return is + " in base64"
		}
		if isPublicKey(decoded) {
			return "a public key in base64"
		}
	}
	return ""
}

// isHexKey reports whether a text is a key as openssl rand -hex 32 makes it, or longer. Such a text
// is neither a path nor base64 of a known text. Most sites have such keys, so the check is cheap.
func isHexKey(text string) bool {
	const digits = 64
	if len(text) < digits {
		return false
	}
	for i := range len(text) {
		switch c := text[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}

func plain(text string) string {
	text = strings.TrimSpace(text)
	switch {
	case startsLikeURL(text):
		return "a URL"
	case strings.Contains(text, PEMStart):
		return "a key as PEM text"
	case slices.ContainsFunc(sshStarts, func(start string) bool { return strings.HasPrefix(text, start) }):
		return "a public key of SSH"
	case strings.IndexAny(text, "{[") == 0 && json.Valid([]byte(text)):
		return "JSON"
	}
	return ""
}

// startsLikeURL reports whether a text begins with a scheme (RFC 3986 section 3.1) and "://".
func startsLikeURL(text string) bool {
	scheme, _, ok := strings.Cut(text, "://")
	return ok && scheme != "" && strings.Trim(scheme[:1], letters) == "" && strings.Trim(scheme, lettersOr+"+.-") == ""
}

// isPublicKey reports whether bytes are a public key or a certificate, as DER or in the wire format
// of SSH (RFC 4253 section 6.6), which starts with the length of the algorithm's name.
func isPublicKey(b []byte) bool {
	const sequence = 0x30 // the first byte of a key or certificate in DER
	if len(b) > 0 && b[0] == sequence {
		if _, err := x509.ParsePKIXPublicKey(b); err == nil {
			return true
		}
		if _, err := x509.ParsePKCS1PublicKey(b); err == nil {
			return true
		}
		if _, err := x509.ParseCertificate(b); err == nil {
			return true
		}
	}
	return len(b) > 4 && b[0] == 0 && b[1] == 0 && b[2] == 0 && plain(string(b[4:])) != ""
}

// IsPath reports whether a text is the path of an existing file, or of an existing folder if it has
// a slash: a secret may be the name of a folder by chance.
func IsPath(text string) bool {
	if isHexKey(text) {
		return false
	}
	info, err := os.Stat(text)
	return err == nil && (!info.IsDir() || strings.Contains(text, "/"))
}

// LooksLikePath reports whether a text ends like the name of a file, in a folder that exists.
func LooksLikePath(text string) bool {
	folder := filepath.Dir(text)
	if folder == "/" || !hasExtension(text) {
		return false
	}
	info, err := os.Stat(folder)
	return err == nil && info.IsDir()
}

// hasExtension reports whether a text ends in a dot, a letter, and at most 7 letters or digits.
func hasExtension(text string) bool {
	i := strings.LastIndexByte(text, '.')
	after := text[i+1:]
	return i >= 0 && after != "" && len(after) <= 8 && strings.Trim(after[:1], letters) == "" && strings.Trim(after, lettersOr) == ""
}
