package caddymodule

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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

var (
	urlStart  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)
	sshStarts = []string{"ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-", "---- BEGIN SSH2 PUBLIC KEY"}
	extension = regexp.MustCompile(`\.[A-Za-z][A-Za-z0-9]{0,7}$`)
)

// publicText says what a text is that others know too, "" if it is nothing of the kind.
func publicText(text string) string {
	if is := plainPublicText(text); is != "" {
		return is
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		plain := strings.TrimRight(strings.Join(strings.Fields(text), ""), "=")
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
	case urlStart.MatchString(text):
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

// isPublicKey reports whether bytes are a public key or a certificate: DER, or the wire format of SSH (RFC 4253 section
// 6.6), which begins with the length of the name of the algorithm.
func isPublicKey(b []byte) bool {
	if _, err := x509.ParsePKIXPublicKey(b); err == nil {
		return true
	}
	if _, err := x509.ParsePKCS1PublicKey(b); err == nil {
		return true
	}
	if _, err := x509.ParseCertificate(b); err == nil {
		return true
	}
	return len(b) > 4 && b[0] == 0 && b[1] == 0 && b[2] == 0 && plainPublicText(string(b[4:])) != ""
}

// isPath reports whether a text is the path of an existing file, or of an existing folder if it has a slash: a secret may
// be the name of a folder by chance.
func isPath(text string) bool {
	info, err := os.Stat(text)
	return err == nil && (!info.IsDir() || strings.Contains(text, "/"))
}

// looksLikePath reports whether a text ends like the name of a file, in a folder that exists.
func looksLikePath(text string) bool {
	folder := filepath.Dir(text)
	if folder == "/" || !extension.MatchString(text) {
		return false
	}
	info, err := os.Stat(folder)
	return err == nil && info.IsDir()
}
