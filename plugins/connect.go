package plugins

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"

	"github.com/rollcall-gateway/rollcall/plugins/internal/codec"
)

const (
	// maxLogin is the maximum size of the input of connect, in bytes.
	maxLogin = 32 << 10
	// maxConnected is the maximum size of its result, and maxInfo that of the info in it.
	maxConnected = 16 << 10
	maxInfo      = 2 << 10
)

// Login is a connection that opens or logs in.
type Login struct {
	ID     string // of the connection
	User   *User  // nil if anonymous. Its Info is a JSON object in compact form; "" for none
	Claims string // payload of the token, a JSON object in compact form; "" without a token
}

// Connected is what plugins make of a login.
type Connected struct {
	// Info replaces the info of the user if HasInfo is set. It is a JSON object, "" for none.
	Info    string
	HasInfo bool
	// Grants are in the order of the plugins.
	Grants []PluginGrants
	// Failed says that a plugin failed whose policy is Pass.
	Failed bool
}

// PluginGrants are the channels that a plugin grants to the user.
type PluginGrants struct {
	Plugin   string
	Channels json.RawMessage // [Spec].CheckGrants has accepted it
}

var (
	errConnected = errors.New("the result is not one JSON object with the keys info and channels")
	errAnonymous = errors.New("an anonymous connection has no info and no channels")
	errInfo      = fmt.Errorf("info is neither null nor an object of at most %d bytes", maxInfo)
	errNoGrants  = errors.New("channels: the plugin may not grant any; write grants in its block")
)

// Connect asks the plugins about a login.
//
// # Errors
//
// It returns an ErrRefused, or an [*Error] if a plugin fails whose policy is [Deny].
func (c *Chain) Connect(host string, l Login) (Connected, error) {
	var all Connected
	for _, p := range c.load() {
		core := p.anchor.core
		if !core.hooks.Has(HookConnect) {
			continue
		}
		pool := core.pool(host)
		one, refused, f := pool.connect(host, &l)
		runtime.KeepAlive(p)
		switch {
		case f != nil && core.policy == Pass:
			all.Failed = true
			continue
		case f != nil:
			return Connected{}, pool.error(HookConnect, f)
		case refused:
			return Connected{}, &RefusedError{core.name}
		}
		if one.HasInfo {
			all.Info, all.HasInfo = one.Info, true
			user := *l.User
			user.Info = one.Info
			l.User = &user
		}
		if one.channels != nil {
			all.Grants = append(all.Grants, PluginGrants{core.name, one.channels})
		}
	}
	return all, nil
}

// connected is the result of one plugin.
type connected struct {
	Info     string
	HasInfo  bool
	channels json.RawMessage
}

func (p *pool) connect(host string, l *Login) (one connected, refused bool, f *fault) {
	input := appendLogin(nil, host, l)
	if len(input) > maxLogin {
		return one, false, p.recordFailure(HookConnect,
			faultf(ReasonTooLarge, "the login has %d bytes, at most %d are passed to the plugin", len(input), maxLogin), false)
	}
	_, refused, f = p.consult(&consultation{
		hook: HookConnect, text: input, room: maxConnected, budget: p.plugin.limits.ConnectBudget,
		check: func(result []byte) error {
			if l.User == nil {
				return errAnonymous
			}
			var err error
			one, err = parseConnected(result, p.plugin.checkGrants)
			return err
		},
	})
	return one, refused, f
}

func appendLogin(b []byte, host string, l *Login) []byte {
	b = codec.AppendString(append(b, `{"host":`...), host)
	b = codec.AppendString(append(b, `,"connection":`...), l.ID)
	b = append(b, `,"user":`...)
	if l.User == nil {
		b = append(b, "null"...)
	} else {
		b = codec.AppendString(append(b, `{"id":`...), l.User.ID)
		b = codec.AppendString(append(b, `,"email":`...), l.User.Email)
		b = append(b, `,"info":`...)
		b = append(append(b, orDefault(l.User.Info, "null")...), '}')
	}
	b = append(b, `,"claims":`...)
	return append(append(b, orDefault(l.Claims, "null")...), '}')
}

// parseConnected parses a result of connect. If check is nil, it may not have the key channels.
func parseConnected(result []byte, check func(channels []byte) error) (c connected, err error) {
	if !codec.ValidJSON(result) {
		return c, errConnected
	}
	d := json.NewDecoder(bytes.NewReader(result))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return c, errConnected
	}
	keys := 0
	for ; d.More(); keys++ {
		key, _ := d.Token() // the value is valid JSON
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return c, errConnected
		}
		switch {
		case key == "info" && !c.HasInfo:
			if c.Info, err = compactInfo(value); err != nil {
				return c, err
			}
			c.HasInfo = true
		case key == "channels" && c.channels == nil:
			if check == nil {
				return c, errNoGrants
			}
			if err := check(value); err != nil {
				return c, fmt.Errorf("channels: %w", err)
			}
			c.channels = value
		default:
			return c, errConnected
		}
	}
	if keys == 0 {
		return c, errConnected
	}
	return c, nil
}

// compactInfo returns "" for null.
func compactInfo(value []byte) (string, error) {
	if string(value) == "null" {
		return "", nil
	}
	var b bytes.Buffer
	if value[0] != '{' || json.Compact(&b, value) != nil || b.Len() > maxInfo {
		return "", errInfo
	}
	return b.String(), nil
}
