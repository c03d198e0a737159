package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
)

// StartRedis starts Debian's redis-server on a free port of loopback. Nothing is written to the
// disk.
func StartRedis(ctx context.Context) (*Process, error) {
	const program = "redis-server"
	if _, err := exec.LookPath(program); errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%w: install Debian's package redis-server, or run scripts/deps.sh bench as root", err)
	}
	address, err := loopback.Address()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, "--bind", host, "--port", port, "--save", "", "--appendonly", "no", "--daemonize", "no")
	p := &Process{Address: address, Host: address, cmd: cmd}
	return p, cmd.Start()
}
