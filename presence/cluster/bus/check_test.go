package bus

import (
	"crypto/tls"
	"path/filepath"
	"strings"
	"testing"
)

func TestBadConfig(t *testing.T) {
	for name, test := range map[string]struct {
		cfg  Config
		want string
	}{
		"name":                       {Config{Name: "a b"}, "letters"},
		"listen without proof":       {Config{Listen: ":6222"}, "needs a secret"},
		"routes without listen":      {Config{Routes: []string{"a:1"}, Secret: "s"}, "address to listen on"},
		"tls without listen":         {Config{RouteTLS: &tls.Config{}}, "address to listen on"},
		"credentials without urls":   {Config{Credentials: "file"}, "give its URLs"},
		"client tls without urls":    {Config{ClientTLS: &tls.Config{}}, "give its URLs"},
		"listen with urls":           {Config{Listen: ":1", Secret: "s", URLs: []string{"nats://a:1"}}, "either"},
		"routes with urls":           {Config{Routes: []string{"a:1"}, URLs: []string{"nats://a:1"}}, "only its URLs"},
		"route tls with urls":        {Config{RouteTLS: &tls.Config{}, URLs: []string{"nats://a:1"}}, "only its URLs"},
		"listen without port":        {Config{Listen: "a", Secret: "s"}, "HOST:PORT"},
		"port out of range":          {Config{Listen: "a:65536", Secret: "s"}, "0 to 65535"},
		"port with a name":           {Config{Listen: "a:http", Secret: "s"}, "0 to 65535"},
		"route without host":         {Config{Listen: ":1", Secret: "s", Routes: []string{":1"}}, "host and a port"},
		"route with port 0":          {Config{Listen: ":1", Secret: "s", Routes: []string{"a:0"}}, "host and a port"},
		"route with user":            {Config{Listen: ":1", Secret: "s", Routes: []string{"u@a:1"}}, "no host name"},
		"route as url":               {Config{Listen: ":1", Secret: "s", Routes: []string{"nats://a:1"}}, "HOST:PORT"},
		"tls without certificate":    {Config{Listen: ":1", RouteTLS: &tls.Config{}}, "certificate"},
		"tls without authority":      {Config{Listen: ":1", RouteTLS: &tls.Config{Certificates: make([]tls.Certificate, 1)}}, "authority"},
		"url of a websocket":         {Config{URLs: []string{"ws://a:1"}}, "nats://HOST:PORT"},
		"url without scheme":         {Config{URLs: []string{"a:4222"}}, "nats://HOST:PORT"},
		"url without host":           {Config{URLs: []string{"nats://:4222"}}, "nats://HOST:PORT"},
		"url with path":              {Config{URLs: []string{"nats://a:1/x"}}, "more than"},
		"url that cannot be read":    {Config{URLs: []string{"nats://me:hunter2@a:b"}}, "nats://HOST:PORT"},
		"credentials are not there":  {Config{URLs: []string{"nats://a"}, Credentials: filepath.Join(t.TempDir(), "x")}, "credentials"},
		"certificate is not checked": {Config{Listen: ":1", RouteTLS: insecure(t)}, "verified"},
		"tls is too old":             {Config{Listen: ":1", RouteTLS: old(t)}, "1.3"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := Open(test.cfg)
			if err == nil {
				b.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q, want one with %q", err, test.want)
			}
		})
	}
}

func TestRoutePasswordIsNotTheSecret(t *testing.T) {
	a, err := routePassword("a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := routePassword("b")
	if err != nil {
		t.Fatal(err)
	}
	if a == b || len(a) != 64 {
		t.Errorf("passwords %q and %q", a, b)
	}
	// Pods of different versions must agree.
	if want := "37522e5796e4c692b6c52661643c63a983a58abf2796105411e8445a1a473d06"; a != want {
		t.Errorf("password %q, want %q", a, want)
	}
}

func insecure(t *testing.T) *tls.Config {
	c := newAuthority(t).pod(t)
	c.InsecureSkipVerify = true
	return c
}

func old(t *testing.T) *tls.Config {
	c := newAuthority(t).pod(t)
	c.MaxVersion = tls.VersionTLS12
	return c
}
