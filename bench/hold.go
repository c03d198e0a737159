package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/bench/load"
	"github.com/rollcall-gateway/rollcall/bench/server"
)

// holder is a process with connections that only answer pings. A single process would not have
// enough descriptors for very many.
type holder struct {
	cmd *exec.Cmd
	in  io.Closer
}

// startHolder opens connections to a server, each joined to one channel, and returns when all are
// open.
func startHolder(ctx context.Context, p *peer, s *server.Process, conns int) (*holder, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-hold", p.name, "-address", s.Address, "-conns", strconv.Itoa(conns))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	h := &holder{cmd, in}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		return nil, errors.Join(fmt.Errorf("opening %d connections: %q, %w", conns, line, err), h.stop())
	}
	return h, nil
}

// stop closes the connections.
func (h *holder) stop() error {
	_ = h.in.Close()
	return h.cmd.Wait()
}

// holdConns runs the process of a holder.
func (b *bench) holdConns(ctx context.Context, name, address string, conns int) error {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	for _, p := range append(b.peers(), rollcallTLSPeer(), rollcallInfoPeer(), rollcallPusherPeer(), rollcallListedPeer(), rollcallMemberPeer()) {
		if p.name != name {
			continue
		}
		plan := p.joining(&server.Process{Address: address, Host: address})
		if p.secure {
			return holdSecure(ctx, plan, conns)
		}
		return holdPlain(ctx, plan, p.personal, conns)
	}
	return fmt.Errorf("no peer is called %q", name)
}

func holdPlain(ctx context.Context, plan *load.Plan, personal func(i int, plan *load.Plan), conns int) error {
	l, err := load.NewLoop()
	if err != nil {
		return err
	}
	defer l.Close()
	planOf := func(i int) *load.Plan {
		if personal == nil {
			return plan
		}
		own := *plan
		personal(i, &own)
		return &own
	}
	if _, err := l.OpenAll(ctx, conns, planOf); err != nil {
		return err
	}
	fmt.Println("ready")
	for ctx.Err() == nil {
		if err := l.Poll(ctx, 100*time.Millisecond); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func holdSecure(ctx context.Context, plan *load.Plan, conns int) error {
	const atOnce = 8
	var (
		dialers, readers sync.WaitGroup
		all              = make([]*load.Secure, conns)
		errs             = make([]error, atOnce)
	)
	for d := range atOnce {
		dialers.Go(func() {
			for i := d; i < conns && errs[d] == nil; i += atOnce {
				all[i], errs[d] = load.DialSecure(ctx, plan)
			}
		})
	}
	dialers.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	lost := make(chan error, conns)
	for _, s := range all {
		readers.Go(func() { lost <- s.Hold() }) // ends with the connection
	}
	fmt.Println("ready")
	var err error
	select {
	case <-ctx.Done():
	case err = <-lost:
	}
	for _, s := range all {
		_ = s.Close()
	}
	readers.Wait()
	return err
}
