package token

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// parsePEM returns the public keys in text, in order. It is strict, because a block that is skipped
// silently is a key that is missing later.
func parsePEM(text []byte) ([]any, error) {
	blocks := bytes.Count(text, []byte("-----BEGIN "))
	if blocks == 0 {
		return nil, errors.New("no PEM block: a public key starts with -----BEGIN PUBLIC KEY-----")
	}
	var (
		keys  []any
		certs []*x509.Certificate
	)
	for rest := text; ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		key, cert, err := parseBlock(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", len(keys)+1, err)
		}
		if _, ok := defaultAlgorithm(key); !ok {
			return nil, fmt.Errorf("PEM block %d: unsupported key: use RSA of %d to %d bits, ECDSA on P-256, P-384 or P-521, or Ed25519",
				len(keys)+1, minRSABits, maxRSABits)
		}
		keys = append(keys, key)
		if cert != nil {
			certs = append(certs, cert)
		}
	}
	if len(keys) != blocks {
		return nil, fmt.Errorf("only %d of %d PEM blocks can be decoded: check that each was copied completely", len(keys), blocks)
	}
	return keys, checkNoChain(certs)
}

// parseBlock returns the key of a block, and the certificate if the block is one.
func parseBlock(b *pem.Block) (any, *x509.Certificate, error) {
	switch b.Type {
	case "PUBLIC KEY":
		key, err := x509.ParsePKIXPublicKey(b.Bytes)
		return key, nil, err
	case "RSA PUBLIC KEY":
		key, err := x509.ParsePKCS1PublicKey(b.Bytes)
		return key, nil, err
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, nil, err
		}
		return cert.PublicKey, cert, nil
	}
	if strings.HasSuffix(b.Type, "PRIVATE KEY") {
		return nil, nil, errors.New("it is a private key: use the public key, which `openssl pkey -pubout` prints")
	}
	return nil, nil, fmt.Errorf("a %q cannot verify tokens: use PUBLIC KEY or CERTIFICATE", b.Type)
}

// checkNoChain refuses a certificate together with its issuer's. Such a file is a chain, and each
// of its keys, including the certificate authority's, could sign logins.
func checkNoChain(certs []*x509.Certificate) error {
	for i, c := range certs {
		for j, issuer := range certs {
			if i != j && !bytes.Equal(c.RawSubject, issuer.RawSubject) && bytes.Equal(c.RawIssuer, issuer.RawSubject) {
				return fmt.Errorf("certificate %d is the issuer of certificate %d: keep only certificates whose keys sign tokens", j+1, i+1)
			}
		}
	}
	return nil
}
