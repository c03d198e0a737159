package bus

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// NewTLS makes a configuration for [Config.RouteTLS] or [Config.ClientTLS] from PEM text: a
// certificate with its key, and the certificates of the authorities that the other side must have
// its certificate from. If cert and key are nil, no certificate is shown. If ca is nil, the
// authorities of the system are used.
func NewTLS(cert, key, ca []byte) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if (cert == nil) != (key == nil) {
		return nil, errors.New("cert and key go together")
	}
	if cert != nil {
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("cert and key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if ca != nil {
		authorities := x509.NewCertPool()
		if !authorities.AppendCertsFromPEM(ca) {
			return nil, errors.New("ca: the file has no certificate as PEM")
		}
		c.RootCAs, c.ClientCAs = authorities, authorities
	}
	return c, nil
}
