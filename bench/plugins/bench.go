package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// bench is one run. Loaded guests stay until its end, so that sections share them.
type bench struct {
	ctx    context.Context
	dir    string
	guests map[string]guest
	rounds int
	closes []func()
}

func (b *bench) close() {
	for _, closeIt := range b.closes {
		closeIt()
	}
}

func (b *bench) later(name string, closeIt func() error) {
	b.closes = append(b.closes, func() {
		if err := closeIt(); err != nil {
			fmt.Fprintf(os.Stderr, "closing %s: %v\n", name, err)
		}
	})
}

// cache returns the folder for compiled code.
func (b *bench) cache() string { return filepath.Join(b.dir, "cache") }

func (b *bench) ours(name string) (*ours, error) {
	o, err := newOurs(b.ctx, b.guests[name], b.cache())
	if err == nil {
		b.later(name, o.close)
	}
	return o, err
}

func (b *bench) bare(name string, guard bool) (*bare, error) {
	w, err := newBare(b.ctx, b.guests[name].wasm, guard)
	if err == nil {
		b.later(name, func() error { return w.close(b.ctx) })
	}
	return w, err
}

// peer returns nil for a guest that is not built for Extism.
func (b *bench) peer(name string, timeout time.Duration) (*peer, error) {
	name = map[string]string{guestC: extismC, guestGo: extismGo}[name]
	if name == "" {
		return nil, nil
	}
	p, err := newPeer(b.ctx, b.guests[name].wasm, timeout)
	if err == nil {
		b.later(name, func() error { return p.close(b.ctx) })
	}
	return p, err
}
