package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/caddymodule/console"
	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

func init() {
	caddy.RegisterModule(new(Console))
	httpcaddyfile.RegisterDirective("rollcall_console", parseConsole)
	// The directive comes after basic_auth and forward_auth, whose users it lets in.
	httpcaddyfile.RegisterDirectiveOrder("rollcall_console", httpcaddyfile.After, "forward_auth")
}

// Console serves a page for operators: who is connected, and what this pod does. They can also disconnect
// users, end memberships, send messages and reset the breakers of plugins. Other requests go to the next
// handler.
type Console struct {
	// The IDs of the users that may see it, as a handler before this one has authenticated them. `*` alone is every
	// such user, and `open` alone everybody, without a login. At least one is required.
	Users []string `json:"users"`

	// Which hosts it shows: `own` are those that the rollcall of the site block serves, `all` those of the whole
	// process. Default: `own`.
	Hosts string `json:"hosts,omitempty"`

	// The placeholder with the ID of the user that a handler has authenticated. Default: `{http.auth.user.id}`, which
	// basic_auth sets.
	User string `json:"user,omitempty"`

	// The path of the page. Default: `/console`.
	Path string `json:"path,omitempty"`

	app     *App
	console *console.Server
	ended   chan struct{} // closed when the server shuts down
}

const (
	defaultConsolePath = "/console"
	defaultConsoleUser = "{http.auth.user.id}"
	everyUser          = "*"
	everybody          = "open"
)

// CaddyModule returns the Caddy module information.
func (*Console) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.rollcall_console",
		New: func() caddy.Module { return new(Console) },
	}
}

// Provision sets the defaults and takes the process's console.
func (c *Console) Provision(ctx caddy.Context) error {
	app, err := ctx.App("rollcall")
	if err != nil {
		return fmt.Errorf("loading the rollcall app: %w", err)
	}
	c.app, c.ended = app.(*App), make(chan struct{})
	c.console = c.app.console
	if c.Path == "" {
		c.Path = defaultConsolePath
	}
	if c.User == "" {
		c.User = defaultConsoleUser
	}
	if slices.Contains(c.Users, everybody) {
		ctx.Logger(c).Warn("the console is open to everybody: name its users, unless only you can reach it")
	}
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		server.RegisterOnShutdown(func() { close(c.ended) }) // otherwise the server would wait for open pages
	}
	return nil
}

// Validate refuses a console without users, and options that mean nothing.
func (c *Console) Validate() error {
	switch {
	case len(c.Users) == 0 || slices.Contains(c.Users, ""):
		return errors.New("rollcall_console: name the users that may see it, or write * for every authenticated user, or open for everybody")
	case len(c.Users) > 1 && (slices.Contains(c.Users, everyUser) || slices.Contains(c.Users, everybody)):
		return fmt.Errorf("rollcall_console %s: write * or open alone", strings.Join(c.Users, " "))
	case c.Hosts != "" && c.Hosts != "own" && c.Hosts != "all":
		return fmt.Errorf("rollcall_console: hosts %q: use own or all", c.Hosts)
	case c.Path != path.Clean(c.Path) || !strings.HasPrefix(c.Path, "/") || c.Path == "/":
		return fmt.Errorf("rollcall_console: path %q: write it like /console", c.Path)
	}
	// Any other text would make a user of a request that has none, and * would let it in.
	if !strings.HasPrefix(c.User, "{http.") || strings.IndexByte(c.User, '}') != len(c.User)-1 || strings.Count(c.User, "{") != 1 {
		return fmt.Errorf("rollcall_console: user %q: write one placeholder of the request and nothing else, like %s", c.User, defaultConsoleUser)
	}
	for _, id := range c.Users {
		if strings.ContainsAny(id, "{}") {
			return fmt.Errorf("rollcall_console: user %q: write the ID itself, placeholders are not replaced", id)
		}
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	rest, ok := strings.CutPrefix(r.URL.Path, c.Path)
	if !ok || rest != "" && rest[0] != '/' {
		return next.ServeHTTP(w, r)
	}
	user, allowed := c.userOf(r)
	if !allowed {
		w.Header().Set("Cache-Control", "no-store")
		refuse(user).Write(w)
		return nil
	}
	_, _ = c.app.settle() // HTTP can start before the app, whose error stops the configuration
	if !c.console.Serve(w, r, rest, c.visit(r, user)) {
		return next.ServeHTTP(w, r)
	}
	return nil
}

// refuse returns the answer to a user that may not see the console; "" if no handler has authenticated one.
func refuse(user string) *problem.Problem {
	if user == "" {
		return &problem.Problem{Status: http.StatusUnauthorized, Code: "login_required", Detail: "log in to see the console"}
	}
	return &problem.Problem{Status: http.StatusForbidden, Code: "denied", Detail: "the console is for other users"}
}

// userOf returns the user of a request, and whether it may see the console. The user of an open console is "".
func (c *Console) userOf(r *http.Request) (id string, allowed bool) {
	if c.Users[0] == everybody {
		return "", true
	}
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return "", false
	}
	id = repl.ReplaceAll(c.User, "")
	return id, id != "" && (c.Users[0] == everyUser || slices.Contains(c.Users, id))
}

// visit says what a user sees. It is by the configuration in effect, so a host that leaves it is no longer shown.
func (c *Console) visit(r *http.Request, user string) console.Visit {
	v := console.Visit{
		User: user, Client: clientAddr(r).String(), All: c.Hosts == "all", Ended: c.ended,
		Sees: func(presence.HostName) bool { return true }, Names: func(string) bool { return true },
	}
	if v.All {
		return v
	}
	hub := c.app.hub
	host, err := presence.ParseHostName(r.Host)
	own := func() (*gateway.Configuration, *site.Site) {
		if now := hub.InEffect(); now != nil && err == nil {
			return now, now.Find(host)
		}
		return nil, nil
	}
	v.Sees = func(other presence.HostName) bool {
		now, of := own()
		return of != nil && now.Find(other) == of
	}
	v.Names = func(plugin string) bool {
		_, of := own()
		return of != nil && of.Chain != nil &&
			slices.ContainsFunc(of.Chain.Plugins(), func(p *plugins.Plugin) bool { return p.Name() == plugin })
	}
	return v
}

// parseConsole reads the directive. Unlike elsewhere in a Caddyfile, * as its first argument is no matcher: it stands
// for users.
func parseConsole(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next()
	hasMatcher := h.NextArg() && (strings.HasPrefix(h.Val(), "/") || strings.HasPrefix(h.Val(), "@"))
	h.Reset()
	var matcher caddy.ModuleMap
	if hasMatcher {
		h.Next()
		var err error
		if matcher, err = h.ExtractMatcherSet(); err != nil {
			return nil, err
		}
	}
	c := new(Console)
	if err := c.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return h.NewRoute(matcher, c), nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	rollcall_console [<matcher>] <user>... | * | open {
//	    hosts own | all
//	    user  <placeholder>
//	    path  <path>
//	}
func (c *Console) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if c.Users = d.RemainingArgs(); len(c.Users) == 0 {
		return d.Err("name the users that may see the console, or write * for every authenticated user, or open for everybody")
	}
	return block(d, options{
		"hosts": one(&c.Hosts),
		"user":  one(&c.User),
		"path":  one(&c.Path),
	})
}

var (
	_ caddy.Provisioner           = (*Console)(nil)
	_ caddy.Validator             = (*Console)(nil)
	_ caddyhttp.MiddlewareHandler = (*Console)(nil)
	_ caddyfile.Unmarshaler       = (*Console)(nil)
)
