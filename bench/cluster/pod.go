package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
	"github.com/rollcall-gateway/rollcall/presence/cluster/bus"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Users on each pod. An answer is cached for 100 ms, so there are many small hosts to query in
// turn.
const (
	pods       = 10
	largeUsers = 10_000 // on one host
	smallUsers = 20     // on each small host
	smallHosts = 250
)

// secret is the cluster secret, which every real deployment has.
const secret = "of the benchmark"

// pod is a pod of the deployment, without sockets: the cost of a query does not depend on them.
type pod struct {
	cluster *cluster.Cluster
	plain   *plain
}

func largeHost() presence.HostName { return host("portal.example.com") }

func smallHost(i int) presence.HostName { return host(fmt.Sprintf("portal-%d.example.com", i)) }

func host(name string) presence.HostName {
	h, err := presence.ParseHostName(name)
	if err != nil {
		panic(err) // the names are constants
	}
	return h
}

// startPod starts a pod with its users connected. The addresses are those of all pods, for the
// cluster and for plain NATS.
func startPod(number int, addresses [2][]string) (*pod, error) {
	registry := presence.NewRegistry(mute{})
	connect := func(name presence.HostName, users int) error {
		for i := range users {
			// An ID as long as a UUID and an address of usual length: a member takes 100 bytes in a
			// reply.
			user := presence.User{
				ID:    fmt.Sprintf("00000000-0000-4000-8000-%012d", number*users+i),
				Email: fmt.Sprintf("first.last.%08d@customers.portal.example.com", number*users+i),
			}
			if _, err := registry.Connect(name, &presence.Rules{}, &user, mute{}); err != nil {
				return err
			}
		}
		return nil
	}
	if err := connect(largeHost(), largeUsers); err != nil {
		return nil, err
	}
	for i := range smallHosts {
		if err := connect(smallHost(i), smallUsers); err != nil {
			return nil, err
		}
	}

	c, err := startCluster(number, addresses[0], registry)
	if err != nil {
		return nil, err
	}
	p, err := startPlain(number, addresses[1])
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &pod{c, p}, nil
}

// startCluster starts a pod of a deployment, of which every pod serves all hosts. The addresses are
// those of all pods.
func startCluster(number int, addresses []string, registry *presence.Registry) (*cluster.Cluster, error) {
	c, err := cluster.Start(cluster.Config{
		DataCenter: "bench",
		Pod:        fmt.Sprintf("pod-%d", number),
		Bus:        bus.Config{Listen: addresses[number], Routes: others(addresses, number), Secret: secret},
		Secret:     secret,
		Timeout:    10 * time.Second, // a late reply makes a figure, not an error
	}, registry, local{})
	if err != nil {
		return nil, err
	}
	c.SetSites([]message.Site{{}})
	return c, nil
}

// awaitPods returns when the pod knows all others, as a deployment and as plain NATS.
func (p *pod) awaitPods(ctx context.Context) error {
	for {
		_, truth := p.cluster.AllUsers(ctx, largeHost(), false, presence.PerUser)
		if p.cluster.Ready() && truth.Complete && len(p.cluster.Report(ctx).Pods) == pods && p.plain.routes() == pods-1 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the pods have not found each other: %w", ctx.Err())
		case <-time.After(fresh):
		}
	}
}

func (p *pod) close() error {
	p.plain.close()
	return p.cluster.Close()
}

// others returns the addresses of the pods before this one, because one of two pods dials.
func others(addresses []string, number int) []string { return addresses[:number] }

// local reports every host as served here.
type local struct{}

func (local) Serves(presence.HostName) bool                          { return true }
func (local) Connections() int                                       { return largeUsers + smallHosts*smallUsers }
func (local) Explain(presence.HostName, string) []message.Connection { return nil }
func (local) Hosts(presence.HostName) []message.HostCount            { return nil }

func (local) Listeners(presence.HostName, presence.Listeners) (of presence.Listing, list []message.Listener, ok bool) {
	return presence.Listing{}, nil, false
}

func (local) Disconnect(presence.HostName, string, *message.Call) int { return 0 }
func (local) Leave(presence.HostName, *message.Call) int              { return 0 }

// mute is a connection without a reader, and the encoder that encodes nothing for it.
type mute struct{}

func (mute) Queue([]byte, int) bool                          { return false }
func (mute) Flush()                                          {}
func (mute) Push([]byte)                                     {}
func (mute) Members([]presence.View, presence.Fields) []byte { return nil }
func (mute) Joined(presence.Joined) []byte                   { return nil }
func (mute) Left(string, string, presence.Reason) []byte     { return nil }
func (mute) Presence(presence.Diff) []byte                   { return nil }

func (mute) Message(string, presence.Source, []byte) []byte                         { return nil }
func (mute) AppendUser(b []byte, _ *presence.User, _ bool) []byte                   { return b }
func (mute) AppendPrivate(b []byte, _ presence.ID, _ *presence.User, _ bool) []byte { return b }
