package caddymodule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Channels says who may join a channel, by its name. The rules are tried in the order of the
// options below. In a pattern, `*` stands for any characters.
type Channels struct {
	// Channels that one user alone may join, with all permissions: a text without `*`, and `{id}`
	// for the user's ID at its end, like `user-{id}`. Of two texts, neither begins with the other.
	// Default: none.
	Own []string `json:"own,omitempty"`

	// Patterns of channels that a user may join with a grant: by a token, an assignment or a
	// backend. Default: none.
	Granted []string `json:"granted,omitempty"`

	// Patterns of channels that every user may join. Default: none.
	Authenticated []string `json:"authenticated,omitempty"`

	// Patterns of channels that everybody may join, in addition to `anonymous*` unless the default
	// is `granted`. Default: none.
	Anonymous []string `json:"anonymous,omitempty"`

	// What applies to all other channels: `granted`, `authenticated` or `anonymous`. Default:
	// `authenticated`.
	Default string `json:"default,omitempty"`

	// Patterns of channels to which a connection that may join may send only with a grant. Default:
	// none.
	Quiet []string `json:"quiet,omitempty"`
}

// ownerID stands for the user's ID in the option own.
const ownerID = "{id}"

func (h *Handler) unmarshalChannels(d *caddyfile.Dispenser) error {
	h.Channels = new(Channels)
	return block(d, options{
		"own":           several(&h.Channels.Own),
		"granted":       several(&h.Channels.Granted),
		"authenticated": several(&h.Channels.Authenticated),
		"anonymous":     several(&h.Channels.Anonymous),
		"default":       one(&h.Channels.Default),
		"quiet":         several(&h.Channels.Quiet),
	})
}

// channels resolves the options of channels, except for {id}.
func (r *resolver) channels(c *Channels) {
	for i, text := range c.Own {
		text, isOwn := strings.CutSuffix(text, ownerID)
		if strings.Contains(text, ownerID) {
			continue // an error, see ownTexts
		}
		r.text(numbered("channels: own", i), &text)
		if c.Own[i] = text; isOwn {
			c.Own[i] += ownerID
		}
	}
	for _, rule := range c.rules() {
		for i, pattern := range rule.patterns {
			if r.err == nil && strings.Contains(pattern, ownerID) {
				r.err = ruleWithID(rule.option, pattern)
			}
			if r.err == nil {
				r.texts(rule.option, rule.patterns[i:i+1])
			}
		}
	}
	r.text("channels: default", &c.Default)
}

type channelRule struct {
	option   string
	patterns []string
}

// rules returns the rules other than own.
func (c *Channels) rules() []channelRule {
	return []channelRule{
		{"channels: granted", c.Granted},
		{"channels: authenticated", c.Authenticated},
		{"channels: anonymous", c.Anonymous},
		{"channels: quiet", c.Quiet},
	}
}

func ruleWithID(option, pattern string) error {
	return fmt.Errorf("%s: %q has %s, which stands only at the end of a text of own: write own user-%s, or a pattern with *",
		option, pattern, ownerID, ownerID)
}

// patterns returns the rules for package presence.
func (c *Channels) patterns() (presence.Patterns, error) {
	p := presence.Patterns{Default: presence.Authenticated}
	if c == nil {
		return p, nil
	}
	for _, rule := range c.rules() {
		for _, pattern := range rule.patterns {
			if strings.Contains(pattern, ownerID) { // from a variable
				return p, ruleWithID(rule.option, pattern)
			}
		}
	}
	var err error
	if p.Own, err = ownTexts(c.Own); err != nil {
		return p, err
	}
	p.Granted, p.Authenticated, p.Anonymous, p.Quiet = c.Granted, c.Authenticated, c.Anonymous, c.Quiet
	switch c.Default {
	case "", "authenticated":
	case "granted":
		p.DefaultGranted = true
	case "anonymous":
		p.Default = presence.Anonymous
	default:
		return p, fmt.Errorf("channels: default: unknown word %q: use granted, authenticated or anonymous", c.Default)
	}
	return p, nil
}

// ownTexts returns the texts of the option own, without the ID.
func ownTexts(own []string) ([]string, error) {
	const write = "write a text and " + ownerID + " like user-" + ownerID
	var texts []string
	for _, option := range own {
		text, ok := strings.CutSuffix(option, ownerID)
		switch {
		case !ok:
			return nil, fmt.Errorf("channels: own: %q does not end in %s: %s", option, ownerID, write)
		case text == "":
			return nil, fmt.Errorf("channels: own: %q has no text before %s: %s", option, ownerID, write)
		case strings.Contains(text, ownerID):
			return nil, fmt.Errorf("channels: own: %q has %s twice: %s", option, ownerID, write)
		case strings.Contains(text, "*"):
			return nil, fmt.Errorf("channels: own: %q has a *: %s", option, write)
		case len(text) > presence.MaxChannelName:
			return nil, fmt.Errorf("channels: own: a text is longer than the name of a channel: %s", write)
		}
		for _, other := range texts {
			if strings.HasPrefix(text, other) || strings.HasPrefix(other, text) {
				return nil, fmt.Errorf("channels: own: of %q and %q, one begins with the other, so a channel could have two owners: change one",
					other+ownerID, option)
			}
		}
		texts = append(texts, text)
	}
	return texts, nil
}

// checkSigned refuses rules by which everybody could join a channel that needs a signature, on a
// site with apps. Such a rule has no effect, and a reader would believe it.
func (c *Channels) checkSigned() error {
	if c == nil {
		return nil
	}
	decided := c.decidesPresence()
	for _, pattern := range c.Anonymous {
		fixed, _, isPattern := strings.Cut(pattern, "*")
		switch {
		case strings.HasPrefix(fixed, presence.SignedPrivatePrefix):
			return fmt.Errorf("channels: anonymous: %q is for channels that need a signature, because of pusher: remove it", pattern)
		case decided:
		case strings.HasPrefix(fixed, presence.SignedMembersPrefix), isPattern && strings.HasPrefix(presence.SignedMembersPrefix, fixed):
			return fmt.Errorf("channels: anonymous: %q fits channels that begin with %s, which need a signature because of pusher: "+
				"write default anonymous for all other channels, or authenticated %s* in addition", pattern, presence.SignedMembersPrefix, presence.SignedMembersPrefix)
		}
	}
	return nil
}

// decidesPresence reports whether a rule that is tried before anonymous is for all channels that
// begin with presence-.
func (c *Channels) decidesPresence() bool {
	isForAll := func(text string) bool {
		return !strings.Contains(text, "*") && strings.HasPrefix(presence.SignedMembersPrefix, text)
	}
	for _, pattern := range slices.Concat(c.Granted, c.Authenticated) {
		if fixed, ok := strings.CutSuffix(pattern, "*"); ok && isForAll(fixed) {
			return true
		}
	}
	return false
}
