package e2e

import (
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// authorized returns a handshake of a user.
func authorized(t testing.TB, s ws.Site, id string) ws.Request {
	t.Helper()
	claims := jwt.MapClaims{"sub": id, "email": id + "@example.com"}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	r := s.Socket()
	r.Header = ws.Header("Authorization", "Bearer "+signed)
	return r
}
