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

// TokenSecret signs the tokens that a Caddy accepts.
const TokenSecret = "the secret of the benchmark, which is long enough"

// Caddy is a Caddy with Rollcall and a site on a free port of loopback. Channels that start with
// "anonymous" are anonymous, all others authenticated, and the endpoints are open.
//
// Only one default is changed, because it would stop the load: the limit of frames per client.
type Caddy struct {
	Program string   // path of the binary
	Dir     string   // folder for its own files
	TLS     string   // a line of the site, such as "tls cert.pem key.pem"; "" for HTTP without TLS
	Site    string   // lines of the site's options
	Options []string // lines of the global option rollcall
}

// Start starts the Caddy.
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

// StartConfig starts the Caddy with the configuration in a JSON file, which uses these addresses
// for the admin endpoint and a site.
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
	defer log.Close() // the process keeps it open
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
		%s
	}
}
`, admin, strings.Join(c.Options, "\n\t\t"), scheme, address, c.TLS, TokenSecret, c.Site)
}
