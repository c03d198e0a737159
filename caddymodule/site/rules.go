package site

import (
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// MakeRules makes rules of what the plugins are now. Each call makes others, so that a decision that is under way by the
// rules before is taken anew.
func (s *Site) MakeRules() {
	rules := s.Bounds
	rules.Classifier = s.Patterns
	if s.Chain != nil {
		v := &pluginRules{patterns: s.Patterns, chain: s.Chain}
		if s.Chain.Has(plugins.HookClassify) {
			rules.Classifier = v
		}
		if s.Chain.Has(plugins.HookAuthorize) {
			rules.Authorizer = v
		}
	}
	s.SetRules(&rules)
}

// Rules returns the rules that hold now.
func (s *Site) Rules() *presence.Rules { return s.rules.Load() }

// SetRules replaces the rules, which must not be changed afterwards.
func (s *Site) SetRules(rules *presence.Rules) { s.rules.Store(rules) }

// pluginRules decides what a channel is and who may join it: by the plugins of a site, where they have an opinion, and
// else by its patterns. A failure of a plugin is an error of its own type, which the plugin's host has logged.
type pluginRules struct {
	patterns presence.Patterns
	chain    *plugins.Chain
}

var (
	_ presence.Classifier = (*pluginRules)(nil)
	_ presence.Authorizer = (*pluginRules)(nil)
)

// Classify implements presence.Classifier.
func (v *pluginRules) Classify(host presence.HostName, channel string) (presence.Class, error) {
	class, err := v.patterns.Classify(host, channel)
	if err != nil {
		return class, err
	}
	d, err := v.chain.Classify(host.String(), channel, pluginKind(class.Kind))
	if err != nil {
		return presence.Class{}, err
	}
	switch d.Kind {
	case plugins.NoOpinion:
	case plugins.Authenticated:
		class.Kind = presence.Authenticated
	case plugins.Anonymous:
		class.Kind = presence.Anonymous
	case plugins.Denied:
		class.Denied = true
	}
	if d.CountOnly { // a login is needed, whoever decided the kind
		class.Kind = presence.Authenticated
	}
	class.Hidden, class.CountOnly = d.Hidden, d.CountOnly
	return class, nil
}

// Authorize implements presence.Authorizer.
func (v *pluginRules) Authorize(host presence.HostName, channel string, user *presence.User) error {
	class, err := v.patterns.Classify(host, channel)
	if err != nil {
		return err
	}
	var who *plugins.User
	if user != nil {
		who = &plugins.User{ID: user.ID, Email: user.Email}
	}
	ok, err := v.chain.Authorize(host.String(), channel, pluginKind(class.Kind), who)
	if err == nil && !ok {
		err = presence.ErrDenied
	}
	return err
}

func pluginKind(k presence.Kind) plugins.Kind {
	if k == presence.Anonymous {
		return plugins.Anonymous
	}
	return plugins.Authenticated
}
