package token

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rollcall-gateway/rollcall/internal/secret"
)

// ReadKey sets Secret or PublicKeyPEM from one text: PEM text, the path of a file with it, or a
// secret. It refuses any other text that others know, because anybody could sign with it.
func (c *Config) ReadKey(text string) error {
	public := secret.Public(text)
	switch {
	case strings.HasPrefix(strings.TrimSpace(text), secret.PEMStart):
		c.PublicKeyPEM = []byte(strings.TrimSpace(text))
	case public != "":
		return fmt.Errorf("jwt: key is %s, not a secret: write the URL of a key set as jwks, and a public key as PEM text or "+
			"the path of a .pem file", public)
	case isKeyFile(text):
		path, err := filepath.Abs(text)
		if err == nil {
			c.PublicKeyPEM, err = os.ReadFile(path)
		}
		if err != nil {
			return fmt.Errorf("jwt: reading the key: %w", err)
		}
	case secret.IsPath(text) || secret.LooksLikePath(text):
		return errors.New("jwt: key is the path of a file, not a secret: the name of a file with a public key as PEM ends in " +
			".pem, .crt, .cer or .pub; write {file./path} for a secret that is in a file")
	default:
		c.Secret = []byte(text)
	}
	return nil
}

func isKeyFile(name string) bool {
	return slices.Contains([]string{".pem", ".crt", ".cer", ".pub"}, strings.ToLower(filepath.Ext(name)))
}
