package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// The users that queries are about. There are more hosts than are asked for while an answer is
// cached. Ten million connections of 10,000 hosts are 1,000 of each.
const (
	askedHosts = 100
	askedUsers = 1000 // on all pods together
)

// What is measured of a mesh.
const (
	windows    = 3 // the least of them counts, because other programs only add to a figure
	windowFor  = 6 * time.Second
	joinRate   = 100 // a second, of all pods together
	growthTime = 5 * time.Minute
)

// grown has the costs of a layout, of each pod.
type grown struct {
	layout
	rest, busy    cost
	subscriptions int
	channelKB     float64 // heap for each watched channel
	counts, users latency // of allusers
}

// cost is what a pod uses in a second.
type cost struct {
	core  float64 // percent of a core
	bytes float64 // written to the bus
	noise float64 // CPU time of the middle window over that of the least, as a share
}

// latency is how long a query takes.
type latency struct {
	p50   float64 // in ms
	noise float64 // p50 of the middle window over that of the least, as a share
}

// growthLayouts are measured one after the other: the number of pods grows, and then that of
// channels and of hosts.
var growthLayouts = []layout{{1, 1, 1000}, {3, 1, 1000}, {6, 1, 1000}, {10, 1, 1000}, {10, 100, 10}, {10, 1, 5000}, {20, 1, 1000}}

// parseLayouts parses layouts like "10x1x1000,10x100x10".
func parseLayouts(text string) (list []layout, err error) {
	for word := range strings.SplitSeq(text, ",") {
		var l layout
		if _, err := fmt.Sscanf(word, "%dx%dx%d", &l.number, &l.hosts, &l.channels); err != nil || min(l.number, l.hosts, l.channels) < 1 {
			return nil, fmt.Errorf("%q is not PODSxHOSTSxCHANNELS", word)
		}
		list = append(list, l)
	}
	return list, nil
}

// growth measures all layouts.
func growth(ctx context.Context, layouts []layout) error {
	list := make([]grown, len(layouts))
	for i, l := range layouts {
		progress(fmt.Sprintf("growth: %d pods, %d hosts, %d channels of each", l.number, l.hosts, l.channels))
		var err error
		if list[i], err = measureGrowth(ctx, l); err != nil {
			return fmt.Errorf("%d pods, %d hosts, %d channels of each: %w", l.number, l.hosts, l.channels, err)
		}
		progress(fmt.Sprintf("%+v", list[i]))
	}
	printGrowth(list)
	return nil
}

func measureGrowth(ctx context.Context, l layout) (g grown, err error) {
	ctx, cancel := context.WithTimeout(ctx, growthTime)
	defer cancel()
	g.layout = l
	m, err := startMesh(ctx, l)
	if err != nil {
		return g, err
	}
	defer func() { err = errors.Join(err, m.close()) }()

	before := heap()
	if err := m.watch(ctx); err != nil {
		return g, err
	}
	if err := pause(ctx, windowFor); err != nil { // until the first checks are over
		return g, err
	}
	g.channelKB = float64(heap()-before) / 1000 / float64(l.number*l.total())
	g.subscriptions = m.subscriptions(ctx)

	if g.rest, err = m.least(ctx, func() error { return pause(ctx, windowFor) }); err != nil {
		return g, err
	}
	if g.busy, err = m.least(ctx, func() error { return m.crowd(ctx) }); err != nil {
		return g, err
	}
	if err := m.awaitShown(ctx); err != nil {
		return g, err
	}
	g.counts, g.users, err = m.ask(ctx)
	return g, err
}

// least returns the least cost of windows in which during runs.
func (m *mesh) least(ctx context.Context, during func() error) (least cost, err error) {
	var list []cost
	for range windows {
		start := time.Now()
		before, err := readUsage()
		if err != nil {
			return least, err
		}
		if err := during(); err != nil {
			return least, err
		}
		after, err := readUsage()
		if err != nil {
			return least, err
		}
		seconds := time.Since(start).Seconds() * float64(len(m.pods))
		now := cost{core: 100 * (after.cpu - before.cpu).Seconds() / seconds, bytes: float64(after.written-before.written) / seconds}
		list = append(list, now)
	}
	slices.SortFunc(list, func(a, b cost) int { return cmp.Compare(a.core, b.core) })
	least = list[0]
	least.noise = list[len(list)/2].core/least.core - 1
	for _, c := range list {
		least.bytes = min(least.bytes, c.bytes)
	}
	return least, ctx.Err()
}

// crowd makes users join at joinRate for the time of a window.
func (m *mesh) crowd(ctx context.Context) error {
	tick := time.NewTicker(time.Second / joinRate)
	defer tick.Stop()
	for range int(windowFor.Seconds() * joinRate) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := m.join(); err != nil {
			return err
		}
	}
	return nil
}

// ask measures the p50 of allusers, for counts and for the users by name, in windows of which the
// least counts. The answers are checked.
func (m *mesh) ask(ctx context.Context) (counts, users latency, err error) {
	var (
		lap    time.Time
		number int
	)
	begin := func(round int) {
		if number = round % askedHosts; number == 0 {
			time.Sleep(time.Until(lap.Add(fresh)))
			lap = time.Now()
		}
	}
	d := &deployment{pod: &pod{cluster: m.pods[0].cluster}}
	var of [2][windows]float64
	for i := range windows {
		rows := []*row{
			{what: "counts", ask: func(int) error { return d.users(ctx, smallHost(number), false, askedUsers) }},
			{what: "users", ask: func(int) error { return d.users(ctx, smallHost(number), true, askedUsers) }},
		}
		if err := measure(ctx, 500, 0, begin, rows); err != nil {
			return counts, users, err
		}
		for kind, r := range rows {
			of[kind][i] = r.percentile(50)
		}
	}
	return leastLatency(of[0]), leastLatency(of[1]), nil
}

func leastLatency(of [windows]float64) latency {
	slices.Sort(of[:])
	return latency{of[0], of[windows/2]/of[0] - 1}
}

// heap returns the bytes of live objects. The second collection frees what the first one found dead
// in pools.
func heap() uint64 {
	var s runtime.MemStats
	for range 2 {
		runtime.GC()
	}
	runtime.ReadMemStats(&s)
	return s.HeapAlloc + s.StackInuse
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
