// Command tenants measures plugins for many hosts, each of which has its own instance: the time to
// open one, the memory of the process, a warm call, and a collection of Go's heap. It writes a
// table in Markdown.
//
//	go run ./tenants >figures.md
//
// Each row is a process of its own. The plugins are the examples. "shared" is with an image of
// their initial memory, which needs Linux and 64 KiB of data; "own" is without. The last rows are
// of 10,000 hosts with the default memory for plugins, each asked once in the given time, and with
// 8 GiB, each asked 100 times. Absolute figures depend on the machine; compare the rows.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"time"
)

// examples are the measured plugins. One with much data has an image.
var examples = []struct {
	name, language string
	image          bool
}{
	{"hidden-staff", "C", false}, {"naming-rules", "Rust", false}, {"team-totals", "AssemblyScript", false}, {"mask-email", "Go", true},
}

// mostOwn is the largest number of hosts that is measured without an image, where there could be
// one: 10,000 of the Go plugin take 14 GB.
const mostOwn = 1000

func main() {
	pace := flag.Duration("pace", 5*time.Minute, "in which 10,000 hosts are asked once")
	row := flag.String("row", "", "measure one row: internal")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *row != "" {
		err = measure(ctx, *row)
	} else {
		err = run(ctx, *pace)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tenants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, pace time.Duration) (err error) {
	cache, err := os.MkdirTemp("", "rollcall-bench-tenants")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(cache)) }()
	fmt.Print("# Tenants\n\nMeasured by `go run -C bench ./tenants`, a part of `make bench`. Each host has its own instance, asked 100 times. KB are what the process has more (PSS) for each, after the first\n" +
		"call of each and after the 100th, and after a collection; the time of a collection is that of Go's heap with all of them.\n\n" +
		"| plugin | hosts | initial memory | open, us | KB, 1 call | KB, 100 calls | warm call, us | collection, ms | refused |\n" +
		"| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, e := range examples {
		for _, hosts := range []int{100, 1000, 10_000} {
			for _, own := range []bool{true, false} {
				if !own && !e.image || own && e.image && hosts > mostOwn {
					continue
				}
				f, err := child(ctx, spec{Plugin: e.name, Hosts: hosts, Calls: 100, Memory: 64 << 30, Own: own, Cache: cache})
				if err != nil {
					return err
				}
				memory := "shared"
				if own {
					memory = "own"
				}
				fmt.Printf("| %s | %d | %s | %.0f | %.0f | %.0f | %.2f | %.0f | %d |\n", e.language, hosts, memory, f.Open, f.First/float64(hosts),
					f.Last/float64(hosts), f.Warm, f.Collection, f.Refused)
			}
		}
	}
	fmt.Print("\n10,000 hosts with the Go plugin. MB are of the whole process (PSS): the most at any time, and at the end after a collection.\n\n" +
		"| `plugin_memory` | each host is asked | MB, most | MB, end | answered | refused | opened | open at the end |\n" +
		"| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, s := range []spec{
		{Plugin: "mask-email", Hosts: 10_000, Calls: 1, Memory: 1 << 30, Pace: pace, Cache: cache},
		{Plugin: "mask-email", Hosts: 10_000, Calls: 100, Memory: 8 << 30, Cache: cache},
	} {
		f, err := child(ctx, s)
		if err != nil {
			return err
		}
		asked := strconv.Itoa(s.Calls) + " times, without a pause"
		if s.Pace > 0 {
			asked = "once in " + s.Pace.String()
		}
		fmt.Printf("| %d GiB | %s | %.0f | %.0f | %d | %d | %d | %d |\n", s.Memory>>30, asked, f.Most/1000, f.End/1000, f.Answered, f.Refused, f.Opened, f.Live)
	}
	return nil
}

// child measures a row in a process of its own.
func child(ctx context.Context, s spec) (f figures, err error) {
	text, err := json.Marshal(s)
	if err != nil {
		return f, err
	}
	fmt.Fprintln(os.Stderr, time.Now().Format(time.TimeOnly), string(text))
	self, err := os.Executable()
	if err != nil {
		return f, err
	}
	cmd := exec.CommandContext(ctx, self, "-row", string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return f, fmt.Errorf("%s: %w", text, err)
	}
	return f, json.Unmarshal(out, &f)
}
