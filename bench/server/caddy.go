package server

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
)

// TokenSecret is what the tokens are signed with that a Caddy takes.
const TokenSecret = "the secret of the benchmark, which is long enough"

// Caddy is a Caddy with Rollcall in it, and a site on a free port of loopback. Channels that begin with "anonymous" are
// anonymous and all others authenticated, and the endpoints are open.
//
// Only what would stop the load is not as it is by default: the limit of frames that one client may send.
type Caddy struct {
	Program string   // the file
	Dir     string   // for its files, in a folder of their own
	TLS     string   // a line of the site, like "tls cert.pem key.pem"; "" is HTTP without TLS
	Options []string // lines of the global option rollcall
}

// Start starts it.
func (c Caddy) Start(ctx context.Context) (*Process, error) {
	dir, err := os.MkdirTemp(c.Dir, "caddy")
	if err != nil {
		return nil, err
	}
	admin, err := loopback.Address()
	if err != nil {
		return nil, err
	}
	address, err := loopback.Address()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(c.config(admin, address)), 0o600); err != nil {
		return nil, err
	}
	return startCaddy(ctx, c.Program, admin, address, file, "--adapter", "caddyfile")
}

// StartConfig starts the Caddy with the configuration in a file, as JSON, which has these addresses of the admin
// endpoint and of a site.
func StartConfig(ctx context.Context, program, file, admin, address string) (*Process, error) {
	return startCaddy(ctx, program, admin, address, file)
}

// startCaddy starts Caddy, which keeps its files and its log next to its configuration.
func startCaddy(ctx context.Context, program, admin, address, config string, args ...string) (*Process, error) {
	dir := filepath.Dir(config)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has it too
	cmd := exec.CommandContext(ctx, program, append([]string{"run", "--config", config}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	cmd.Stdout, cmd.Stderr = log, log
	p := &Process{
		Address: address, Host: address, Admin: "http://" + admin,
		collect: "http://" + admin + "/debug/pprof/heap?gc=1", cmd: cmd,
	}
	return p, cmd.Start()
}

func (c Caddy) config(admin, address string) string {
	scheme := "http"
	if c.TLS != "" {
		scheme = "https"
	}
	return fmt.Sprintf(`{
	admin %s
	persist_config off
	skip_install_trust
	auto_https disable_redirects
	rollcall {
		%s
	}
}

%s://%s {
	%s
	rollcall {
		api_key off
		jwt {
			key "%s"
		}
		limits {
			frames_per_second 10000000
		}
	}
}
`, admin, strings.Join(c.Options, "\n\t\t"), scheme, address, c.TLS, TokenSecret)
}
