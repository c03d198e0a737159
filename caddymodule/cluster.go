package caddymodule

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
	"github.com/rollcall-gateway/rollcall/presence/cluster/bus"
)

// ClusterConfig makes this pod part of a deployment that answers as one. The pods communicate over
// NATS: a server inside each pod, or an external one. Exactly one of listen and nats is needed.
// Placeholders are allowed in all texts.
type ClusterConfig struct {
	// The address that the other pods connect to, host and port; `0.0.0.0` is every interface. It
	// needs a secret or tls. Default: none.
	Listen string `json:"listen,omitempty"`

	// The addresses of other pods, host and port. A few are enough, because pods tell each other
	// the rest. The pod's own address may be among them. Default: none, the pod waits for the
	// others.
	Routes []string `json:"routes,omitempty"`

	// The secret that all pods share, at least 16 characters. It authenticates pods and what they
	// send. Default: none.
	Secret string `json:"secret,omitempty"`

	// With listen, the certificate that both sides of a connection show. With nats, how to connect.
	// Default: none.
	TLS *ClusterTLS `json:"tls,omitempty"`

	// The URLs of an external NATS, like `nats://nats.internal:4222` or `tls://...`. Default: none.
	NATS []string `json:"nats,omitempty"`

	// With nats, the file with the credentials of a NATS user. Default: none.
	Credentials string `json:"credentials,omitempty"`

	// The name of the deployment, which is the first part of its subjects in NATS: 1 to 64 letters,
	// digits, '-' and '_'. Default: `rollcall`.
	Name string `json:"name,omitempty"`

	// The time that an answer waits for pods of the same data center. Default: `500ms`.
	QueryTimeout caddy.Duration `json:"query_timeout,omitempty"`

	// The time that an answer waits for pods of other data centers. Default: `1.5s`, or
	// query_timeout if that is longer.
	RemoteQueryTimeout caddy.Duration `json:"remote_query_timeout,omitempty"`
}

// ClusterTLS has the files for encrypted connections between pods, or to NATS.
type ClusterTLS struct {
	// The file with the certificate and its intermediate certificates, as PEM. Default: none,
	// allowed with nats only.
	Cert string `json:"cert,omitempty"`

	// The file with the key of the certificate, as PEM. Default: none.
	Key string `json:"key,omitempty"`

	// The file with the certificates of the authorities that the other side must have its
	// certificate from, as PEM. Default: none, allowed with nats only: the authorities of the
	// system.
	CA string `json:"ca,omitempty"`
}

const (
	defaultClusterName = "rollcall"
	defaultQuery       = 500 * time.Millisecond
	defaultRemoteQuery = 1500 * time.Millisecond
	maxQuery           = 30 * time.Second
	minClusterSecret   = 16                              // characters
	recommendedSecret  = 32                              // characters: 128 bits as openssl rand -hex prints them
	natsUserFile       = "-----BEGIN NATS USER JWT-----" // is in every .creds file
)

// settings returns the settings that the configuration describes. No error shows any part of a
// secret or of a URL, which can have one.
func (c *ClusterConfig) settings(dataCenter, pod string) (*gateway.ClusterSettings, error) {
	s := &gateway.ClusterSettings{Config: cluster.Config{DataCenter: dataCenter, Pod: pod}}
	r := clusterReader{sum: newSum()}
	r.add(dataCenter, pod)

	s.Name = r.text("name", c.Name)
	s.Bus.Listen = r.address("listen", c.Listen)
	for i, route := range c.Routes {
		s.Bus.Routes = append(s.Bus.Routes, r.address(numbered("routes", i), route))
	}
	s.Secret = r.secret("secret", c.Secret)
	for i, text := range c.NATS {
		s.Bus.URLs = append(s.Bus.URLs, r.url(numbered("nats", i), text))
	}
	s.Bus.Credentials = r.text("credentials", c.Credentials)
	if text := r.file("credentials", s.Bus.Credentials); text != nil && !strings.Contains(string(text), natsUserFile) {
		r.fail(errors.New("credentials: the file is not one that NATS makes for a user (.creds)"))
	}
	r.tls(c.TLS, &s.Bus)
	s.Timeout, s.Remote = time.Duration(c.QueryTimeout), time.Duration(c.RemoteQueryTimeout)
	if r.err == nil {
		r.fail(checkCluster(s))
	}
	if r.err != nil {
		return nil, fmt.Errorf("cluster: %w", r.err)
	}
	r.add(s.Timeout.String(), s.Remote.String())
	s.Sum = r.sum.sum()
	return s, nil
}

// checkCluster sets defaults, and refuses options that contradict each other.
func checkCluster(s *gateway.ClusterSettings) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	if s.Name == "" {
		s.Name = defaultClusterName
	}
	s.Bus.Secret = s.Secret
	b := &s.Bus
	switch {
	case b.Listen != "" && len(b.URLs) > 0:
		return errors.New("listen and nats exclude each other: write listen to form routes, or nats to use an external NATS")
	case b.Listen == "" && len(b.Routes) > 0:
		return errors.New("routes need listen: write the address at which the other pods reach this one")
	case b.Listen == "" && len(b.URLs) == 0:
		return errors.New("write listen, the address for the other pods, or nats, the URL of an external NATS")
	case b.Listen != "" && s.Secret == "" && b.RouteTLS == nil:
		return errors.New("listen needs a secret or tls: make a secret with openssl rand -hex 32")
	case s.Secret != "" && len(s.Secret) < minClusterSecret:
		return fmt.Errorf("the secret has fewer than %d characters: make one with openssl rand -hex 32", minClusterSecret)
	case b.Credentials != "" && len(b.URLs) == 0:
		return errors.New("credentials are for an external NATS: write nats too, or remove them")
	case len(s.Name) > 64 || strings.Trim(s.Name, letters) != "":
		return fmt.Errorf("name %q: use 1 to 64 letters, digits, '-' and '_'", s.Name)
	}
	if s.Timeout == 0 {
		s.Timeout = defaultQuery
	}
	if s.Remote == 0 {
		s.Remote = max(defaultRemoteQuery, s.Timeout)
	}
	if s.Timeout < 0 || s.Remote < s.Timeout || s.Remote > maxQuery {
		return fmt.Errorf("query_timeout %s %s: use durations up to %s, the second not shorter than the first",
			s.Timeout, s.Remote, maxQuery)
	}
	return nil
}

func numbered(name string, i int) string { return name + ": number " + strconv.Itoa(i+1) }

// clusterReader replaces placeholders and reads files. After the first error, which stays in err,
// it does nothing.
type clusterReader struct {
	sum *sum
	err error
}

func (r *clusterReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *clusterReader) add(parts ...string) {
	for _, p := range parts {
		r.sum.add([]byte(p))
	}
}

// text replaces the placeholders of an option. An option that is not set is "".
func (r *clusterReader) text(option, text string) string {
	return r.resolve(option, text, resolveSecret)
}

// secret is text for an option that must be hard to guess.
func (r *clusterReader) secret(option, text string) string {
	return r.resolve(option, text, resolveKey)
}

func (r *clusterReader) resolve(option, text string, resolve func(option, text string) (string, error)) string {
	if text != "" && r.err == nil {
		var err error
		if text, err = resolve(option, text); err != nil {
			r.fail(err)
		}
	}
	r.add(option, text)
	return text
}

// address is text for an option with a host and a port.
func (r *clusterReader) address(option, text string) string {
	if text == "" {
		return ""
	}
	text = r.text(option, text)
	host, port, err := net.SplitHostPort(text)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || host == "" || n == 0 || strings.ContainsAny(host, "/@ ") {
		r.fail(fmt.Errorf("%s is not HOST:PORT, like 10.0.0.1:6222; 0.0.0.0 is every interface", option))
	}
	return text
}

// url is text for an option with a URL of NATS.
func (r *clusterReader) url(option, text string) string {
	text = r.text(option, text)
	u, err := url.Parse(text)
	schemes := []string{"nats", "tls", "ws", "wss"}
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Hostname() == "" || strings.ContainsAny(text, " ,") {
		r.fail(fmt.Errorf("%s is not a URL like nats://nats.internal:4222", option))
	}
	return text
}

// unmarshalCluster sets up the cluster from its block in the global option. Syntax:
//
//	cluster {
//	    listen        <host:port>
//	    routes        <host:port>...
//	    secret        <secret>
//	    tls {
//	        cert <file>
//	        key  <file>
//	        ca   <file>
//	    }
//	    nats          <URL>...
//	    credentials   <file>
//	    name          <name>
//	    query_timeout <duration> [<duration>]
//	}
func (a *App) unmarshalCluster(d *caddyfile.Dispenser) error {
	c := new(ClusterConfig)
	a.Cluster = c
	return block(d, options{
		"listen":      one(&c.Listen),
		"routes":      several(&c.Routes),
		"secret":      one(&c.Secret),
		"tls":         c.unmarshalTLS,
		"nats":        several(&c.NATS),
		"credentials": one(&c.Credentials),
		"name":        one(&c.Name),
		"query_timeout": func(d *caddyfile.Dispenser) error {
			var local, remote string
			if err := oneOrTwo(d, &local, &remote); err != nil {
				return err
			}
			if err := duration(d, local, &c.QueryTimeout); err != nil || remote == "" {
				return err
			}
			return duration(d, remote, &c.RemoteQueryTimeout)
		},
	})
}

func (c *ClusterConfig) unmarshalTLS(d *caddyfile.Dispenser) error {
	c.TLS = new(ClusterTLS)
	return block(d, options{
		"cert": one(&c.TLS.Cert),
		"key":  one(&c.TLS.Key),
		"ca":   one(&c.TLS.CA),
	})
}

// tls makes the TLS configuration of the bus from the files of the block.
func (r *clusterReader) tls(c *ClusterTLS, to *bus.Config) {
	if c == nil || r.err != nil {
		return
	}
	certFile, keyFile, caFile := r.text("tls: cert", c.Cert), r.text("tls: key", c.Key), r.text("tls: ca", c.CA)
	cert, key, ca := r.file("tls: cert", certFile), r.file("tls: key", keyFile), r.file("tls: ca", caFile)
	if r.err != nil {
		return
	}
	routes := to.Listen != ""
	if routes && (cert == nil || key == nil || ca == nil) {
		r.fail(errors.New("tls: with listen, cert, key and ca are all needed"))
		return
	}
	conf, err := bus.NewTLS(cert, key, ca)
	switch {
	case err != nil:
		r.fail(fmt.Errorf("tls: %w", err))
	case routes:
		conf.MinVersion, conf.ClientAuth = tls.VersionTLS13, tls.RequireAndVerifyClientCert // the other side is Rollcall too
		to.RouteTLS = conf
	default:
		to.ClientTLS = conf
	}
}

// file reads the file of an option, nil if it is not set. The content is part of the sum.
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

// sum is a hash of parts, each with its length.
type sum struct{ hash.Hash }

func newSum() *sum { return &sum{sha256.New()} }

func (s *sum) add(part []byte) {
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(part)))
	_, _ = s.Write(size[:]) // never fails
	_, _ = s.Write(part)
}

func (s *sum) sum() (b [sha256.Size]byte) {
	s.Hash.Sum(b[:0])
	return b
}
