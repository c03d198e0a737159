package load

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"
)

// Bearer returns the header line that logs a user in: a token signed with HMAC and SHA-256 (RFC
// 7519), valid for a day. id and email must not need quoting in JSON.
func Bearer(secret, id, email string) string { return BearerInfo(secret, id, email, "null") }

// BearerInfo is Bearer with the claim info, which is JSON.
func BearerInfo(secret, id, email, info string) string {
	encode := base64.RawURLEncoding.EncodeToString
	claims := fmt.Sprintf(`{"sub":%q,"email":%q,"info":%s,"exp":%d}`, id, email, info, time.Now().Add(24*time.Hour).Unix())
	signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode([]byte(claims))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return "Authorization: Bearer " + signed + "." + encode(mac.Sum(nil)) + "\r\n"
}
