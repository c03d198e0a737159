package site

import (
	"github.com/rollcall-gateway/rollcall/caddymodule/authorize"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// MakeRules makes new rules with the current plugins. The new pointer invalidates joins that are
// being decided by the old rules.
func (s *Site) MakeRules() {
	rules := s.Bounds
	rules.Classifier, rules.Grants, rules.GrantPlugins = s.Patterns, s.Assigned, s.Granting
	rules.Signed = s.Patterns.Signed
	if s.Verifier != nil {
		rules.GrantsClaim = s.Verifier.ChannelsClaim()
	}
	if s.Authorize != nil {
		rules.Kept = authorize.Granter{Asker: s.Asker, To: s.Authorize}
	}
	rules.Hide = hidden(s.Show)
	if s.Chain != nil {
		v := &pluginRules{patterns: s.Patterns, chain: s.Chain}
		if s.Chain.Has(plugins.HookClassify) {
			rules.Classifier = v
		}
		if s.Chain.Has(plugins.HookAuthorize) {
			rules.Authorizer = v
		}
		if s.Chain.Has(plugins.HookMembersLive) {
			rules.Shower = newPluginShower(s.Chain, s.Show)
		}
	}
	s.SetRules(&rules)
}

// hidden returns the fields of users that are not among the keys.
func hidden(show []string) presence.Fields {
	hide := presence.FieldEmail | presence.FieldInfo | presence.FieldStatus
	for _, key := range show {
		hide &^= presence.ParseField(key)
	}
	return hide
}

// Rules returns the rules that the site has now. It implements presence.RulesSource.
func (s *Site) Rules() *presence.Rules { return s.rules.Load() }

// SetRules replaces the rules. They must not be changed afterwards.
func (s *Site) SetRules(rules *presence.Rules) { s.rules.Store(rules) }

// pluginRules classifies channels and authorizes joins by the plugins of a site, and by its
// patterns where plugins have no opinion. A failure of a plugin is a *plugins.Error, which is
// already logged.
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
	d, err := v.chain.Classify(host.String(), channel, siteKind(class))
	if err != nil {
		return class, err
	}
	switch d.Kind {
	case plugins.NoOpinion, plugins.Granted:
	case plugins.Authenticated:
		class.Kind = presence.Authenticated
	case plugins.Anonymous:
		class.Kind = presence.Anonymous
	case plugins.Denied:
		class.Denied = true
	}
	class.Grant = class.Grant || d.Grant
	if d.CountOnly || class.Grant { // requires a login, whatever decided the kind
		class.Kind = presence.Authenticated
	}
	class.Hidden, class.CountOnly, class.Provisional = d.Hidden, class.CountOnly || d.CountOnly, d.Failed
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
	ok, err := v.chain.Authorize(host.String(), channel, siteKind(class), who)
	if err == nil && !ok {
		err = presence.ErrDenied
	}
	return err
}

// siteKind returns the kind that plugins are told.
func siteKind(class presence.Class) plugins.Kind {
	switch {
	case class.Grant:
		return plugins.Granted
	case class.Kind == presence.Anonymous:
		return plugins.Anonymous
	}
	return plugins.Authenticated
}
