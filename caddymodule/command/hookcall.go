package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/rollcall-gateway/rollcall/caddymodule/answer"
	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/internal/plural"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// hookCall is a call of one hook, from flags or from a file of cases. Which fields matter depends
// on the hook.
type hookCall struct {
	Hook       string          `json:"hook"`
	Channel    string          `json:"channel"`
	Kind       string          `json:"kind"` // by the site's own rules; default authenticated
	User       *callUser       `json:"user"` // nil: an anonymous connection
	Connection string          `json:"connection"`
	Claims     json.RawMessage `json:"claims"` // in compact form
	Backend    bool            `json:"backend"`
	Message    json.RawMessage `json:"message"`
	Endpoint   string          `json:"endpoint"`
	Show       []string        `json:"show"`
	Request    json.RawMessage `json:"request"`
	Answer     json.RawMessage `json:"answer"`

	// Set by check.
	hook     plugins.Hook
	kind     plugins.Kind
	endpoint plugins.Endpoint
	users    int // in the answer; set by run
}

type callUser struct {
	ID    string          `json:"id"`
	Email string          `json:"email"`
	Info  json.RawMessage `json:"info"`
}

// answerError is the error of an answer that is not as the server writes it.
type answerError struct{ error }

const hookChoice = "connect, classify, authorize, message, members or shape"

var callHooks = []plugins.Hook{
	plugins.HookConnect, plugins.HookClassify, plugins.HookAuthorize, plugins.HookMessage, plugins.HookMembers, plugins.HookShape,
}

var callEndpoints = map[string]plugins.Endpoint{
	"": plugins.EndpointUsers, "users": plugins.EndpointUsers, "allusers": plugins.EndpointAllUsers,
	"channels": plugins.EndpointChannels, "browsers": plugins.EndpointLive, "events": plugins.EndpointEvents,
}

// check checks the arguments. named returns how the caller writes the name of one.
func (c *hookCall) check(named func(key string) string) error {
	i := slices.IndexFunc(callHooks, func(h plugins.Hook) bool { return h.String() == c.Hook })
	if i < 0 {
		return fmt.Errorf("unknown hook %q: use %s", c.Hook, hookChoice)
	}
	c.hook = callHooks[i]
	switch c.Kind {
	case "", plugins.Authenticated.String():
		c.kind = plugins.Authenticated
	case plugins.Anonymous.String():
		c.kind = plugins.Anonymous
	case plugins.Granted.String():
		c.kind = plugins.Granted
	default:
		return fmt.Errorf("%s %q: use authenticated, anonymous or granted", named("kind"), c.Kind)
	}
	var ok bool
	if c.endpoint, ok = callEndpoints[c.Endpoint]; !ok {
		return fmt.Errorf("%s %q: use users, allusers, channels, browsers or events", named("endpoint"), c.Endpoint)
	}
	switch c.hook {
	case plugins.HookClassify, plugins.HookAuthorize, plugins.HookMessage:
		if c.Channel == "" {
			return fmt.Errorf("no channel is given: add %s NAME", named("channel"))
		}
	case plugins.HookMembers:
		if c.endpoint == plugins.EndpointChannels {
			return fmt.Errorf("%s channels: this answer lists no users, so members is not called for it", named("endpoint"))
		}
		if c.endpoint == plugins.EndpointLive || c.endpoint == plugins.EndpointEvents {
			c.hook = plugins.HookMembersLive
		}
	case plugins.HookShape:
		if c.endpoint == plugins.EndpointLive || c.endpoint == plugins.EndpointEvents {
			return fmt.Errorf("%s %s: shape is not called for %[2]s", named("endpoint"), c.Endpoint)
		}
	default:
	}
	if c.Backend && c.User != nil {
		return fmt.Errorf("%s and %s contradict each other: the backend is no user", named("backend"), named("user"))
	}
	return nil
}

// supported returns an error if the plugin does not have the hook.
func (c *hookCall) supported(t *pluginTrial) error {
	has := t.plugin.Hooks()
	switch {
	case has.Has(c.hook):
		return nil
	case c.hook == plugins.HookMembersLive && has.Has(plugins.HookMembers):
		return fmt.Errorf("does not export rollcall_members_live, so members is not called for %s", c.Endpoint)
	default:
		return fmt.Errorf("has no hook %s: it exports %s", c.Hook, hookList(t.plugin))
	}
}

// readsAnswer reports whether the hook changes an answer.
func (c *hookCall) readsAnswer() bool {
	return c.hook == plugins.HookMembers || c.hook == plugins.HookMembersLive || c.hook == plugins.HookShape
}

// decides reports whether the result is a decision: an object, of which a case may name some keys.
func (c *hookCall) decides() bool { return !c.readsAnswer() }

// run makes the call and returns its result as JSON.
func (c *hookCall) run(ctx context.Context, t *pluginTrial) ([]byte, error) {
	switch c.hook {
	case plugins.HookClassify:
		return c.classify(t)
	case plugins.HookAuthorize:
		return c.authorize(t)
	case plugins.HookConnect:
		return c.connect(t)
	case plugins.HookMessage:
		return c.message(t)
	case plugins.HookMembersLive:
		return c.live(t)
	case plugins.HookMembers:
		return c.members(ctx, t)
	default:
		return t.chain.Shape(ctx, c.endpoint, t.host, c.request(), c.Answer)
	}
}

func (c *hookCall) request() []byte {
	if c.Request == nil {
		return []byte("{}")
	}
	return c.Request
}

func (c *hookCall) classify(t *pluginTrial) ([]byte, error) {
	d, err := t.chain.Classify(t.host, c.Channel, c.kind)
	if err != nil {
		return nil, err
	}
	result := struct {
		Kind      string `json:"kind"`    // final kind of the channel
		Opinion   bool   `json:"opinion"` // the plugin decided the kind
		Hidden    bool   `json:"hidden"`
		CountOnly bool   `json:"count_only"`
		Grant     bool   `json:"grant,omitempty"` // a login and a grant are needed
	}{d.Kind.String(), d.Kind != plugins.NoOpinion, d.Hidden, d.CountOnly, d.Grant || c.kind == plugins.Granted}
	switch {
	case (d.CountOnly || result.Grant) && d.Kind != plugins.Denied: // as in the gateway: both mean authenticated
		result.Kind = plugins.Authenticated.String()
	case !result.Opinion:
		result.Kind = c.kind.String()
	}
	return json.Marshal(result)
}

func (c *hookCall) authorize(t *pluginTrial) ([]byte, error) {
	allowed, err := t.chain.Authorize(t.host, c.Channel, c.kind, c.user())
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Allowed bool `json:"allowed"`
	}{allowed})
}

func (c *hookCall) user() *plugins.User {
	if c.User == nil {
		return nil
	}
	return &plugins.User{ID: c.User.ID, Email: c.User.Email, Info: string(c.User.Info)}
}

func (c *hookCall) connection() string {
	if c.Connection == "" {
		return pluginhost.SampleConnection
	}
	return c.Connection
}

// connect returns whether the plugin refused the login and, only if it set them, info and channels.
func (c *hookCall) connect(t *pluginTrial) ([]byte, error) {
	got, err := t.chain.Connect(t.host, plugins.Login{ID: c.connection(), User: c.user(), Claims: string(c.Claims)})
	var result struct {
		Refused  bool            `json:"refused"`
		Info     json.RawMessage `json:"info,omitempty"`
		Channels json.RawMessage `json:"channels,omitempty"`
	}
	switch {
	case errors.Is(err, plugins.ErrRefused):
		result.Refused = true
	case err != nil:
		return nil, err
	}
	if got.HasInfo {
		result.Info = json.RawMessage("null")
		if got.Info != "" {
			result.Info = json.RawMessage(got.Info)
		}
	}
	for _, grants := range got.Grants { // one plugin has at most one
		result.Channels = grants.Channels
	}
	return json.Marshal(result)
}

// message returns whether the plugin refused the message and, if not, the message that is sent.
func (c *hookCall) message(t *pluginTrial) ([]byte, error) {
	from := plugins.Sender{User: c.user(), Backend: c.Backend}
	if !c.Backend {
		from.Connection = c.connection()
	}
	got, err := t.chain.Message(t.host, c.Channel, c.kind, from, c.Message, presence.MaxMessage)
	if errors.Is(err, plugins.ErrRefused) {
		return []byte(`{"refused":true}`), nil
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Refused bool            `json:"refused"`
		Message json.RawMessage `json:"message"`
	}{false, got})
}

func (c *hookCall) members(ctx context.Context, t *pluginTrial) (out []byte, err error) {
	through := answer.NewPlugins(ctx, t.chain, c.endpoint, t.host, c.request)
	if c.endpoint == plugins.EndpointAllUsers {
		var dcs []answer.DataCenter
		if dcs, c.users, err = readDataCenters(c.Answer); err == nil {
			passDataCenters(through, dcs)
			out = slices.Concat(answer.AllUsers(dcs)...)
		}
	} else {
		var list []presence.Listing
		if list, c.users, err = readListings(c.Answer); err == nil {
			out = through.AppendListings(nil, list)
		}
	}
	if err != nil {
		return nil, &answerError{err}
	}
	return out, through.Err()
}

// live returns what browsers or events show of the users in an answer of /message/users.
func (c *hookCall) live(t *pluginTrial) ([]byte, error) {
	list, n, err := readListings(c.Answer)
	if err != nil {
		return nil, &answerError{err}
	}
	c.users = n
	users := make([]plugins.User, 0, n)
	for _, l := range list {
		for _, u := range l.Users {
			users = append(users, plugins.User{ID: u.ID, Email: u.Email, Info: u.Info, Status: u.Status})
		}
	}
	shown, err := t.chain.Show(c.endpoint, t.host, c.Show, users)
	if err != nil {
		return nil, err
	}
	return appendShown(nil, list, shown), nil
}

// stepsOf returns the steps that the calls have used, and their limit.
func (c *hookCall) stepsOf(t *pluginTrial) string {
	used, limits := t.steps(c.hook), t.spec.Limits
	switch c.hook {
	case plugins.HookMembers, plugins.HookMembersLive:
		return fmt.Sprintf("%d for %s, at most %d for each and 1000000 for a batch", used, plural.Of(c.users, "user"), limits.MembersBudget)
	case plugins.HookMessage:
		return fmt.Sprintf("%d, at most %d and 100 for each byte", used, limits.MessageBudget)
	case plugins.HookConnect:
		return fmt.Sprintf("%d of %d", used, limits.ConnectBudget)
	case plugins.HookShape:
		return fmt.Sprintf("%d of %d", used, limits.ShapeBudget)
	default:
		return fmt.Sprintf("%d of %d", used, limits.ClassifyBudget)
	}
}
