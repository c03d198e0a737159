package integration

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const secret = "integration-secret-0123456789abcdef"

// jwtOptions are options of a site that accepts tokens signed with the secret.
const jwtOptions = "jwt {\n key " + secret + "\n cookie rollcall_token\n }\n"

// token returns a token for a user that is valid for the given time; 0 means forever.
func token(t testing.TB, id, email string, lasts time.Duration) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, []byte(secret), claims(id, email, lasts), "")
}

func claims(id, email string, lasts time.Duration) jwt.MapClaims {
	c := jwt.MapClaims{"sub": id, "email": email}
	if lasts != 0 {
		c["exp"] = float64(time.Now().Add(lasts).UnixMilli()) / 1000
	}
	return c
}

// sign returns a token signed by the key, with the key's ID in the header unless it is "".
func sign(t testing.TB, method jwt.SigningMethod, key any, c jwt.Claims, kid string) string {
	t.Helper()
	unsigned := jwt.NewWithClaims(method, c)
	if kid != "" {
		unsigned.Header["kid"] = kid
	}
	signed, err := unsigned.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}
