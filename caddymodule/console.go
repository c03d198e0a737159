package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/console"
	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/routes"
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

// Console serves a page for operators: who is connected, and what this pod does. They can also
// disconnect users, end memberships, send messages and reset the breakers of plugins. Other
// requests go to the next handler.
type Console struct {
	// The IDs of the users that may see it, as a handler before this one has authenticated them.
	// `*` alone is every such user, and `open` alone everybody, without a login. At least one is
	// required.
	Users []string `json:"users"`

	// Which hosts it shows: `own` are those that each rollcall in the console's site block serves,
	// `all` those of the whole process. Default: `own`.
	Hosts string `json:"hosts,omitempty"`

	// The placeholder with the ID of the user that a handler has authenticated. Default:
	// `{http.auth.user.id}`, which basic_auth sets.
	User string `json:"user,omitempty"`

	// The path of the page. Default: `/console`.
	Path string `json:"path,omitempty"`

	app     *App
	console *console.Server
	anyHost bool          // open, and a site block of it is for every host; set when the app settles its sites
	ended   chan struct{} // closed when the server shuts down
	way     *routes.Way
	invoked []*routes.Way // ways to it, if it is in a named route
	own     []*site.Site  // sites of its site block; set when the app settles its sites
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
	c.way = c.app.addConsole(c, ctx)
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
		console.Refuse(w, refuse(user))
		return nil
	}
	if _, err := c.app.settle(); err != nil {
		console.Refuse(w, problem.Reloaded()) // HTTP can start before the app, whose error stops the configuration
		return nil
	}
	if !c.isFor(r) {
		console.Refuse(w, problem.Misdirected())
		return nil
	}
	if !c.console.Serve(w, r, rest, c.visit(r, user)) {
		return next.ServeHTTP(w, r)
	}
	return nil
}

// refuse returns the answer to a user that may not see the console; "" if no handler has
// authenticated one.
func refuse(user string) *problem.Problem {
	if user == "" {
		return &problem.Problem{Status: http.StatusUnauthorized, Code: "login_required", Detail: "log in to see the console"}
	}
	return &problem.Problem{Status: http.StatusForbidden, Code: "denied", Detail: "the console is for other users"}
}

// userOf returns the user of a request, and whether it may see the console. The user of an open
// console is "".
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

// isFor reports whether a console of some hosts is for that of the request. Without the check, a
// client could choose the Host header of another site. A console without a site shows nothing,
// whatever the host.
func (c *Console) isFor(r *http.Request) bool {
	host, err := presence.ParseHostName(r.Host)
	if c.anyHost && (err != nil || isPublic(host.String())) {
		return false
	}
	if c.Hosts == "all" || len(c.own) == 0 {
		return true
	}
	return err == nil && c.owner(host) != nil
}

// isPublic reports whether somebody else could have the name in the public DNS, and let it resolve
// to this machine: the pages of that name would have the origin of the console (DNS rebinding).
func isPublic(host string) bool {
	_, err := netip.ParseAddr(host)
	return err != nil && strings.Contains(host, ".") && !strings.HasSuffix(host, ".localhost")
}

// owner returns the site of the console's site block that has the host in the console's own
// configuration, nil if none has it.
func (c *Console) owner(host presence.HostName) *site.Site {
	configuration, err := c.app.settle()
	if err != nil {
		return nil
	}
	if of := configuration.Find(host); slices.Contains(c.own, of) {
		return of
	}
	return nil
}

// visit says what a user sees.
func (c *Console) visit(r *http.Request, user string) console.Visit {
	client := clientAddr(r)
	v := console.Visit{
		User: user, Client: client.String(), Secure: isSecure(r), Net: clientNet(client), Site: c, All: c.Hosts == "all", Ended: c.ended,
		Retired: &c.app.stopped,
		Sees:    func(presence.HostName) bool { return true }, Loads: func(*plugins.Report) bool { return true },
	}
	if v.All {
		return v
	}
	if len(c.own) > 0 {
		v.Site = c.own[0] // the consoles of one site share its streams
	}
	v.Sees, v.Loads, v.Alone = c.sees, c.loads, c.alone
	return v
}

// sees reports whether the console shows a host. While another configuration is in effect, it does
// so only if the host has the same settings there: the host may have moved to another site.
func (c *Console) sees(host presence.HostName) bool {
	of, now := c.owner(host), c.app.hub.InEffect()
	if of == nil || now == nil {
		return false
	}
	if now.Retired == of.Retired {
		return true
	}
	other := now.Find(host)
	return other != nil && other.Settings == of.Settings
}

// loads reports whether a site of the console has the plugin of a report.
func (c *Console) loads(r *plugins.Report) bool {
	return slices.ContainsFunc(c.own, func(of *site.Site) bool { return has(of, r) })
}

// alone reports whether no other site of the configuration has the plugin of a report.
func (c *Console) alone(r *plugins.Report) bool {
	configuration, err := c.app.settle()
	return err == nil && !slices.ContainsFunc(configuration.Sites, func(s gateway.Served) bool {
		return !slices.Contains(c.own, s.Site) && has(s.Site, r)
	})
}

// has reports whether a site has the plugin of a report.
func has(of *site.Site, r *plugins.Report) bool {
	return of.Chain != nil && slices.ContainsFunc(of.Chain.Plugins(), func(p *plugins.Plugin) bool { return p.Reports(r) })
}

// addConsole makes a console part of this configuration, and returns the way to it.
func (a *App) addConsole(c *Console, ctx caddy.Context) *routes.Way {
	way := a.findWayBy(ctx, (*wayFinder).findOther)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.consoles = append(a.consoles, c)
	return way
}

// bindConsoles gives each console the sites of its site block. The caller holds mu.
func (a *App) bindConsoles() {
	var blocks *routes.Blocks
	for _, c := range a.consoles {
		ways := c.invoked
		if !c.way.Named {
			ways = []*routes.Way{c.way}
		}
		c.anyHost = slices.Contains(c.Users, everybody) &&
			slices.ContainsFunc(ways, func(w *routes.Way) bool { return w.Hosts.IsEvery() })
		if c.Hosts == "all" {
			continue
		}
		if blocks == nil {
			blocks = a.owners.Blocks()
		}
		for _, way := range ways {
			for _, of := range blocks.Sites(way) {
				if !slices.Contains(c.own, of) {
					c.own = append(c.own, of)
				}
			}
		}
		if len(c.own) == 0 {
			a.logger.Warn("the console shows no host, because its site block has no rollcall: write it in the block of one, or hosts all",
				zap.Stringer("hosts", c.way.Hosts), zap.Strings("listen", c.way.Listen()))
		}
	}
	for _, c := range a.consoles {
		c.way, c.invoked = nil, nil // the routes are needed no more
	}
}

// parseConsole reads the directive. Unlike elsewhere in a Caddyfile, * as its first argument is no
// matcher: it stands for users.
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
