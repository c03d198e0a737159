package main

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// The size that costs are extrapolated to. Ten million connections that watch a million channels,
// ten each, are 100,000 channels that each pod watches: ten of each host, with members on ten pods.
const (
	farPods     = 100
	farHosts    = 10_000
	farChannels = 100_000 // on each pod
	fewChannels = 10_000  // of one host
	memberPods  = 10      // that have a member of a channel
	// mostSubjects is the maximum number of subscriptions: 1,024 subjects for changes in channels,
	// 256 for messages, and six others.
	mostSubjects = 1024 + 256 + 6
)

// printGrowth writes what was measured, and the slopes if the layouts allow it.
func printGrowth(list []grown) {
	fmt.Print("# Growth\n\nEvery pod watches all channels, each with one member on every pod. All pods are in one process, joined by routes over\n" +
		"loopback. Figures are of each pod, NATS included, and the least of " + fmt.Sprintf("%d windows of %.0f s", windows, windowFor.Seconds()) + ". Joins are 100 a second of all pods together,\n" +
		"each shown to the watchers on every pod. KB a channel is heap and stacks for each watched channel, with all its members.\n" +
		"p50 is of `allusers` about a host of 1,000 users on all pods, counts and users by name, in ms. What the watchers are shown and\n" +
		"the answers are checked.\n\n")
	rows := make([][]string, 1, 1+len(list))
	rows[0] = []string{
		"pods", "hosts", "channels", "CPU at rest, %", "KB/s", "100 joins/s: CPU, %", "KB/s", "subscriptions", "KB a channel", "p50, counts", "p50, users",
	}
	var noise, wait float64
	for _, g := range list {
		noise, wait = max(noise, g.rest.noise, g.busy.noise), max(wait, g.counts.noise, g.users.noise)
		rows = append(rows, []string{
			fmt.Sprint(g.number), fmt.Sprint(g.hosts), fmt.Sprint(g.total()), figure(g.rest.core), figure(g.rest.bytes / 1000),
			figure(g.busy.core), figure(g.busy.bytes / 1000), fmt.Sprint(g.subscriptions), figure(g.channelKB), figure(g.counts.p50), figure(g.users.p50),
		})
	}
	printRows(rows)
	fmt.Printf("\nNoise: the middle window took up to %.0f %% more CPU time than the least one, and its p50 was up to %.0f %% over the least.\n",
		100*noise, 100*wait)
	printSlopes(list)
	fmt.Print(simulated)
}

// simulated introduces the table of TestGrowth of presence/cluster, which "make bench" adds.
const simulated = `
## Simulated

Pods of one process on a network in memory, whose clock stands still while a pod works. Bytes and payloads are those of each
pod to all others, and CPU is without NATS. All channels are of one host. A channel is watched, and has a member, on ten pods.

`

// aspect is one cost of a pod.
type aspect struct {
	name    string
	of      func(g *grown) float64
	perPair bool // what it costs for channels and hosts is assumed to grow with the number of pods
	pods    int  // number of pods to extrapolate to
	noise   func(g *grown) float64
}

// smallNoise is the least difference that counts, as a share.
const smallNoise = 0.02

var aspects = []aspect{
	{"CPU at rest, %", func(g *grown) float64 { return g.rest.core }, true, farPods, restNoise},
	{"KB/s at rest", func(g *grown) float64 { return g.rest.bytes / 1000 }, true, farPods, noNoise},
	{"CPU at 100 joins/s, %", func(g *grown) float64 { return g.busy.core }, true, farPods, busyNoise},
	{"KB/s at 100 joins/s", func(g *grown) float64 { return g.busy.bytes / 1000 }, true, farPods, sharedNoise},
	{"subscriptions", func(g *grown) float64 { return float64(g.subscriptions) }, false, farPods, noNoise},
	{"KB a channel", func(g *grown) float64 { return g.channelKB }, false, memberPods, noNoise},
	{"`allusers` p50, counts, ms", func(g *grown) float64 { return g.counts.p50 }, false, farPods, askNoise},
	{"`allusers` p50, users, ms", func(g *grown) float64 { return g.users.p50 }, false, farPods, askNoise},
}

func restNoise(g *grown) float64 { return g.rest.noise }
func busyNoise(g *grown) float64 { return g.busy.noise }
func askNoise(g *grown) float64  { return max(g.counts.noise, g.users.noise) }
func noNoise(*grown) float64     { return 0 }

// sharedNoise is how much the bytes of joins vary from run to run: joins at about the same time
// share a payload.
func sharedNoise(*grown) float64 { return 0.1 }

// printSlopes writes how each cost grows. It needs three numbers of pods with the same channels of
// one host, and one number of pods with more channels, and with more hosts.
func printSlopes(list []grown) {
	var line []*grown // several pods with the channels of the first layout
	for i := range list {
		if g := &list[i]; g.number > 1 && g.hosts == 1 && g.channels == list[0].channels {
			line = append(line, g)
		}
	}
	if len(line) < 3 {
		return
	}
	base, more, wide := line[len(line)-2], (*grown)(nil), (*grown)(nil)
	for i := range list {
		switch g := &list[i]; {
		case g.number != base.number:
		case g.hosts == 1 && g.channels > base.channels:
			more = g
		case g.hosts > 1 && g.total() == base.total():
			wide = g
		}
	}
	if more == nil || wide == nil {
		return
	}
	fmt.Printf("\nThe slope for pods is the line of least squares through the rows of %d and more pods; steeper is the slope of the last two of\n"+
		"them by that of the others: 1 is a line, and 2 would be the square. The slopes for channels and hosts are at %d pods, and 0 if\n"+
		"they are within the noise or negative. The last two columns are what a pod comes to: with %d pods and %d channels of one host,\n"+
		"and with %d pods, %d hosts, a million channels and ten million connections, of which a pod watches %d. CPU and bytes for\n"+
		"channels and hosts are taken to grow with the number of pods, too. A channel has members on %d pods, and KB a channel of all\n"+
		"hosts are those of the row with %d hosts, because they have as many channels each. – is a cost that falls.\n\n",
		line[0].number, base.number, farPods, fewChannels, farPods, farHosts, farChannels, memberPods, wide.hosts)
	rows := make([][]string, 1, 1+len(aspects))
	rows[0] = []string{"cost of a pod", "for a pod", "steeper", "for 1,000 channels", "for 100 hosts", "far, one host", "far, all hosts"}
	for _, a := range aspects {
		s := fit(line, a.of)
		noise := max(a.noise(base), a.noise(more), a.noise(wide), smallNoise) * a.of(base)
		channels := beyond(a.of(more)-a.of(base), noise) / float64(more.total()-base.total())
		hosts := beyond(a.of(wide)-a.of(base), noise) / float64(wide.hosts-base.hosts)
		// The pods share the joins, so a pod's own part falls: a line does not reach further than
		// the rows.
		far := func(channelCount, hostCount int) string {
			if s.slope < -noise/float64(base.number) {
				return "–"
			}
			rest := channels*float64(channelCount-base.total()) + hosts*float64(hostCount-1)
			if a.perPair {
				rest *= float64(farPods) / float64(base.number)
			}
			return figure(s.at(float64(a.pods)) + rest)
		}
		steeper := "–"
		if early := (a.of(base) - a.of(line[0])) / float64(base.number-line[0].number); math.Abs(early*float64(base.number)) > noise {
			last := line[len(line)-1]
			steeper = figure((a.of(last) - a.of(base)) / float64(last.number-base.number) / early)
		}
		cells := []string{a.name, figure(s.slope), steeper, figure(1000 * channels), figure(100 * hosts), far(fewChannels, 1), far(farChannels, farHosts)}
		if a.name == "KB a channel" { // already for each channel
			cells[5], cells[6] = figure(s.at(memberPods)), figure(a.of(wide))
		}
		if a.name == "subscriptions" { // bounded for a host, so more channels of it are no more
			cells[5] = figure(a.of(more))
			cells[6] = figure(min(a.of(wide)/float64(wide.hosts)*farHosts, mostSubjects))
		}
		rows = append(rows, cells)
	}
	printRows(rows)
}

// beyond returns d, or 0 if it is within the noise or negative: a cost that falls does not fall
// further.
func beyond(d, noise float64) float64 {
	if d <= noise {
		return 0
	}
	return d
}

// slope is a line.
type slope struct{ base, slope float64 }

func (s slope) at(x float64) float64 { return s.base + s.slope*x }

// fit returns the line of least squares of a cost by the number of pods.
func fit(line []*grown, of func(*grown) float64) slope {
	var n, x, y, xx, xy float64
	for _, g := range line {
		p, c := float64(g.number), of(g)
		n, x, y, xx, xy = n+1, x+p, y+c, xx+p*p, xy+p*c
	}
	b := (n*xy - x*y) / (n*xx - x*x)
	return slope{(y - b*x) / n, b}
}

// figure formats with three digits.
func figure(f float64) string {
	switch abs := math.Abs(f); {
	case abs >= 100:
		return fmt.Sprintf("%.0f", f)
	case abs >= 10:
		return fmt.Sprintf("%.1f", f)
	case abs >= 1:
		return fmt.Sprintf("%.2f", f)
	case abs == 0:
		return "0"
	}
	return fmt.Sprintf("%.3f", f)
}

// printRows writes a table. The first row is its head, and columns have figures, except for names
// in the first one.
func printRows(rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for number, row := range rows {
		for i, cell := range row {
			fmt.Print("| ", cell, strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)), " ")
		}
		fmt.Println("|")
		if number == 0 {
			for _, w := range widths {
				fmt.Print("| ", dashes(w-1), ": ")
			}
			fmt.Println("|")
		}
	}
}
