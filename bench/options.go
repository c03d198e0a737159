package main

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are the options of a run.
type options struct {
	caddy     string        // the binary
	sections  []string      // sections to measure; empty for all
	names     []string      // peers to measure; empty for all
	rounds    int           // number of measurements per figure
	each      time.Duration // duration of each
	connects  int           // connections per measurement of the rate
	conns     []int         // idle connections
	listeners []int         // listeners of one message
	sizes     []int         // of one message, in bytes
	sites     []int         // sites of one configuration
	output    string        // output folder
	cluster   string        // a file with the report of ./cluster
	growth    string        // a file with the report of ./cluster -growth
	tenants   string        // a file with the report of ./tenants
	assign    string        // a file with the report of ./assign
	profile   string        // folder for CPU profiles of Rollcall; "" for none

	serve, hold, address string   // role of a process that this program started
	args                 []string // as given
}

// defaults are those of a full run, and quick those of a run of two minutes.
var (
	defaults = options{
		caddy: "../bin/caddy", rounds: 3, each: 4 * time.Second, connects: 10_000,
		conns: []int{10_000, 50_000}, listeners: []int{1000, 5000}, sizes: []int{100, 1024},
		sites: []int{1000, 5000, 10_000},
	}
	quick = options{
		caddy: "../bin/caddy", rounds: 1, each: time.Second, connects: 2000,
		conns: []int{2000}, listeners: []int{1000}, sizes: []int{100},
		sites: []int{1000},
	}
)

func parseOptions(args []string) (options, error) {
	o := defaults
	isQuick := func(arg string) bool { return strings.TrimLeft(arg, "-") == "quick" && arg != "quick" }
	if slices.ContainsFunc(args, isQuick) {
		o = quick
	}
	o.args = args
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.Bool("quick", false, "a few figures of everything in two minutes: other defaults, that is")
	f.StringVar(&o.caddy, "caddy", o.caddy, "the Caddy with Rollcall in it")
	f.IntVar(&o.rounds, "rounds", o.rounds, "how often each figure is taken; the median counts")
	f.DurationVar(&o.each, "time", o.each, "for how long a figure is taken each time")
	f.IntVar(&o.connects, "connects", o.connects, "connections that the rate of connecting is taken of")
	f.Func("sections", "what to measure: idle, connect, fanout, pods, members, pusher, events, sites (default all)", words(&o.sections))
	f.Func("peers", "whom to measure: floor-goroutine, floor-parked, floor-each, floor-joined, rollcall, centrifuge, ws, socketio (default all)", words(&o.names))
	f.Func("conns", fmt.Sprintf("idle connections (default %v)", o.conns), numbers(&o.conns))
	f.Func("listeners", fmt.Sprintf("how many listen to a message (default %v)", o.listeners), numbers(&o.listeners))
	f.Func("sizes", fmt.Sprintf("bytes of a message, 50 to 60000 (default %v)", o.sizes), numbers(&o.sizes))
	f.Func("sites", fmt.Sprintf("sites of one configuration (default %v)", o.sites), numbers(&o.sites))
	f.StringVar(&o.output, "output", "", "the `folder` for benchmarks.md and images/benchmarks.svg (default standard output, without the picture)")
	f.StringVar(&o.cluster, "cluster", "", "a `file` with what ./cluster has written, to be a part of the report")
	f.StringVar(&o.growth, "growth", "", "a `file` with what ./cluster -growth has written, to be a part of the report")
	f.StringVar(&o.tenants, "tenants", "", "a `file` with what ./tenants has written, to be a part of the report")
	f.StringVar(&o.assign, "assign", "", "a `file` with what ./assign has written, to be a part of the report")
	f.StringVar(&o.profile, "profile", "", "a `folder` for CPU profiles of Rollcall, which take some CPU themselves (default none are taken)")
	f.StringVar(&o.serve, "serve", "", "be a server: internal")
	f.StringVar(&o.hold, "hold", "", "hold connections to a server: internal")
	f.StringVar(&o.address, "address", "", "of the server to hold connections to, or of the Redis of a server: internal")
	if err := f.Parse(args); err != nil {
		return options{}, err
	}
	for _, size := range o.sizes {
		if size < 50 || size > 60_000 {
			return options{}, fmt.Errorf("a message of %d bytes: 50 to 60000 can be measured", size)
		}
	}
	if o.rounds < 1 || o.each <= 0 || f.NArg() > 0 {
		return options{}, fmt.Errorf("-rounds and -time are more than 0, and there are no arguments: %v", f.Args())
	}
	return o, nil
}

// wants reports whether a peer is to be measured.
func (o *options) wants(name string) bool { return len(o.names) == 0 || slices.Contains(o.names, name) }

// command returns the command for a similar run, without paths.
func (o *options) command() string {
	words := []string{"go run -C bench ."}
	for i := 0; i < len(o.args); i++ {
		switch name, _, joined := strings.Cut(strings.TrimLeft(o.args[i], "-"), "="); {
		case !slices.Contains([]string{"caddy", "output", "cluster", "growth", "tenants", "assign", "profile"}, name):
			words = append(words, o.args[i])
		case !joined:
			i++
		}
	}
	return strings.Join(words, " ")
}

// words and numbers parse flags with commas between the values.
func words(to *[]string) func(string) error {
	return func(text string) error {
		*to = strings.Split(text, ",")
		return nil
	}
}

func numbers(to *[]int) func(string) error {
	return func(text string) error {
		*to = nil
		for word := range strings.SplitSeq(text, ",") {
			n, err := strconv.Atoi(word)
			if err != nil || n < 1 {
				return fmt.Errorf("%q is not a number above 0", word)
			}
			*to = append(*to, n)
		}
		return nil
	}
}
