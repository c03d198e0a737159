package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// mesh is a deployment of any number of pods, all in this process and joined by routes over
// loopback. No other process takes CPU time or memory of its figures, and the cost of a pod is a
// part of that of the process.
type mesh struct {
	layout
	pods    []*meshPod
	watched int // channels that every pod watches
	joined  int // users who have joined one since
}

// layout is what the pods of a mesh watch. Every pod has one watcher and one member of every
// channel, the same connection.
type layout struct{ number, hosts, channels int } // number of pods; channels of each host

// total returns the number of channels that each pod watches.
func (l layout) total() int { return l.hosts * l.channels }

type meshPod struct {
	registry *presence.Registry
	cluster  *cluster.Cluster
	shown    *shown
}

// shown is an encoder that counts what watchers of a pod are shown.
type shown struct {
	mute

	mu      sync.Mutex
	counts  map[string]int // members of each channel, of all pods; guarded by mu
	members int            // sum of counts; guarded by mu
}

func (s *shown) Joined(j presence.Joined) []byte {
	if j.Watch != presence.WatchNone {
		s.set(j.Channel, j.Count)
	}
	return nil
}

func (s *shown) Presence(d presence.Diff) []byte {
	s.set(d.Channel, d.Count)
	return nil
}

func (s *shown) set(channel string, members int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members += members - s.counts[channel]
	s.counts[channel] = members
}

func (s *shown) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.members
}

// startMesh starts the pods, with the users that queries are about, and waits until they have found
// each other.
func startMesh(ctx context.Context, l layout) (m *mesh, err error) {
	addresses := make([]string, l.number)
	for i := range addresses {
		if addresses[i], err = loopback.Address(); err != nil {
			return nil, err
		}
	}
	m = &mesh{layout: l}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	for number := range l.number {
		p := &meshPod{shown: &shown{counts: make(map[string]int)}}
		p.registry = presence.NewRegistry(p.shown)
		if err := p.connectUsers(number, l.number); err != nil {
			return m, err
		}
		if p.cluster, err = startCluster(number, addresses, p.registry); err != nil {
			return m, err
		}
		m.pods = append(m.pods, p)
	}
	return m, await(ctx, "the pods have not found each other", func() bool {
		for _, p := range m.pods {
			if !p.cluster.Ready() || len(p.cluster.Report(ctx).Pods) != l.number {
				return false
			}
		}
		return true
	})
}

// connectUsers connects a pod's part of the users that queries are about.
func (p *meshPod) connectUsers(number, pods int) error {
	for i := range askedHosts {
		for user := number; user < askedUsers; user += pods {
			u := presence.User{
				ID:    fmt.Sprintf("00000000-0000-4000-8000-%012d", user),
				Email: fmt.Sprintf("first.last.%08d@customers.portal.example.com", user),
			}
			if _, err := p.registry.Connect(smallHost(i), &presence.Rules{}, &u, p.shown); err != nil {
				return err
			}
		}
	}
	return nil
}

// watch makes every pod watch all channels, some at a time, so that a busy machine keeps up. Each
// time it waits until every pod shows the members of all pods.
func (m *mesh) watch(ctx context.Context) error {
	const some = 100
	var conns []*presence.Conn // of each host and pod
	for h := range m.hosts {
		for number, p := range m.pods {
			conn, err := p.registry.Connect(watchedHost(h), &presence.Rules{}, watcher(number), p.shown)
			if err != nil {
				return err
			}
			conns = append(conns, conn)
		}
	}
	for n := range m.total() {
		h := n / m.channels
		for number := range m.pods {
			if err := conns[h*len(m.pods)+number].Join(watchedChannel(h, n%m.channels), presence.WatchList, ""); err != nil {
				return err
			}
		}
		if m.watched++; m.watched%some == 0 || m.watched == m.total() {
			if err := m.awaitShown(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// join makes a user join a watched channel on the next pod, without watching it.
func (m *mesh) join() error {
	n := m.joined
	m.joined++
	host := n % m.hosts
	user := presence.User{ID: fmt.Sprintf("guest-%d", n), Email: fmt.Sprintf("guest.%08d@customers.portal.example.com", n)}
	p := m.pods[n%len(m.pods)]
	conn, err := p.registry.Connect(watchedHost(host), &presence.Rules{}, &user, p.shown)
	if err != nil {
		return err
	}
	return conn.Join(watchedChannel(host, n/m.hosts%m.channels), presence.WatchNone, "")
}

// awaitShown returns when every pod shows the members of all pods, not one more or less.
func (m *mesh) awaitShown(ctx context.Context) error {
	want := m.watched*len(m.pods) + m.joined
	got := 0
	err := await(ctx, "the pods do not show all members", func() bool {
		for _, p := range m.pods {
			if got = p.shown.total(); got != want {
				return false
			}
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("%w: one shows %d, not %d", err, got, want)
	}
	return nil
}

// subscriptions returns the number of subscriptions of a pod.
func (m *mesh) subscriptions(ctx context.Context) int {
	return m.pods[0].cluster.Report(ctx).Bus.Subscriptions
}

func (m *mesh) close() error {
	errs := make([]error, 0, len(m.pods))
	for _, p := range m.pods {
		errs = append(errs, p.cluster.Close())
	}
	return errors.Join(errs...)
}

func watchedHost(i int) presence.HostName { return host(fmt.Sprintf("watched-%d.example.com", i)) }

func watchedChannel(host, i int) string { return fmt.Sprintf("order-%d-%d", host, i) }

func watcher(pod int) *presence.User {
	return &presence.User{ID: fmt.Sprintf("watcher-%d", pod), Email: fmt.Sprintf("watcher.%08d@customers.portal.example.com", pod)}
}

// await returns when done does, or when ctx ends.
func await(ctx context.Context, otherwise string, done func() bool) error {
	for !done() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", otherwise, ctx.Err())
		case <-time.After(fresh):
		}
	}
	return nil
}
