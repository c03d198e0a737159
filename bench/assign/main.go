// Command assign measures how many requests to /message/adduser a deployment answers, one user and
// one channel each, on one pod and on five. It writes a table in Markdown.
//
//	go run ./assign >figures.md
//
// Each pod is a Caddy of its own with a file of its own on the disk of -dir. All share the CPUs and
// that disk with this program, so absolute figures depend on the machine; compare the rows. Each
// request names another user, and is answered when the change is on the disk of all pods.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-gateway/rollcall/bench/server"
)

// rows are the measured deployments and numbers of requests at a time.
var rows = []struct{ pods, flying int }{{1, 1}, {1, 64}, {5, 1}, {5, 64}}

// goals of five pods with 64 requests at a time: requests a second, and as a part of what one pod
// does.
const (
	goalRate = 3000
	goalPart = 0.5
)

// options are the options of a run.
type options struct {
	caddies []string // binaries that are compared
	rounds  int
	each    time.Duration
	dir     string
}

func main() {
	var o options
	caddies := flag.String("caddy", "../bin/caddy", "the Caddy with Rollcall in it, or several to compare, separated by commas")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each row is measured; the medians count")
	flag.DurationVar(&o.each, "time", 5*time.Second, "for how long")
	flag.StringVar(&o.dir, "dir", "", "the folder of the pods' files (default the system's for temporary files)")
	flag.Parse()
	o.caddies = strings.Split(*caddies, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, time.Duration(o.rounds*len(o.caddies))*(4*o.each+time.Minute))
	defer cancel()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "assign:", err)
		os.Exit(1)
	}
}

func (o *options) run(ctx context.Context) error {
	results := make([][][]figures, len(o.caddies)) // by binary and row
	for i := range results {
		results[i] = make([][]figures, len(rows))
	}
	syncs, err := syncTime(o.dir)
	if err != nil {
		return err
	}
	for round := range o.rounds {
		for i, caddy := range o.caddies {
			for _, pods := range []int{1, 5} {
				progress("round %d, %s, %d pods", round+1, caddy, pods)
				if err := o.deployment(ctx, caddy, pods, results[i]); err != nil {
					return err
				}
			}
		}
	}
	fmt.Printf("# Assignments, %s/%s, %d CPUs, %s\n\nMeasured by `go run -C bench ./assign`, a part of `make bench`: POST /message/adduser with one user and one channel, for %s, the medians of %d.\n"+
		"Pods are processes that share the CPUs and one disk, where a write with fdatasync takes %.2f ms (median). CPU is of all pods, for each request.\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), o.each, o.rounds, syncs.Seconds()*1000)
	for i, caddy := range o.caddies {
		if len(o.caddies) > 1 {
			fmt.Printf("\n## %s\n", caddy)
		}
		printTable(results[i])
	}
	return nil
}

func printTable(results [][]figures) {
	fmt.Print("\n| pods | requests at a time | requests a second | p50, ms | p99, ms | CPU, us | not complete, % |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	rates := make(map[int]float64)
	for i, r := range rows {
		f := median(results[i])
		fmt.Printf("| %d | %d | %.0f | %.2f | %.2f | %.0f | %.1f |\n", r.pods, r.flying, f.rate, f.p50, f.p99, f.cpu, f.late)
		if r.flying > 1 {
			rates[r.pods] = f.rate
		}
	}
	verdict := "met"
	if rates[5] < goalRate || rates[5] < goalPart*rates[1] {
		verdict = "**missed**"
	}
	fmt.Printf("\nGoals: five pods answer %d requests a second, and %.1f of what one pod does (%.2f): %s.\n",
		goalRate, goalPart, rates[5]/rates[1], verdict)
}

// median returns the median of each figure.
func median(of []figures) (f figures) {
	for _, field := range []func(f *figures) *float64{
		func(f *figures) *float64 { return &f.rate }, func(f *figures) *float64 { return &f.p50 },
		func(f *figures) *float64 { return &f.p99 }, func(f *figures) *float64 { return &f.cpu },
		func(f *figures) *float64 { return &f.late },
	} {
		values := make([]float64, len(of))
		for i := range of {
			values[i] = *field(&of[i])
		}
		slices.Sort(values)
		*field(&f) = values[len(values)/2]
	}
	return f
}

// deployment measures the rows of a number of pods, into results.
func (o *options) deployment(ctx context.Context, caddy string, n int, results [][]figures) (err error) {
	dir, err := os.MkdirTemp(o.dir, "rollcall-bench-assign")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var pods server.Group
	defer func() {
		for _, p := range pods {
			err = errors.Join(err, p.Stop())
		}
	}()
	if caddy, err = exec.LookPath(caddy); err != nil {
		return err
	}
	if pods, err = (server.Caddy{Program: caddy, Dir: dir}).StartPods(ctx, "bench", n); err != nil {
		return err
	}
	if err := awaitComplete(ctx, pods); err != nil {
		return err
	}
	for i, r := range rows {
		if r.pods != n {
			continue
		}
		f, err := measure(ctx, pods, r.flying, o.each)
		if err != nil {
			return fmt.Errorf("%d pods, %d at a time: %w", r.pods, r.flying, err)
		}
		progress("%d at a time: %.0f a second", r.flying, f.rate)
		results[i] = append(results[i], f)
	}
	return nil
}

// progress shows what is being done.
func progress(format string, args ...any) {
	fmt.Fprintln(os.Stderr, time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
