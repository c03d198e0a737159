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

// MinSecret is how many bytes a secret has at least.
const MinSecret = 16

// Secret is a key that requests are signed with.
type Secret []byte

// ParseSecret reads a secret: "whsec_" and base64, as Standard Webhooks writes it, or any other text, which is taken as
// it is. No error shows any part of it.
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

// signature returns the value of webhook-signature: "v1," and the base64 of HMAC-SHA256 over id, time and body, for each
// secret, so that a backend which knows one of them is content.
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
