package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rollcall-gateway/rollcall/bench/load"
)

// options are the options of a run.
type options struct {
	caddy    string
	sockets  int
	minutes  int
	minute   time.Duration // duration of a minute
	churn    int           // percentage of connections replaced per minute
	messages int           // per second, of all workers together
	limit    int           // connections per process

	// For a worker only.
	worker  int // its number
	address string
	share   int // number of sockets
	workers int
}

func main() {
	var o options
	flag.StringVar(&o.caddy, "caddy", "../bin/caddy", "the Caddy with Rollcall in it")
	flag.IntVar(&o.sockets, "sockets", 50_000, "connections")
	flag.IntVar(&o.minutes, "minutes", 30, "how often everything is compared")
	flag.DurationVar(&o.minute, "minute", time.Minute, "how long a minute is, for those in a hurry")
	flag.IntVar(&o.churn, "churn", 20, "percent of the connections that are replaced in a minute")
	flag.IntVar(&o.messages, "messages", 50, "messages a second")
	flag.IntVar(&o.limit, "limit", 0, "connections of a process; 0 is as many as it may open files")
	flag.IntVar(&o.worker, "worker", -1, "be a worker: internal")
	flag.StringVar(&o.address, "address", "", "of the worker's pod: internal")
	flag.IntVar(&o.share, "share", 0, "the worker's connections: internal")
	flag.IntVar(&o.workers, "workers", 1, "how many workers there are: internal")
	flag.Parse()
	if err := o.main(); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func (o *options) main() error {
	if o.sockets < 1 || o.minutes < 1 || o.minute <= 0 || o.churn < 0 || o.messages < 0 || flag.NArg() > 0 {
		return errors.New("a flag is out of range, or there are arguments")
	}
	if err := load.RaiseFileLimit(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.worker >= 0 {
		return work(ctx, o)
	}
	most, err := load.MaxConns()
	if err != nil {
		return err
	}
	if o.limit == 0 || o.limit > most {
		o.limit = most
	}
	// In addition to its minutes, a run may take this long to open and close, and each minute as
	// long to compare.
	const patience = 5 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, patience+time.Duration(o.minutes)*(o.minute+compareWithin+settleWithin))
	defer cancel()
	return o.run(ctx)
}
