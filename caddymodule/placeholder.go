package caddymodule

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/internal/secret"
)

// resolve replaces the placeholders in the text of an option. An empty or unknown placeholder is an
// error, because the option would silently mean something else, for example any issuer. No error
// shows the text itself.
func resolve(option, text string) (string, error) {
	return replacePlaceholders(option, text, false)
}

// resolveSecret is like resolve for a secret. Braces in a secret can look like a placeholder, so
// errors name only placeholders that start like those of Caddy.
func resolveSecret(option, text string) (string, error) {
	return replacePlaceholders(option, text, true)
}

// resolveKey is like resolveSecret for a text that must be hard to guess. A text that others know,
// such as a URL or a public key, is an error: it was meant as something else.
func resolveKey(option, text string) (string, error) {
	key, err := resolveSecret(option, text)
	if err != nil {
		return "", err
	}
	if is := secret.Public(key); is != "" {
		return "", fmt.Errorf("%s is %s, not a secret: make one with openssl rand -hex 32", option, is)
	}
	if secret.IsPath(key) {
		return "", fmt.Errorf("%s is the path of a file, not a secret: write {file./path} for its content", option)
	}
	return key, nil
}

func replacePlaceholders(option, text string, isSecret bool) (string, error) {
	if text != "" && !strings.ContainsAny(text, "{}") { // the same result without a replacer
		return text, nil
	}
	return replaceBraces(option, text, isSecret)
}

func replaceBraces(option, text string, isSecret bool) (string, error) {
	var problem error
	value, err := caddy.NewReplacer().ReplaceFunc(text, func(name string, value any) (any, error) {
		if caddy.ToString(value) == "" {
			problem = lacks(option, name, text == "{"+name+"}", isSecret && value == nil)
		}
		return value, problem
	})
	switch {
	case problem != nil:
		return "", problem
	case err != nil: // the replacer refuses too many braces
		return "", tooManyBraces(option)
	case value == "":
		return "", errors.New(option + isUnset)
	}
	return value, nil
}

// known replaces placeholders that are known when the configuration is loaded, and leaves all other
// braces alone. An empty variable or file is an error; the first one stays in err.
type known struct {
	option string
	repl   *caddy.Replacer
	text   string // text that is being replaced
	err    error
}

func newKnown(option string) *known {
	k := &known{option: option, repl: caddy.NewEmptyReplacer()}
	all := caddy.NewReplacer()
	k.repl.Map(func(name string) (any, bool) {
		value, found := all.Get(name)
		if found && caddy.ToString(value) == "" && k.err == nil {
			k.err = lacks(k.option, name, k.text == "{"+name+"}", false)
		}
		return value, found
	})
	return k
}

func (k *known) replace(text string) string {
	k.text = text
	replaced, err := k.repl.ReplaceOrErr(text, false, false)
	if err != nil && k.err == nil {
		k.err = tooManyBraces(k.option)
	}
	return replaced
}

// Ends of errors that start with the name of an option or a placeholder.
const (
	isUnset  = " is empty: is its environment variable set?"
	isUnread = " is empty: is its file readable, and has it a text?"
)

// lacks returns the error for a placeholder without a value. Whole says that it is the whole
// option.
func lacks(option, name string, whole, isSecret bool) error {
	shown := "{" + name + "}"
	isEmpty := isUnset
	switch namespace, _, _ := strings.Cut(name, "."); namespace {
	case "env":
	case "file":
		isEmpty = isUnread
	case "http":
		return fmt.Errorf("%s has %s, which only a request has: use {env.NAME} or {file./path}, or a block for each value",
			option, shown)
	default:
		if isSecret {
			shown = ""
		}
		return unknown(option, shown)
	}
	if !whole {
		return errors.New(option + ": " + shown + isEmpty)
	}
	return fmt.Errorf("%s%s (%s)", option, isEmpty, shown)
}

func tooManyBraces(option string) error {
	return fmt.Errorf(`%s has too many open braces: write \{ for a brace`, option)
}

// unknown returns the error for an unknown placeholder, which is "" if it may be part of a secret.
func unknown(option, placeholder string) error {
	const text = `has a placeholder that is not known: use {env.NAME} or {file./path}, or write \{ for a brace`
	if placeholder != "" {
		placeholder = " (" + placeholder + ")"
	}
	return errors.New(option + " " + text + placeholder)
}

// resolver resolves options in place. After the first error, which stays in err, it does nothing.
type resolver struct{ err error }

// text resolves an option. An option that is not set is "".
func (r *resolver) text(option string, text *string) {
	if r.err == nil && *text != "" {
		*text, r.err = resolve(option, *text)
	}
}

// hostText resolves an option in which the host of a login may stand, which is left as it is.
func (r *resolver) hostText(option string, text *string) {
	parts := strings.Split(*text, token.Host)
	for i := range parts {
		if len(parts) == 1 || parts[i] != "" {
			r.text(option, &parts[i])
		}
	}
	*text = strings.Join(parts, token.Host)
}

// texts resolves the arguments of an option.
func (r *resolver) texts(option string, texts []string) {
	for i := range texts {
		if r.err == nil {
			texts[i], r.err = resolve(numbered(option, i), texts[i])
		}
	}
}

// resolve replaces the placeholders in the options of a site that are not secret. Placeholders of
// user are replaced for each request, those of a plugin when it is loaded.
func (h *Handler) resolve() error {
	var r resolver
	r.text("prefix", &h.Prefix)
	r.texts("api_from", h.APIFrom)
	r.texts("origins", h.Origins)
	if j := h.JWT; j != nil {
		r.text("jwt: jwks", &j.JWKS)
		r.texts("jwt: algorithms", j.Algorithms)
		r.hostText("jwt: issuer", &j.Issuer)
		for i := range j.Audience {
			option := "jwt: audience"
			if len(j.Audience) > 1 {
				option = numbered(option, i)
			}
			r.hostText(option, &j.Audience[i])
		}
		r.text("jwt: id_claim", &j.IDClaim)
		r.text("jwt: email_claim", &j.EmailClaim)
		r.text("jwt: info_claim", &j.InfoClaim)
		r.text("jwt: channels_claim", &j.ChannelsClaim)
		r.text("jwt: cookie", &j.Cookie)
	}
	if c := h.Channels; c != nil {
		r.channels(c)
	}
	if h.Members != nil {
		r.texts("members: show", h.Members.Show)
	}
	if h.Pusher != nil {
		r.pusher(h.Pusher)
	}
	for i, e := range h.Events {
		if e != nil {
			r.texts(numbered("events", i)+": types", e.Types)
			r.texts(numbered("events", i)+": channels", e.Channels)
		}
	}
	return r.err
}
