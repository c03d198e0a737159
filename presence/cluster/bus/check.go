package bus

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"go.uber.org/zap"
)

// settings is a Config that was found to be good.
type settings struct {
	name     string
	host     string // to listen on; "" for none
	port     int
	routes   []string
	password string // of routes; "" for none
	routeTLS *tls.Config

	urls        []string
	credentials string
	clientTLS   *tls.Config

	logger *zap.Logger
	hide   *strings.Replacer
}

// check returns the settings, or an error that says what to do.
func (c Config) check() (settings, error) {
	s := settings{
		name:        c.Name,
		routes:      c.Routes,
		urls:        c.URLs,
		credentials: c.Credentials,
		clientTLS:   c.ClientTLS,
		logger:      c.Logger,
	}
	if s.name == "" {
		s.name = "rollcall"
	}
	if s.logger == nil {
		s.logger = zap.NewNop()
	}
	if strings.Trim(s.name, nameCharacters) != "" {
		return s, fmt.Errorf("the name %q may have letters, digits, '.', '-' and '_' only", s.name)
	}
	var hidden []string
	var err error
	if len(c.URLs) > 0 {
		hidden, err = c.checkExternal()
	} else {
		hidden, err = c.checkEmbedded(&s)
	}
	s.hide = hide(hidden)
	return s, err
}

const nameCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_"

// checkEmbedded checks what is for a server inside of this process, and returns what no text may
// show.
func (c Config) checkEmbedded(s *settings) (hidden []string, err error) {
	if c.Credentials != "" || c.ClientTLS != nil {
		return nil, errors.New("credentials and client TLS are for an external NATS: give its URLs, or leave them out")
	}
	if c.Listen == "" {
		switch {
		case len(c.Routes) > 0:
			return nil, errors.New("routes need an address to listen on: the other pods connect back to it")
		case c.RouteTLS != nil:
			return nil, errors.New("TLS for routes needs an address to listen on")
		}
		return nil, nil
	}
	if c.Secret == "" && c.RouteTLS == nil {
		return nil, errors.New("listening for other pods needs a secret that all pods share, or TLS with client certificates, or both")
	}
	if s.host, s.port, err = hostPort(c.Listen); err != nil {
		return nil, fmt.Errorf("the address to listen on: %w", err)
	}
	if s.host == "" {
		s.host = "0.0.0.0"
	}
	for _, r := range c.Routes {
		host, port, err := hostPort(r)
		if err != nil {
			return nil, fmt.Errorf("route: %w", err)
		}
		if host == "" || port == 0 {
			return nil, fmt.Errorf("route: %q needs a host and a port", r)
		}
	}
	if c.RouteTLS != nil {
		if s.routeTLS, err = mutualTLS(c.RouteTLS); err != nil {
			return nil, fmt.Errorf("TLS for routes: %w", err)
		}
	}
	if c.Secret != "" {
		if s.password, err = routePassword(c.Secret); err != nil {
			return nil, err
		}
		hidden = []string{c.Secret, s.password}
	}
	return hidden, nil
}

// checkExternal checks what is for an external NATS, and returns what no text may show.
func (c Config) checkExternal() (hidden []string, err error) {
	switch {
	case c.Listen != "":
		return nil, errors.New("an external NATS needs no address to listen on: give either URLs or an address")
	case len(c.Routes) > 0 || c.RouteTLS != nil:
		return nil, errors.New("routes are between servers inside of pods: an external NATS needs only its URLs")
	}
	for i, text := range c.URLs {
		u, err := url.Parse(text)
		// The error is not shown: it has the URL, which may have a password.
		if err != nil || u.Hostname() == "" || (u.Scheme != "nats" && u.Scheme != "tls") {
			return hidden, fmt.Errorf("URL %d of NATS is not of the form nats://HOST:PORT or tls://HOST:PORT", i+1)
		}
		if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
			return hidden, fmt.Errorf("URL %d of NATS has more than a host and a port", i+1)
		}
		if u.User != nil {
			password, _ := u.User.Password()
			hidden = append(hidden, u.User.String(), password)
			if password == "" {
				hidden = append(hidden, u.User.Username()) // a token
			}
		}
	}
	if c.Credentials != "" {
		f, err := os.Open(c.Credentials)
		if err != nil {
			return hidden, fmt.Errorf("credentials: %w", err)
		}
		_ = f.Close() // only read
	}
	return hidden, nil
}

// hostPort splits an address. The host can be "", the port 0.
func hostPort(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not of the form HOST:PORT", address)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q has no port from 0 to 65535", address)
	}
	if strings.ContainsAny(host, " /@?#\\\"<>") {
		return "", 0, fmt.Errorf("%q has no host name", address)
	}
	return host, int(n), nil
}

// hide replaces what no text may show.
func hide(hidden []string) *strings.Replacer {
	var pairs []string
	for _, h := range hidden {
		if h != "" {
			pairs = append(pairs, h, "[hidden]")
		}
	}
	return strings.NewReplacer(pairs...)
}
