package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	_ "github.com/rollcall-gateway/rollcall/caddymodule/command" // registers caddy rollcall and caddy rollcall-plugin
)

func init() {
	caddy.RegisterModule(new(App))
	caddy.RegisterModule(new(Handler))
	caddy.RegisterModule(new(AdminAPI))
	httpcaddyfile.RegisterGlobalOption("rollcall", parseGlobalOption)
	httpcaddyfile.RegisterHandlerDirective("rollcall", parseDirective)
	// After authentication, whose users it reads, and before what would answer instead.
	httpcaddyfile.RegisterDirectiveOrder("rollcall", httpcaddyfile.Before, "respond")
}
