package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/memory"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// keeperPod is a pod of a simulated network that keeps assignments, across its runs.
type keeperPod struct {
	t        *testing.T
	net      *simNet
	index    int
	dc, name string
	clock    time.Duration // by how much its wall clock is wrong
	serves   []presence.HostName
	disk     keeperDisk
	run      *keeperRun // nil if it does not run
	logger   *zap.Logger
}

// keeperRun is one run of a keeperPod.
type keeperRun struct {
	*keeperPod
	*Cluster
	port *simPort
	book *assignment.Book
	dead atomic.Bool // killed: it writes no longer to the disk
}

// keeperDisk is the disk of a pod.
type keeperDisk struct {
	mu      sync.Mutex
	records map[[3]string]assignment.Record
	state   memory.State
	sites   map[uint64][]message.Site
}

// keepersOf returns pods that do not run yet, and their network.
func keepersOf(t *testing.T, seed uint64, dcs ...string) (*simNet, []*keeperPod) {
	t.Helper()
	net := newSimNet(seed)
	net.hear = func(*simPort, *simPayload) {}
	var pods []*keeperPod
	for i, dc := range dcs {
		pods = append(pods, &keeperPod{
			t: t, net: net, index: i, dc: dc, name: fmt.Sprintf("pod%d", i), logger: zap.NewNop(),
			serves: []presence.HostName{mustHost(t, "example.com")},
			disk:   keeperDisk{records: make(map[[3]string]assignment.Record), sites: make(map[uint64][]message.Site)},
		})
	}
	t.Cleanup(func() {
		for _, p := range pods {
			if p.run != nil {
				p.run.end(true)
			}
		}
		net.close()
	})
	return net, pods
}

// start starts the pod.
func (p *keeperPod) start() { p.run = p.starting() }

// starting returns a new run.
func (p *keeperPod) starting() *keeperRun {
	p.t.Helper()
	r := &keeperRun{keeperPod: p, port: p.net.port(p.index), book: assignment.NewBook(uint64(p.index+1), nil)}
	if err := r.book.Attach(r); err != nil {
		p.t.Fatal(err)
	}
	tm := timing.Default()
	tm.Stall = r.port.running
	tm.Wall = func() time.Time { return time.Now().Round(0).Add(p.clock) }
	tm.Slept = func() time.Duration { return 0 }
	cfg := Config{DataCenter: p.dc, Pod: p.name, Assignments: r.book, Logger: p.logger, memory: keeperMemory{r}}
	c, err := start(cfg, r.port, presence.NewRegistry(clustertest.Encoder{}), &labLocal{}, tm)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Cluster = c
	r.serve(p.serves...)
	return r
}

// serve makes the pod serve the hosts, and no others.
func (r *keeperRun) serve(hosts ...presence.HostName) {
	r.SetSites([]message.Site{{Sets: [][]string{namesOf(hosts)}}})
}

// recordsOf returns the number of records of the host on the disk of the pod.
func (d *keeperDisk) recordsOf(host presence.HostName) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key := range d.records {
		if key[0] == host.String() {
			n++
		}
	}
	return n
}

func namesOf(hosts []presence.HostName) (names []string) {
	for _, h := range hosts {
		names = append(names, h.String())
	}
	return names
}

// end ends the run, killed without a goodbye.
func (r *keeperRun) end(killed bool) {
	if killed {
		r.dead.Store(true)
		r.port.kill()
		_ = r.Close() // it cannot send the goodbye
		return
	}
	r.Drain()
	if err := r.Close(); err != nil {
		r.t.Error(err)
	}
	r.dead.Store(true)
	r.port.kill()
}

// Load implements assignment.Store.
func (r *keeperRun) Load(take func(assignment.Record)) error { return r.disk.load(take) }

func (d *keeperDisk) load(take func(assignment.Record)) error {
	d.mu.Lock()
	records := maps.Clone(d.records)
	d.mu.Unlock()
	for _, record := range records {
		take(record)
	}
	return nil
}

// Save implements assignment.Store. The disk takes some time, in which the pod can be killed.
func (r *keeperRun) Save(records []assignment.Record) error {
	time.Sleep(3 * time.Millisecond)
	if r.dead.Load() {
		return errSimDead
	}
	return r.disk.save(records)
}

func (d *keeperDisk) save(records []assignment.Record) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, record := range records {
		key := keyOf(&record)
		if old, ok := d.records[key]; ok {
			record = old.Merge(record)
		}
		d.records[key] = record
	}
	return nil
}

// Delete implements assignment.Store.
func (r *keeperRun) Delete(records []assignment.Record) error {
	r.disk.mu.Lock()
	defer r.disk.mu.Unlock()
	if r.dead.Load() {
		return errSimDead
	}
	for _, record := range records {
		if key := keyOf(&record); r.disk.records[key] == record {
			delete(r.disk.records, key)
		}
	}
	return nil
}

// keyOf returns the key of a record on a disk.
func keyOf(r *assignment.Record) [3]string {
	return [3]string{r.Host.String(), r.User, string(rune(r.Kind)) + r.Channel}
}

// keeperMemory implements membership.Memory.
type keeperMemory struct{ *keeperRun }

func (m keeperMemory) Load() (memory.State, error) {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	st := m.disk.state
	st.Sites = maps.Clone(m.disk.sites)
	return st, nil
}

func (m keeperMemory) Save(st memory.State) error {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	if m.dead.Load() {
		return errSimDead
	}
	maps.Copy(m.disk.sites, st.Sites)
	maps.DeleteFunc(m.disk.sites, func(sum uint64, _ []message.Site) bool {
		return !slices.ContainsFunc(st.Runs, func(r message.Run) bool { return r.Sites == sum })
	})
	m.disk.state = st
	return nil
}

// change changes assignments on the pod, and reports whether the answer is complete.
func (r *keeperRun) change(host presence.HostName, mode assignment.Mode, user string, channels ...string) (complete bool) {
	w := []assignment.Wish{{User: user}}
	for _, c := range channels {
		w[0].Channels = append(w[0].Channels, assignment.Assignment{Channel: c, Mode: mode})
	}
	var records []assignment.Record
	var err error
	kept := true
	if mode == assignment.None {
		records, kept, err = r.book.Remove(host, w)
	} else {
		records, err = r.book.Assign(host, w, 0)
	}
	return err == nil && r.Spread(context.Background(), host, records).Complete && kept
}

// hearsAll reports whether the pod answers completely now, for which it asks the others.
func (r *keeperRun) hearsAll(host presence.HostName) bool {
	_, _, truth := r.Users(context.Background(), host, ScopeAll, presence.PerUser, presence.Page{})
	return truth.Complete && r.Spread(context.Background(), host, nil).Complete
}

// cutApart cuts all ways between two groups of pods, or restores them.
func cutApart(net *simNet, cut bool, left, right []*keeperPod) {
	for _, a := range left {
		for _, b := range right {
			net.setCut(a.index, b.index, cut)
			net.setCut(b.index, a.index, cut)
		}
	}
}
