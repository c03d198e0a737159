package main

import (
	"context"
	"fmt"
	"strings"

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

const rollcallInfoName = "rollcall-info"

// rollcallInfoPeer is Rollcall with a user for each connection, who has an info of 200 bytes.
func rollcallInfoPeer() *peer {
	p := rollcallPeer()
	p.name, p.title = rollcallInfoName, "**Rollcall**, users with 200 bytes of `info`"
	p.join = func(int, string) load.Step {
		return load.Step{Send: `{"type":"join","channel":"users"}`, Await: `{"type":"joined"`}
	}
	p.personal = func(i int, plan *load.Plan) {
		plan.Header = load.BearerInfo(server.TokenSecret, userID(i), fmt.Sprintf("first.last.%08d@customers.portal.example.com", i), infoOf(i))
	}
	return p
}

// infoOf returns what is known of a user, 200 bytes.
func infoOf(i int) string {
	info := fmt.Sprintf(`{"name":"First Last %08d","about":"`, i)
	return info + strings.Repeat("x", 200-len(info)-2) + `"}`
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
