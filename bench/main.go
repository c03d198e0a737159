package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/rollcall-gateway/rollcall/bench/load"
)

// bench is one run.
type bench struct {
	options
	report
	dir      string // folder for the servers' files
	profiles int    // profiles written so far
}

// section is a part of the run that can be selected.
type section struct {
	name string
	do   func(b *bench, ctx context.Context) error
	most time.Duration // time limit
}

var sections = []section{
	{"idle", (*bench).idle, 15 * time.Minute},
	{"connect", (*bench).connect, 10 * time.Minute},
	{"fanout", (*bench).fanout, 30 * time.Minute},
	{"pods", (*bench).pods, 20 * time.Minute},
	{"members", (*bench).members, 10 * time.Minute},
	{"pusher", (*bench).pusher, 15 * time.Minute},
	{"events", (*bench).events, 15 * time.Minute},
	{"sites", (*bench).manySites, 15 * time.Minute},
}

func main() {
	o, err := parseOptions(os.Args[1:])
	if err == nil {
		err = (&bench{options: o}).main()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) main() error {
	if err := load.RaiseFileLimit(); err != nil {
		return err
	}
	if b.serve != "" {
		return serve(b.serve, b.address)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if b.hold != "" {
		return b.holdConns(ctx, b.hold, b.address, b.conns[0])
	}
	return b.run(ctx)
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp("", "rollcall-bench"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	var failed []error // results so far are written all the same
	for _, s := range sections {
		if len(b.sections) > 0 && !slices.Contains(b.sections, s.name) {
			continue
		}
		if err := b.bounded(ctx, s); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", s.name, err))
			progress("%v", err)
		}
	}
	if b.cluster != "" {
		failed = append(failed, b.include("Queries to ten pods", b.cluster))
	}
	if b.growth != "" {
		failed = append(failed, b.include("Growth", b.growth))
	}
	if b.assign != "" {
		failed = append(failed, b.include("Assignments on five pods", b.assign))
	}
	if b.tenants != "" {
		failed = append(failed, b.include("Plugins for ten thousand hosts", b.tenants))
	}
	return errors.Join(append(failed, b.write(b.output, b.options))...)
}

// bounded measures a section within its time limit.
func (b *bench) bounded(ctx context.Context, s section) error {
	ctx, cancel := context.WithTimeout(ctx, s.most)
	defer cancel()
	return s.do(b, ctx)
}

// progress shows what is being done.
func progress(format string, args ...any) {
	fmt.Fprintln(os.Stderr, time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
