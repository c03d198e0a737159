package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() {
	caddy.RegisterModule(App{})
	caddy.RegisterModule(Handler{})
	caddy.RegisterModule(AdminAPI{})
	httpcaddyfile.RegisterGlobalOption("rollcall", parseGlobalOption)
	httpcaddyfile.RegisterHandlerDirective("rollcall", parseDirective)
	// After authentication, whose users it reads, and before what would answer instead.
	httpcaddyfile.RegisterDirectiveOrder("rollcall", httpcaddyfile.Before, "respond")
}
