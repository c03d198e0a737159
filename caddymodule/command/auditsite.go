package command

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
	"github.com/rollcall-gateway/rollcall/internal/secret"
	"github.com/rollcall-gateway/rollcall/presence"
)

// auditSite is what an audit needs of a site's configuration.
type auditSite struct {
	prefix, apiKey string
	grace          time.Duration
	method         jwt.SigningMethod
	secret         []byte
	claims         jwt.MapClaims // of every user
	idClaim        string
	emailClaim     string
}

// siteConfig has the options of a site that an audit needs.
type siteConfig struct {
	Handler string          `json:"handler"`
	Prefix  string          `json:"prefix"`
	APIKey  []string        `json:"api_key"`
	Grace   *caddy.Duration `json:"grace"`
	JWT     *struct {
		Key        string          `json:"key"`
		Algorithms []string        `json:"algorithms"`
		Issuer     string          `json:"issuer"`
		Audience   json.RawMessage `json:"audience"` // a text, or several
		IDClaim    string          `json:"id_claim"`
		EmailClaim string          `json:"email_claim"`
	} `json:"jwt"`
}

// readAuditSite finds the site of a host in a configuration file.
func readAuditSite(file, adapter, host string) (*auditSite, error) {
	raw, _, _, err := caddycmd.LoadConfig(file, adapter)
	if err != nil {
		return nil, err
	}
	c, err := findSite(raw, host)
	if err != nil {
		return nil, err
	}
	s, err := c.resolve(host)
	if err != nil {
		return nil, fmt.Errorf("the site of %s: %w", host, err)
	}
	return s, nil
}

// bareHost returns the canonical form of a host, which has no port. A text that is no host is
// returned as it is: no site has it.
func bareHost(host string) string {
	if name, err := presence.ParseHostName(host); err == nil {
		return name.String()
	}
	return host
}

// findSite returns the rollcall handler whose route matches the host best.
func findSite(config []byte, host string) (*siteConfig, error) {
	var c struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct {
					Routes []json.RawMessage `json:"routes"`
				} `json:"servers"`
			} `json:"http"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fmt.Errorf("the configuration is not JSON: %w", err)
	}
	var (
		sites hostpattern.Map[*siteConfig]
		every *siteConfig // site of every host
		repl  = caddy.NewReplacer()
	)
	for _, server := range c.Apps.HTTP.Servers {
		walkSites(server.Routes, nil, func(hosts []string, s *siteConfig) {
			if len(hosts) == 0 && every == nil {
				every = s
			}
			for _, h := range hosts {
				pattern, ok := hostpattern.Parse(repl.ReplaceKnown(h, ""))
				if _, there := sites.Get(pattern); ok && !there {
					sites.Insert(pattern, s)
				}
			}
		})
	}
	if s, ok := sites.Find(bareHost(host)); ok {
		return s, nil
	}
	if every != nil {
		return every, nil
	}
	return nil, fmt.Errorf("no site of %s has a rollcall block", host)
}

// walkSites calls visit for each rollcall handler in routes, with the hosts that lead to it; none
// are all.
func walkSites(routes []json.RawMessage, hosts []string, visit func(hosts []string, s *siteConfig)) {
	for _, raw := range routes {
		var route struct {
			Match []struct {
				Host []string `json:"host"`
			} `json:"match"`
			Handle []json.RawMessage `json:"handle"`
		}
		if json.Unmarshal(raw, &route) != nil {
			continue
		}
		inner := hosts
		for _, m := range route.Match {
			if len(m.Host) > 0 && len(hosts) == 0 {
				inner = append(inner, m.Host...)
			}
		}
		for _, raw := range route.Handle {
			var h struct {
				siteConfig
				Routes []json.RawMessage `json:"routes"`
			}
			if json.Unmarshal(raw, &h) != nil {
				continue
			}
			if h.Handler == "rollcall" {
				visit(inner, &h.siteConfig)
			}
			walkSites(h.Routes, inner, visit)
		}
	}
}

// resolve replaces placeholders, and checks that the site can be audited. No error shows a secret.
func (c *siteConfig) resolve(host string) (*auditSite, error) {
	if c.JWT == nil || c.JWT.Key == "" {
		return nil, errors.New("jwt has no key: the audit signs tokens of its users with a secret")
	}
	s, err := c.signer(host)
	if errors.Is(err, errNotSecret) {
		return nil, errors.New("jwt: key is not a secret: give the site for the audit a secret of its own")
	}
	if err != nil {
		return nil, err
	}
	text := resolver(host)
	if s.prefix, err = text("prefix", cmp.Or(c.Prefix, s.prefix)); err != nil {
		return nil, err
	}
	if c.Grace != nil {
		s.grace = time.Duration(*c.Grace)
	}
	return s, s.setAPIKey(c.APIKey, text)
}

// resolver returns a function that replaces the placeholders of an option of a site.
func resolver(host string) func(option, text string) (string, error) {
	repl := caddy.NewReplacer()
	return func(option, text string) (string, error) {
		value, err := repl.ReplaceOrErr(strings.ReplaceAll(text, token.Host, bareHost(host)), true, true)
		if err != nil {
			return "", fmt.Errorf("%s has a placeholder without a value: is its environment variable set?", option)
		}
		return value, nil
	}
}

// errNotSecret is returned by signer if tokens are verified with a public key.
var errNotSecret = errors.New("jwt: key is not a secret")

// signer returns what signing a token needs. No error shows a secret.
func (c *siteConfig) signer(host string) (*auditSite, error) {
	s := &auditSite{
		prefix: "/message", grace: 3 * time.Second, claims: jwt.MapClaims{}, idClaim: "sub", emailClaim: "email", method: jwt.SigningMethodHS256,
	}
	text := resolver(host)
	switch {
	case c.JWT == nil:
		return nil, errors.New("it has no jwt block, so that it accepts no tokens")
	case c.JWT.Key == "":
		return nil, errNotSecret // but a key set
	}
	key, err := text("jwt: key", c.JWT.Key)
	if err != nil {
		return nil, err
	}
	if secret.Public(key) != "" || secret.IsPath(key) || secret.LooksLikePath(key) {
		return nil, errNotSecret
	}
	s.secret = []byte(key)
	if s.emailClaim, err = text("jwt: email_claim", cmp.Or(c.JWT.EmailClaim, s.emailClaim)); err != nil {
		return nil, err
	}
	if s.idClaim, err = text("jwt: id_claim", cmp.Or(c.JWT.IDClaim, s.idClaim)); err != nil {
		return nil, err
	}
	if c.JWT.Issuer != "" {
		if s.claims["iss"], err = text("jwt: issuer", c.JWT.Issuer); err != nil {
			return nil, err
		}
	}
	if err := s.setAudience(c.JWT.Audience, text); err != nil {
		return nil, err
	}
	if len(c.JWT.Algorithms) > 0 {
		if s.method = jwt.GetSigningMethod(c.JWT.Algorithms[0]); s.method == nil || !strings.HasPrefix(s.method.Alg(), "HS") {
			return nil, errors.New("jwt: algorithms: a token needs HS256, HS384 or HS512")
		}
	}
	return s, nil
}

// setAudience takes the first audience.
func (s *auditSite) setAudience(raw json.RawMessage, text func(option, text string) (string, error)) (err error) {
	if len(raw) == 0 {
		return nil
	}
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		list = make([]string, 1)
		_ = json.Unmarshal(raw, &list[0])
	}
	if len(list) > 0 && list[0] != "" {
		s.claims["aud"], err = text("jwt: audience", list[0])
	}
	return err
}

// setAPIKey takes the first key that is in the clear.
func (s *auditSite) setAPIKey(keys []string, text func(option, text string) (string, error)) error {
	for _, k := range keys {
		key, err := text("api_key", k)
		switch {
		case err != nil:
			return err
		case key == "off":
			return nil
		case !strings.HasPrefix(key, "sha256:"):
			s.apiKey = key
			return nil
		}
	}
	return errors.New("api_key has no key in the clear: the audit cannot ask with a hash")
}

// token returns a token of a user.
func (s *auditSite) token(user string) (string, error) {
	claims := jwt.MapClaims{s.idClaim: user}
	maps.Copy(claims, s.claims)
	return s.sign(claims, 24*time.Hour)
}

// sign returns a token with the claims that is valid for a time.
func (s *auditSite) sign(claims jwt.MapClaims, valid time.Duration) (string, error) {
	claims["exp"] = time.Now().Add(valid).Unix()
	return jwt.NewWithClaims(s.method, claims).SignedString(s.secret)
}
