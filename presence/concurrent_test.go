package presence

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// worker is a goroutine with a few connections that randomly do what clients do.
type worker struct {
	w       *world
	rng     *rand.Rand
	clients []*workerClient
	refs    int
}

type workerClient struct {
	*client
	*replay
}

func (k *worker) connect() error {
	if k.rng.IntN(4) == 0 {
		return k.connectAs("")
	}
	return k.connectAs(fmt.Sprintf("user%d", k.rng.IntN(20)))
}

func (k *worker) connectAs(user string) error {
	in := &inbox{tape: k.w.tape}
	c, err := k.w.reg.Connect(k.w.name, k.w.rules, parseUser(user), in)
	if err != nil {
		return err
	}
	k.clients = append(k.clients, &workerClient{&client{c, k.w.t, in}, newReplay(k.w.tape)})
	return nil
}

// refusals are the errors of a join with a good name.
var refusals = []error{ErrLoginRequired, ErrDenied, ErrUnavailable, ErrTooManyChannels}

// step returns an error for what must not happen.
func (k *worker) step() error {
	if len(k.clients) < 4 {
		return k.connect()
	}
	i := k.rng.IntN(len(k.clients))
	c, channel := k.clients[i], modelChannels[k.rng.IntN(len(modelChannels))]
	k.refs++
	ref := strconv.Itoa(k.refs)
	switch n := k.rng.IntN(100); {
	case n < 10:
		c.Close()
		k.clients = slices.Delete(k.clients, i, i+1)
	case n < 55:
		err := c.Join(channel, Watch(k.rng.IntN(3)), ref)
		if err == nil {
			c.owe(channel, "joined "+ref)
		} else if !slices.ContainsFunc(refusals, func(want error) bool { return errors.Is(err, want) }) {
			return fmt.Errorf("join: %w", err)
		}
	case n < 80:
		switch err := c.Leave(channel, ref); {
		case err == nil:
			c.owe(channel, "left "+ref)
		case !errors.Is(err, ErrNotJoined):
			return fmt.Errorf("leave: %w", err)
		}
	case n < 90:
		return c.Authenticate(User{ID: fmt.Sprintf("user%d", k.rng.IntN(20))}, nil)
	default:
		time.Sleep(time.Duration(k.rng.IntN(int(time.Millisecond))))
	}
	return nil
}

// Many goroutines run at once, with reloads and listings: each frame follows from the frames before
// it, and in the end every view is equal to the listing.
func TestHostUnderConcurrentUse(t *testing.T) {
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			workers := runWorkers(t, seed)
			checkViews(t, workers)
			for _, k := range workers {
				for _, c := range k.clients {
					c.Close()
				}
			}
			if hosts := workers[0].w.reg.Hosts(); len(hosts) > 0 {
				t.Errorf("%d hosts are left", len(hosts))
			}
		})
	}
}

// runWorkers returns when all work is done and flushed. The last worker only watches the crowd
// channel, so that it is busy.
func runWorkers(t *testing.T, seed uint64) []*worker {
	m := newModel(t, seed, 0) // for its rules
	w := m.w
	workers := make([]*worker, 9)
	for i := range workers {
		workers[i] = &worker{w: w, rng: rand.New(rand.NewPCG(seed, uint64(i)))}
	}
	idle := workers[8]
	for i := range 120 {
		if err := idle.connectAs(fmt.Sprintf("idle%d", i)); err != nil {
			t.Fatal(err)
		}
		idle.clients[i].owe("crowd", "joined ")
		idle.clients[i].join("crowd", WatchList)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 400 {
				if err := workers[i].step(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for range 50 {
			m.roll()
			if h := w.reg.Host(w.name); h != nil {
				h.SetRules(m.rules)
			}
			time.Sleep(200 * time.Microsecond)
		}
	})
	wg.Go(func() {
		for range 50 {
			for _, h := range w.reg.Hosts() {
				h.Channels(PerConnection)
				h.Channel("red", PerUser)
				h.Users(PerUser)
				h.EncodedUsers()
				if s := h.Stats(); s.Anonymous+s.LoggedIn != s.Conns || s.Users > s.LoggedIn {
					t.Errorf("stats %+v", s)
				}
			}
			time.Sleep(200 * time.Microsecond)
		}
	})
	for range 2 {
		wg.Go(func() {
			for range 100 {
				for _, h := range w.reg.Hosts() {
					h.Encoded()
					h.EncodedChannel("crowd")
				}
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	wg.Wait()
	settle()
	for _, h := range w.reg.Hosts() {
		h.checkChunks(t)
		equalLines(t, "encoded", h.Encoded().lines(), listedLines(h.Channels(PerUser)))
	}
	return workers
}

// checkViews compares the views of clients with the listings.
func checkViews(t *testing.T, workers []*worker) {
	h := workers[0].w.host()
	listeners := make(map[string]int)
	for _, k := range workers {
		for _, c := range k.clients {
			c.apply(c.in.take())
			for _, err := range c.errs {
				t.Error(err)
			}
			if len(c.owed) > 0 {
				t.Errorf("answers %v did not come", c.owed)
			}
			for channel, v := range c.views {
				listeners[channel]++
				l, ok := h.Channel(channel, PerUser|WithInfo)
				if !ok {
					continue // hidden
				}
				want := presence{count: l.Count}
				if l.Users != nil {
					want.count, want.users = len(l.Users), make(map[string]string)
					for _, u := range l.Users {
						want.users[u.ID] = knownText(u)
					}
				}
				if v.watch != WatchNone && v.kind != l.Kind {
					t.Errorf("%s: a client has the kind %v, want %v", channel, v.kind, l.Kind)
				}
				if !v.shows(want) {
					t.Errorf("%s: a client has %+v, want %+v", channel, v, want)
				}
			}
		}
	}
	for channel, n := range listeners {
		if l, ok := h.Channel(channel, PerConnection); ok && len(l.Users)+l.Count != n {
			t.Errorf("%s: %d views of %d listeners", channel, n, len(l.Users)+l.Count)
		}
	}
	if got := h.Stats().Channels; got != len(listeners) {
		t.Errorf("%d channels are active, views are of %d", got, len(listeners))
	}
}
