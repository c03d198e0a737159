// Command plugins compares the cost of Rollcall's plugins with other ways to run the same work in
// the same process: the bare call of wazero, which nothing can stop; wazero's own guard, a deadline
// on a context for each call; and the Go SDK of Extism. It writes tables in Markdown.
//
//	go run ./plugins -caddy ../bin/caddy >figures.md
//
// It builds its guests with the SDKs, like a plugin's author. So it needs clang, wasm-ld, cargo
// with the target wasm32-unknown-unknown, and npm; "make deps" installs them. Absolute figures
// depend on the machine; compare the columns.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"testing"
	"time"
)

func main() {
	testing.Init() // its flags configure testing.Benchmark
	caddy := flag.String("caddy", "../bin/caddy", "the Caddy with Rollcall in it, which makes new plugins")
	rounds := flag.Int("rounds", 3, "how often each figure is taken; the best counts")
	each := flag.Duration("time", 300*time.Millisecond, "how long a figure is taken each time")
	flag.Parse()
	if err := flag.Set("test.benchtime", each.String()); err != nil {
		panic(err) // testing.Init has added the flag
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *caddy, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "plugins:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, caddy string, rounds int) (err error) {
	dir, err := os.MkdirTemp("", "rollcall-bench-plugins")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	progress("building guests")
	guests, err := buildGuests(ctx, caddy, dir)
	if err != nil {
		return err
	}
	b := &bench{ctx: ctx, dir: dir, guests: guests, rounds: rounds}
	defer b.close()
	fmt.Printf("# Plugins\n\n%s/%s, %d CPUs, %s. Each figure is the best of %d, and CPU time of the whole process unless said\n"+
		"otherwise: garbage collection counts, other programs do not. Every way answers the same requests, and the answers\n"+
		"were compared before any time was taken.\n",
		runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), runtime.Version(), rounds)
	for _, section := range []func() error{b.classify, b.members, b.shape, b.start, b.memory} {
		if err := section(); err != nil {
			return err
		}
	}
	return nil
}

// progress shows what is being done.
func progress(what string) {
	fmt.Fprintln(os.Stderr, time.Now().Format(time.TimeOnly), what)
}
