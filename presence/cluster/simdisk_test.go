package cluster

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/memory"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// simClock is the wall clock of a pod.
type simClock struct {
	mu     sync.Mutex
	offset time.Duration
	latest int64 // latest start of a run, in Unix milliseconds
}

// now returns the time without a monotonic reading.
func (c *simClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Round(0).Add(c.offset)
}

func (c *simClock) jump(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += by
}

// seen records the start of a run.
func (c *simClock) seen(started int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest = max(c.latest, started)
}

// pass sets the clock past the start of all runs so far. Without its disk, a pod does not know
// them.
func (c *simClock) pass() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if past := time.UnixMilli(c.latest + 1).Sub(time.Now().Add(c.offset)); past > 0 {
		c.offset += past
	}
}

// simDisk is the disk of a pod, which keeps its memory over its runs.
type simDisk struct {
	mu     sync.Mutex
	state  memory.State
	sites  map[uint64][]message.Site
	failed time.Time // time since which it fails; zero if it does not
}

var errSimDisk = errors.New("the disk is full")

// Load implements membership.Memory.
func (d *simDisk) Load() (memory.State, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := d.state
	st.Sites = maps.Clone(d.sites)
	return st, nil
}

// save keeps the state. d.mu is held.
func (d *simDisk) save(st memory.State) error {
	if !d.failed.IsZero() {
		return errSimDisk
	}
	if d.sites == nil {
		d.sites = make(map[uint64][]message.Site)
	}
	maps.Copy(d.sites, st.Sites)
	d.state = st
	return nil
}

// simFile is the disk as one run of a pod uses it: a run that was killed writes nothing.
type simFile struct {
	*simDisk
	port *simPort
}

// Save implements membership.Memory.
func (f simFile) Save(st memory.State) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.port.isDead() {
		return errSimDead
	}
	return f.save(st)
}

// failing returns since when the disk fails; zero if it does not.
func (d *simDisk) failing() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// fail makes the disk fail.
func (d *simDisk) fail() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed.IsZero() {
		d.failed = time.Now()
	}
}

// repair makes the disk work again, and with lose set it loses everything.
func (d *simDisk) repair(lose bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed = time.Time{}
	if lose {
		d.state, d.sites = memory.State{}, nil
	}
}
