package token_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/caddymodule/token"
)

func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel() // ends the fetching of a key set, if there is one

	secret := []byte("a secret of at least thirty-two bytes")
	v, err := token.New(ctx, token.Config{
		Secret:    secret,
		Issuer:    "https://login.example.com",
		Audiences: []string{"portal"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	// The backend of the site issues tokens like this one.
	login := func(issuer string, exp time.Time) string {
		raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"iss": issuer, "aud": "portal", "exp": exp.Unix(), "sub": "USER_1", "email": "one@example.com",
		}).SignedString(secret)
		if err != nil {
			panic(err)
		}
		return raw
	}

	who, err := v.Verify(ctx, login("https://login.example.com", time.Now().Add(time.Hour)), "portal.example.com")
	fmt.Println(who.ID, who.Email, err)

	_, err = v.Verify(ctx, login("https://elsewhere.example.com", time.Now().Add(time.Hour)), "portal.example.com")
	fmt.Println(err)

	_, err = v.Verify(ctx, login("https://login.example.com", time.Now().Add(-time.Hour)), "portal.example.com")
	fmt.Println(errors.Is(err, token.ErrExpired), errors.Is(err, token.ErrInvalid))

	// Output:
	// USER_1 one@example.com <nil>
	// invalid token: iss is not the configured issuer
	// true true
}

func ExampleNew_keySet() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	// With a key set, New returns before the keys are fetched. Verify waits for them.
	_, err := token.New(ctx, token.Config{
		JWKSURL: "http://login.example.com/keys",
	})
	fmt.Println(err)

	// Output:
	// jwt: the URL of the key set is not https: only a loopback host may use http
}
