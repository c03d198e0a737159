package caddymodule

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// resolveKey is like resolveSecret for a text that must be hard to guess. A text that everybody knows, such as a URL or a
// public key, is an error: it was meant as something else.
func resolveKey(option, text string) (string, error) {
	key, err := resolveSecret(option, text)
	if err != nil {
		return "", err
	}
	if is := publicText(key); is != "" {
		return "", fmt.Errorf("%s is %s, and no secret: make one with openssl rand -hex 32", option, is)
	}
	if isPath(key) {
		return "", fmt.Errorf("%s is the path of a file, and no secret: write {file./path} for what is in the file", option)
	}
	return key, nil
}

var sshStarts = []string{"ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-", "---- BEGIN SSH2 PUBLIC KEY"}

const (
	letters   = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lettersOr = letters + "0123456789" // letters or digits
)

// publicText says what a text is that others know too, "" if it is nothing of the kind.
func publicText(text string) string {
	if is := plainPublicText(text); is != "" {
		return is
	}
	plain := text
	if strings.ContainsFunc(text, unicode.IsSpace) {
		plain = strings.Join(strings.Fields(text), "")
	}
	plain = strings.TrimRight(plain, "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		decoded, err := encoding.DecodeString(plain)
		if err != nil {
			continue
		}
		if is := plainPublicText(string(decoded)); is != "" {
			return is + " in base64"
		}
		if isPublicKey(decoded) {
			return "a public key in base64"
		}
	}
	return ""
}

func plainPublicText(text string) string {
	text = strings.TrimSpace(text)
	switch {
	case startsLikeURL(text):
		return "a URL"
	case strings.Contains(text, pemStart):
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

// isPublicKey reports whether bytes are a public key or a certificate: DER, or the wire format of SSH (RFC 4253 section
// 6.6), which begins with the length of the name of the algorithm.
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
	return len(b) > 4 && b[0] == 0 && b[1] == 0 && b[2] == 0 && plainPublicText(string(b[4:])) != ""
}

// isPath reports whether a text is the path of an existing file, or of an existing folder if it has a slash: a secret may
// be the name of a folder by chance. A long text of hexadecimal digits alone is a key, and the disk is not asked.
func isPath(text string) bool {
	const keyDigits = 64 // of openssl rand -hex 32
	if len(text) >= keyDigits && strings.Trim(text, "0123456789abcdefABCDEF") == "" {
		return false
	}
	info, err := os.Stat(text)
	return err == nil && (!info.IsDir() || strings.Contains(text, "/"))
}

// looksLikePath reports whether a text ends like the name of a file, in a folder that exists.
func looksLikePath(text string) bool {
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
