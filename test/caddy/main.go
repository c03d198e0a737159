// Command caddy is Caddy with Rollcall in it, as xcaddy would build it, for tests and profiling in
// this repository.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/rollcall-gateway/rollcall/caddymodule"
)

func main() { caddycmd.Main() }
