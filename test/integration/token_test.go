package integration

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const secret = "integration-secret-0123456789abcdef"

// jwtOptions has a site take tokens that were signed with the secret.
const jwtOptions = "jwt {\n key " + secret + "\n cookie rollcall_token\n }\n"

// token signs a token for a user that is accepted for so long; 0 is forever.
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

// sign makes a token with a key and, if it is not "", its id in the header.
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
