package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/rollcall-gateway/rollcall/bench/server"
)

// profiled runs do while a Caddy records a CPU profile, and writes the profile to a file in the
// user's folder. Such profiles can guide a build. It takes as long as a profile, which is twice the
// time of a figure.
func (b *bench) profiled(ctx context.Context, s *server.Process, do func() error) error {
	got := make(chan error, 1)
	go func() { got <- b.profileOf(ctx, s) }() // ends with the profile
	return errors.Join(do(), <-got)
}

func (b *bench) profileOf(ctx context.Context, s *server.Process) error {
	if err := os.MkdirAll(b.profile, 0o755); err != nil {
		return err
	}
	seconds := max(1, int(2*b.each.Seconds()))
	url := fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", s.Admin, seconds)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s", resp.Status)
	}
	b.profiles++
	file, err := os.Create(filepath.Join(b.profile, fmt.Sprintf("%03d.pprof", b.profiles)))
	if err != nil {
		return err
	}
	_, err = io.Copy(file, resp.Body)
	return errors.Join(err, file.Close())
}
