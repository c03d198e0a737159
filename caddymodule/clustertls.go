package caddymodule

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"os"

	"github.com/rollcall-gateway/rollcall/presence/cluster/bus"
)

// tls reads the files of the block into what they are for.
func (r *clusterReader) tls(c *ClusterTLS, to *bus.Config) {
	if c == nil || r.err != nil {
		return
	}
	certFile, keyFile, caFile := r.text("tls: cert", c.Cert), r.text("tls: key", c.Key), r.text("tls: ca", c.CA)
	cert, key, ca := r.file("tls: cert", certFile), r.file("tls: key", keyFile), r.file("tls: ca", caFile)
	routes := to.Listen != ""
	switch {
	case r.err != nil:
		return
	case routes && (cert == nil || key == nil || ca == nil):
		r.fail(errors.New("tls: with listen, cert, key and ca are all needed"))
		return
	case (cert == nil) != (key == nil):
		r.fail(errors.New("tls: cert and key go together"))
		return
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if cert != nil {
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			r.fail(fmt.Errorf("tls: cert and key: %w", err))
			return
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	if ca != nil {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(ca) {
			r.fail(errors.New("tls: ca: the file has no certificate as PEM"))
			return
		}
	}
	if !routes {
		to.ClientTLS = conf
		return
	}
	conf.MinVersion = tls.VersionTLS13 // the other side is Rollcall too
	conf.ClientAuth, conf.ClientCAs = tls.RequireAndVerifyClientCert, conf.RootCAs
	to.RouteTLS = conf
}

// file reads the file of an option, nil if there is none. What is in it is part of the sum.
func (r *clusterReader) file(option, name string) []byte {
	if name == "" || r.err != nil {
		return nil
	}
	text, err := os.ReadFile(absolute(name))
	if err != nil {
		r.fail(fmt.Errorf("%s: reading the file: %w", option, err))
		return nil
	}
	r.sum.add(text)
	return text
}

// sum is a hash of parts that cannot run into each other.
type sum struct{ hash.Hash }

func newSum() *sum { return &sum{sha256.New()} }

func (s *sum) add(part []byte) {
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(part)))
	_, _ = s.Write(size[:]) // a hash takes everything
	_, _ = s.Write(part)
}

func (s *sum) sum() (b [sha256.Size]byte) {
	s.Hash.Sum(b[:0])
	return b
}
