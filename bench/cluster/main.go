// Command cluster measures the cost of a query to a deployment of ten pods, and compares it with
// plain NATS: a request to one other pod, and one to all that waits for all replies. It writes
// tables in Markdown.
//
//	go run ./cluster >figures.md
//
// The pods are ten processes on loopback, this one and nine that it starts and ends, and then all
// in this one. Each has an embedded NATS server, as Rollcall has without an external one, and a
// second one with its own routes for plain NATS. Absolute figures depend on the machine and its
// CPUs, which the ten pods share; compare the rows.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"
)

// limit is the time limit of a run.
const limit = 2 * time.Minute

func main() {
	rounds := flag.Int("rounds", 1000, "how often each question about a host of 200 users is put")
	large := flag.Int("large", 50, "how often each about a host of 100,000 users is put")
	child := flag.Int("pod", 0, "be a pod of another process: internal")
	grow := flag.Bool("growth", false, "measure the growth with pods, channels and hosts instead")
	layouts := growthLayouts
	flag.Func("layouts", "the layouts of -growth: PODSxHOSTSxCHANNELS, separated by commas", func(text string) (err error) {
		layouts, err = parseLayouts(text)
		return err
	})
	routes := flag.String("routes", "", "where the pods are: internal")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *grow {
		err = growth(ctx, layouts)
	} else {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
		if *child > 0 {
			err = serve(ctx, *child, *routes)
		} else {
			err = run(ctx, *rounds, *large)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds, large int) error {
	fmt.Printf("# Cluster, %s/%s, %d CPUs, %s\n\n%d pods, joined by routes over loopback; one of them asks. Times are wall-clock ms from the query to the\n"+
		"complete answer. The rows of a table are measured in turn, and the answers are checked.\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), pods)
	progress("starting ten processes")
	d, err := deploy(ctx, false)
	if err != nil {
		return err
	}
	err = d.small(ctx, "A host of 200 users", "Each pod is a separate process with 20 of the users.", rounds)
	if err == nil {
		err = d.large(ctx, large)
	}
	if err := errors.Join(err, d.close()); err != nil {
		return err
	}

	progress("starting ten pods in one process")
	if d, err = deploy(ctx, true); err != nil {
		return err
	}
	err = d.small(ctx, "A host of 200 users, pods in one process",
		"Without the cost of ten processes that share the CPUs, which pods on separate machines do not have.", rounds)
	if err == nil {
		err = d.rest(ctx)
	}
	return errors.Join(err, d.close())
}

// progress shows what is being done.
func progress(what string) {
	fmt.Fprintln(os.Stderr, time.Now().Format(time.TimeOnly), what)
}
