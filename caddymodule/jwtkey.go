package caddymodule

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rollcall-gateway/rollcall/caddymodule/token"
)

const pemStart = "-----BEGIN "

// readKey resolves the option key into what it says: PEM text, the file of it, or a secret. What can be neither, and is
// known to others, is an error, because anybody could sign with it.
func (j *JWT) readKey(c *token.Config) error {
	if j.Key == "" {
		return nil
	}
	const option = "jwt: key"
	if strings.HasPrefix(j.Key, "{") && plainPublicText(j.Key) != "" { // not a placeholder
		return notASecret("JSON")
	}
	key, err := resolveSecret(option, j.Key)
	if err != nil {
		return err
	}
	is := publicText(key)
	switch {
	case strings.HasPrefix(strings.TrimSpace(key), pemStart):
		c.PublicKeyPEM = []byte(strings.TrimSpace(key))
	case is != "":
		return notASecret(is)
	case isKeyFile(key):
		if c.PublicKeyPEM, err = os.ReadFile(absolute(key)); err != nil {
			return fmt.Errorf("jwt: reading the key: %w", err)
		}
	case isPath(key) || looksLikePath(key):
		return errors.New("jwt: key is the path of a file, and no secret: the name of a file with a public key as PEM ends in " +
			".pem, .crt, .cer or .pub; write {file./path} for a secret that is in a file")
	default:
		c.Secret = []byte(key)
	}
	return nil
}

func isKeyFile(name string) bool {
	return slices.Contains([]string{".pem", ".crt", ".cer", ".pub"}, strings.ToLower(filepath.Ext(name)))
}

func notASecret(is string) error {
	return fmt.Errorf("jwt: key is %s, and no secret: write the URL of a key set as jwks, and a public key as PEM text or "+
		"the path of a .pem file", is)
}
