package site

import (
	"errors"

	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// ErrLoginRefused is returned when a plugin refuses a connection or its login. It is a
// presence.ErrDenied.
var ErrLoginRefused error = loginRefusedError{}

type loginRefusedError struct{}

func (loginRefusedError) Error() string { return "a plugin of this site refuses the login" }

// Is reports whether target is presence.ErrDenied.
func (loginRefusedError) Is(target error) bool { return target == presence.ErrDenied }

// Admit asks the plugins about a login of the connection with the ID, and returns it as they have
// changed it. who may be anonymous.
//
// It returns ErrLoginRefused, or a *plugins.Error if a plugin has failed, which is already logged.
func (s *Site) Admit(host presence.HostName, id presence.ID, who Login) (Login, error) {
	if !s.Chain.Has(plugins.HookConnect) {
		return who, nil
	}
	l := plugins.Login{ID: id.String()}
	if who.User != nil {
		l.User = &plugins.User{ID: who.User.ID, Email: who.User.Email, Info: who.User.Info}
	}
	if who.Token != "" {
		l.Claims = token.Claims(who.Token)
	}
	c, err := s.Chain.Connect(host.String(), l)
	switch {
	case errors.Is(err, plugins.ErrRefused):
		return who, ErrLoginRefused
	case err != nil:
		return who, err
	}
	return who.changed(c)
}

// changed returns the login with the result of the plugins.
func (l Login) changed(c plugins.Connected) (Login, error) {
	if c.HasInfo && l.User != nil {
		user := *l.User
		user.Info = ""
		if c.Info != "" {
			var err error
			if user.Info, err = presence.CompactInfo([]byte(c.Info)); err != nil {
				return l, err
			}
		}
		l.User = &user
	}
	if len(c.Grants) == 0 {
		return l, nil
	}
	var grants presence.Grants
	if l.Grants != nil {
		grants = *l.Grants
	}
	for _, of := range c.Grants {
		patterns, err := token.ParseGrants(of.Channels)
		if err != nil {
			return l, err
		}
		grants.Plugins = append(grants.Plugins, presence.PluginGrants{Plugin: of.Plugin, Patterns: patterns})
	}
	l.Grants = &grants
	return l, nil
}
