package caddymodule

import (
	"errors"

	"github.com/caddyserver/caddy/v2"
)

// errUnset is about a text whose placeholders came to nothing.
var errUnset = errors.New("is empty: is its environment variable set?")

// resolveSecret replaces the placeholders in a secret. One that is not known is an error: otherwise the text of a
// misspelt placeholder would be the secret, and anybody could guess it. No error shows any part of the secret.
func resolveSecret(text string) (string, error) {
	secret, err := caddy.NewReplacer().ReplaceOrErr(text, false, true)
	switch {
	case err != nil:
		return "", errors.New(`has a placeholder that is not known: use {env.NAME} or {file./path}, or write \{ for a brace`)
	case secret == "":
		return "", errUnset
	}
	return secret, nil
}
