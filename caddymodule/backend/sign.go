package backend

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MinSecret is the minimum length of a secret in bytes.
const MinSecret = 16

// Secret is a key that signs requests.
type Secret []byte

// ParseSecret parses a secret: "whsec_" and base64, as in Standard Webhooks, or any other text,
// which is used byte for byte. Its errors show no part of the secret.
func ParseSecret(text string) (Secret, error) {
	encoded, isBase64 := strings.CutPrefix(text, "whsec_")
	secret := []byte(text)
	if isBase64 {
		var err error
		if secret, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, errors.New("is not base64 after whsec_")
		}
	}
	if len(secret) < MinSecret {
		return nil, fmt.Errorf(
			`has less than %d bytes: make one with echo "whsec_$(openssl rand -base64 32)"`, MinSecret)
	}
	return secret, nil
}

// signature returns the value of webhook-signature. For each secret it has "v1," and the base64 of
// HMAC-SHA256 over ID, time and body, so that a backend that knows one of the secrets can verify
// it.
func signature(secrets []Secret, id string, at time.Time, body []byte) string {
	head := id + "." + strconv.FormatInt(at.Unix(), 10) + "."
	all := make([]string, len(secrets))
	for i, s := range secrets {
		mac := hmac.New(sha256.New, s)
		mac.Write([]byte(head)) // a hash never fails
		mac.Write(body)
		all[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(all, " ")
}
