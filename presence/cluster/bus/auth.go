package bus

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
)

// routeUser is the name that pods give to each other. It is the same for all, what counts is the
// password.
const routeUser = "rollcall"

// routePassword derives from the secret what pods show to each other. Without TLS it crosses the
// network as it is, which is why it is not the secret: who overhears it can form routes, but cannot
// make payloads that carry an authentication.
func routePassword(secret string) (string, error) {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "rollcall nats route password v1", sha256.Size)
	if err != nil {
		return "", fmt.Errorf("derive the password of routes: %w", err)
	}
	return hex.EncodeToString(key), nil
}

// mutualTLS returns the configuration with both sides made to show a certificate.
func mutualTLS(c *tls.Config) (*tls.Config, error) {
	switch {
	case len(c.Certificates) == 0 && (c.GetCertificate == nil || c.GetClientCertificate == nil):
		return nil, errors.New("a certificate and its key are needed")
	case c.ClientCAs == nil || c.RootCAs == nil:
		// Without them the CAs of the system would do, and whoever has a certificate of one of
		// those would be a pod.
		return nil, errors.New("the certificate authority of the pods is needed, for clients and for servers")
	case c.InsecureSkipVerify:
		return nil, errors.New("certificates must be verified")
	}
	c = c.Clone()
	c.ClientAuth = tls.RequireAndVerifyClientCert
	c.MinVersion = max(c.MinVersion, tls.VersionTLS13) // both sides are this program
	if c.MaxVersion != 0 && c.MaxVersion < tls.VersionTLS13 {
		return nil, errors.New("TLS 1.3 must be allowed")
	}
	return c, nil
}
