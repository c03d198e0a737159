package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"
)

func main() {
	caddy := flag.String("caddy", "../bin/caddy", "the Caddy with Rollcall in it")
	conns := flag.Int("conns", 10_000, "idle connections")
	floor := flag.Bool("floor", false, "be the floor: internal")
	flag.Parse()
	if *floor {
		serveFloor()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := run(ctx, *caddy, *conns); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, caddy string, conns int) error {
	fmt.Printf("%s/%s, %d CPUs, %d connections, each joined to one channel\n\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), conns)
	floor, err := measure(ctx, floorTarget, conns)
	if err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	ours, err := measure(ctx, rollcallTarget(caddy), conns)
	if err != nil {
		return fmt.Errorf("rollcall: %w", err)
	}
	fmt.Printf("%-44s %12s %12s %8s\n", "", "TCP floor", "Rollcall", "ratio")
	row := func(what, unit string, floor, ours float64) {
		fmt.Printf("%-44s %9.1f %s %9.1f %s %8.1f\n", what, floor, unit, ours, unit, ours/floor)
	}
	row("user RSS a connection, as it stands", "KB", floor.rss, ours.rss)
	row("user RSS a connection, after GC", "KB", floor.rssGC, ours.rssGC)
	row("server CPU a connect (and handshake, join)", "us", floor.cpu, ours.cpu)
	return nil
}
