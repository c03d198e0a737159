package main

import (
	"context"
	"fmt"

	"github.com/rollcall-gateway/rollcall/bench/load"
	"github.com/rollcall-gateway/rollcall/bench/server"
)

const rollcallName = "rollcall"

func rollcallPeer() *peer {
	return &peer{
		name: rollcallName, title: "**Rollcall**",
		start: func(ctx context.Context, b *bench) (*server.Process, error) {
			return server.Caddy{Program: b.caddy, Dir: b.dir}.Start(ctx)
		},
		path:  "/message/socket",
		greet: []load.Step{{Await: `{"type":"welcome"`}},
		join: func(_ int, name string) load.Step {
			return load.Step{Send: fmt.Sprintf(`{"type":"join","channel":%q}`, name), Await: `{"type":"joined"`}
		},
		joined: `"type":"joined"`,
		publish: func(message string) string {
			return fmt.Sprintf(`{"type":"send","channels":[%q],"message":%s}`, shared, message)
		},
	}
}

// rollcallTLSPeer is Rollcall over TLS.
func rollcallTLSPeer() *peer {
	p := rollcallPeer()
	p.name, p.title, p.secure = "rollcall-tls", "**Rollcall**, over TLS", true
	p.start = func(ctx context.Context, b *bench) (*server.Process, error) {
		cert, key, err := writeCertificate(b.dir)
		if err != nil {
			return nil, err
		}
		return server.Caddy{Program: b.caddy, Dir: b.dir, TLS: "tls " + cert + " " + key}.Start(ctx)
	}
	return p
}
