package app

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Reasons of refused signatures, which count as wrong keys of an address.
var (
	ErrUnknownKey   = errors.New("unknown key")
	ErrBadSignature = errors.New("wrong signature")
)

// refusal is a reason with words that help to find the mistake.
type refusal struct {
	reason error
	text   string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.reason }

// Sign returns the HMAC-SHA256 of a text in hexadecimal digits, as X-Pusher-Signature has it.
func (k *Key) Sign(text []byte) string {
	mac := hmac.New(sha256.New, k.Secret)
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(nil))
}

// signed reports whether the signature is that of the text, in constant time.
func (k *Key) signed(text, signature string) bool { return same(k.Sign([]byte(text)), signature) }

// VerifySocket checks what a client presents to subscribe to a channel that needs a signature.
// channelData is "" if there is none. The error is for the client: it says what had to be signed,
// and never the right signature.
func (c *Config) VerifySocket(a *App, socket SocketID, channel, channelData, auth string) error {
	text := socket.String() + ":" + channel
	if channelData != "" {
		text += ":" + channelData
	}
	return c.verify(a, text, auth)
}

// VerifySignIn checks what a client presents to sign in, as [Config.VerifySocket].
func (c *Config) VerifySignIn(a *App, socket SocketID, userData, auth string) error {
	return c.verify(a, socket.String()+"::user::"+userData, auth)
}

// verify checks an auth of the form KEY:SIGNATURE.
func (c *Config) verify(a *App, text, auth string) error {
	name, signature, found := strings.Cut(auth, ":")
	switch {
	case auth == "":
		return &refusal{ErrBadSignature, "auth is missing: it must be KEY:SIGNATURE"}
	case !found:
		return &refusal{ErrBadSignature, "auth must be KEY:SIGNATURE"}
	}
	key := a.key(name)
	switch {
	case key != nil && key.signed(text, signature):
		return nil
	case key != nil:
		return &refusal{ErrBadSignature, fmt.Sprintf(
			"wrong signature: expected the HMAC-SHA256, as 64 lowercase hexadecimal digits, with the secret of the key %s, of the text %s", name, text)}
	case c.ByKey(name) != nil:
		return &refusal{ErrUnknownKey, "the key of auth belongs to another app"}
	}
	return &refusal{ErrUnknownKey, "the key of auth is not a key of this app"}
}
