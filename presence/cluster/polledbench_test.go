package cluster

import (
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/bus"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// BenchmarkPolledHosts asks three pods on one NATS server about hosts, one question after another
// and at steady rates. An operation is a question.
func BenchmarkPolledHosts(b *testing.B) {
	nats, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		b.Fatal(err)
	}
	nats.Start()
	b.Cleanup(nats.Shutdown)
	var pods []*Cluster
	for i := range 3 {
		cfg := Config{DataCenter: "x", Pod: fmt.Sprint(i), Logger: zap.NewNop(), Secret: "a secret of the deployment"}
		cfg.Bus = bus.Config{URLs: []string{nats.ClientURL()}}
		c, err := Start(cfg, presence.NewRegistry(clustertest.Encoder{}), &labLocal{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close() })
		c.SetSites([]message.Site{{}})
		pods = append(pods, c)
	}
	hosts := make([]presence.HostName, 20_000) // more than are asked about while an answer is shared
	for i := range hosts {
		if hosts[i], err = presence.ParseHostName(fmt.Sprintf("h%d.example.com", i)); err != nil {
			b.Fatal(err)
		}
	}
	complete := func(i int) bool {
		_, truth := pods[i%3].AllUsers(b.Context(), hosts[i%len(hosts)], false, presence.PerUser)
		return truth.Complete
	}
	for i := range 3 {
		testkit.Eventually(b, "complete answers", func() bool { return pods[i].Ready() && complete(i) })
	}
	for _, rate := range []int{0, 100, 1_000, 10_000} { // 0: one question after another
		b.Run(fmt.Sprint("a second=", rate), func(b *testing.B) {
			before, _ := nats.Varz(nil)
			cpu, began := cpuTime(), time.Now()
			took := make([]time.Duration, b.N)
			var incomplete sync.Map
			var all sync.WaitGroup
			for i := range b.N {
				ask := func() {
					start := time.Now()
					if !complete(i) {
						incomplete.Store(i, nil)
					}
					took[i] = time.Since(start)
				}
				if rate == 0 {
					ask()
					continue
				}
				time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))))
				all.Go(ask)
			}
			all.Wait()
			passed := time.Since(began)
			after, _ := nats.Varz(nil)
			n := 0
			for range incomplete.Range {
				n++
			}
			slices.Sort(took)
			b.ReportMetric(float64(after.OutMsgs-before.OutMsgs)/6/passed.Seconds(), "payloads/s/pair")
			b.ReportMetric(float64(after.OutBytes-before.OutBytes)/6/1024/passed.Seconds(), "KB/s/pair")
			b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(n), "incomplete")
		})
	}
}

// cpuTime returns the CPU time of the process, in user and kernel mode.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
