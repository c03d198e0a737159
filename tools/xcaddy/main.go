// Command xcaddy builds Caddy from a JSON file that holds an xcaddy.Builder.
//
// The xcaddy command line cannot read such a file: it fills a Builder from flags and environment
// variables. Here the file describes the whole build, so that it can be committed and compared.
//
//	go run . -config ../../xcaddy.json -output ../../bin/caddy
//
// The exit code is 2 if the arguments or the file are wrong, and 1 if the build fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/caddyserver/xcaddy"
)

const (
	exitBuildFailed = 1
	exitBadInput    = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stderr, xcaddy.Builder.Build))
}

// buildFunc is the type of xcaddy.Builder.Build. Tests pass a faster one.
type buildFunc func(b xcaddy.Builder, ctx context.Context, output string) error

// run runs the command and returns its exit code.
func run(ctx context.Context, args []string, stderr io.Writer, build buildFunc) int {
	flags := flag.NewFlagSet("xcaddy", flag.ContinueOnError)
	flags.SetOutput(stderr)
	config := flags.String("config", "xcaddy.json", "`file` that holds an xcaddy.Builder as JSON")
	output := flags.String("output", "caddy", "`file` to write the built Caddy to")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return exitBadInput
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "xcaddy: unexpected argument %q\n", flags.Arg(0))
		return exitBadInput
	}

	b, err := load(*config)
	if err != nil {
		fmt.Fprintln(stderr, "xcaddy:", err)
		return exitBadInput
	}
	if err := buildTo(ctx, b, *output, build); err != nil {
		fmt.Fprintln(stderr, "xcaddy:", err)
		return exitBuildFailed
	}
	return 0
}

// buildTo builds b in a folder next to output and moves the finished binary into place. A failed or
// interrupted build leaves the previous binary unchanged, and a running binary is replaced rather
// than overwritten.
func buildTo(ctx context.Context, b xcaddy.Builder, output string, build buildFunc) error {
	folder := filepath.Dir(output)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("making the output folder: %w", err)
	}
	unfinished, err := os.MkdirTemp(folder, ".xcaddy-")
	if err != nil {
		return fmt.Errorf("making a temporary folder: %w", err)
	}
	defer os.RemoveAll(unfinished)

	unlink, err := linkReplacements(&b)
	if err != nil {
		return fmt.Errorf("linking the replacements: %w", err)
	}
	defer unlink()
	built := filepath.Join(unfinished, filepath.Base(output))
	if err := build(b, ctx, built); err != nil {
		return fmt.Errorf("building Caddy %s: %w", b.CaddyVersion, err)
	}
	if err := os.Rename(built, output); err != nil {
		return fmt.Errorf("moving the binary into place: %w", err)
	}
	return nil
}
