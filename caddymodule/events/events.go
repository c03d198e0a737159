package events

import (
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/tracing"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/events"
)

// Config is what Events needs. All fields but Tracer are required.
type Config struct {
	Folder    string                                    // folder of the queue file
	Receivers func(host presence.HostName) []*Receiver  // by the configuration in effect
	Wanted    func() bool                               // reports whether any site has a receiver
	Restart   func(host presence.HostName, shard uint8) // begins a new epoch; see [events.Speaker]
	Name      func(host presence.HostName, users []presence.User) []string
	Label     func(presence.HostName) string
	// Shown reports whether a channel is active on this pod and not hidden.
	Shown  func(host presence.HostName, channel string) bool
	Logger *zap.Logger
	Tracer *tracing.Tracer // makes a span for each request; if nil, there are none
}

// Events queues events for the receivers of all sites. Like the connections, it survives a reload.
type Events struct {
	*backend.Keeper
	cfg     Config
	metrics *backend.Metrics
	notes   notes

	// mu guards the fields below.
	mu         sync.Mutex
	streams    map[backend.Stream]*stream
	restarting map[restart]bool // restarts that will follow
}

// stream has the state of the events for one host and receiver.
type stream struct {
	// mu guards the fields below.
	mu     sync.Mutex
	shards [events.Shards]shard
}

// shard is the epoch of a shard that is being queued.
type shard struct {
	epoch   uint64
	seq     uint64  // of the last event
	broken  bool    // events of the epoch were thrown away: what follows is worth nothing
	numbers numbers // in place of seq, for webhooks
}

// begin begins an epoch.
func (sh *shard) begin(epoch uint64) {
	sh.numbers.begin(epoch)
	sh.epoch, sh.seq, sh.broken = epoch, 0, false
}

type restart struct {
	host  presence.HostName
	shard uint8
}

const (
	// restartPause is the time from the loss of events to the next epoch of their shard, in which
	// it loses no further ones. The Speaker pauses longer if it happens again.
	restartPause = time.Second

	// mostRestartPause is the maximum pause between two looks whether there is room for the next
	// epoch.
	mostRestartPause = 16 * time.Second

	// maxChunk is the maximum number of events that are queued together: they all need room.
	maxChunk = 200
)

var (
	_ events.Sink       = (*Events)(nil)
	_ backend.Endpoints = (*Events)(nil)
)

// New returns Events. The first Put, or Refresh, opens the file.
func New(c Config) *Events {
	e := &Events{
		cfg: c, metrics: newMetrics(c.Label, c.Receivers),
		streams: make(map[backend.Stream]*stream), restarting: make(map[restart]bool),
	}
	e.Keeper = backend.NewKeeper(backend.Config{
		Content: backend.Events, Folder: c.Folder, Endpoints: e, Observer: observer{e.metrics}, Logger: c.Logger, Tracer: c.Tracer,
		Lost: func(of backend.Stream, lane uint64) { e.restartLater(restart{of.Host, uint8(lane)}, restartPause) },
	}, c.Wanted)
	return e
}

// Endpoint implements backend.Endpoints.
func (e *Events) Endpoint(of backend.Stream) *backend.Endpoint {
	for _, r := range e.cfg.Receivers(of.Host) {
		if r.ID == of.Receiver {
			return r.Endpoint
		}
	}
	return nil
}

// Name implements events.Sink.
func (e *Events) Name(host presence.HostName, users []presence.User) []string {
	return e.cfg.Name(host, users)
}

// Put implements events.Sink.
func (e *Events) Put(list []events.Event) (full bool) {
	if len(list) == 0 {
		return false
	}
	first := &list[0]
	for _, r := range e.cfg.Receivers(first.Host) {
		full = !e.put(r, list) || full
	}
	if full {
		e.restartLater(restart{first.Host, first.Shard}, restartPause)
	}
	return full
}

// put queues events for one receiver. It returns false if some were thrown away.
func (e *Events) put(r *Receiver, list []events.Event) bool {
	of := backend.Stream{Host: list[0].Host, Receiver: r.ID}
	s := e.stream(of)
	for len(list) > 0 {
		chunk := list[:min(len(list), maxChunk)]
		list = list[len(chunk):]
		items, broken := s.items(r, chunk)
		if broken {
			e.metrics.Dropped(of, backend.ReasonFull, len(items))
			return false
		}
		if err := e.queue(of, s, items); err != nil {
			why := backend.ReasonDisk
			if errors.Is(err, backend.ErrFull) {
				why = backend.ReasonFull
			}
			e.metrics.Dropped(of, why, len(items))
			s.breakShard(chunk[0].Shard)
			return false
		}
	}
	return true
}

// items returns the events that the receiver wants, with their numbers. broken reports that earlier
// events of the epoch were thrown away.
func (s *stream) items(r *Receiver, list []events.Event) (items []backend.Item, broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := &s.shards[list[0].Shard]
	before := new(events.Event)
	for i := range list {
		ev, last := &list[i], before
		before = ev
		if ev.Epoch > sh.epoch {
			sh.begin(ev.Epoch)
		}
		if ev.Epoch < sh.epoch { // it was named late, and is worth nothing
			continue
		}
		if r.Webhook {
			items = appendWebhook(items, &sh.numbers, r, ev)
			continue
		}
		if !r.wants(ev) || repeats(r, ev, last) {
			continue
		}
		sh.seq++
		id := backend.NewEventID()
		items = append(items, backend.Item{Lane: uint64(ev.Shard), ID: id, Body: encode(id, sh.seq, ev, r)})
	}
	return items, sh.broken
}

// repeats reports whether an event is a part of the state of a channel that says nothing new to a
// receiver that learns no users.
func repeats(r *Receiver, e, before *events.Event) bool {
	return e.Type == events.ChannelState && before.Type == e.Type && before.Channel == e.Channel && !r.Types.HasAny(memberTypes)
}

func (s *stream) breakShard(n uint8) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shards[n].broken = true
}

// queue queues events of a shard. If there is no room, the fullest shard is thrown away.
func (e *Events) queue(of backend.Stream, s *stream, items []backend.Item) error {
	if len(items) == 0 {
		return nil
	}
	courier, err := e.Open()
	if err != nil {
		return err
	}
	for {
		err := courier.Put(of, items...)
		if !errors.Is(err, backend.ErrFull) {
			return err
		}
		lane, ok := courier.Fullest(of)
		if !ok || lane >= events.Shards {
			return err
		}
		s.breakShard(uint8(lane))
		if courier.Purge(of, lane) == 0 || lane == items[0].Lane {
			return err
		}
		e.restartLater(restart{of.Host, uint8(lane)}, restartPause)
	}
}

// stream returns a stream, which it creates if necessary.
func (e *Events) stream(of backend.Stream) *stream {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.streams[of]
	if s == nil {
		s = new(stream)
		e.streams[of] = s
	}
	return s
}

// RestartLater schedules new epochs of all shards of a host, unless they are scheduled already.
func (e *Events) RestartLater(host presence.HostName, pause time.Duration) {
	for n := range uint8(events.Shards) {
		e.restartLater(restart{host, n}, pause)
	}
}

// restartLater schedules a new epoch of a shard, unless one is scheduled already.
func (e *Events) restartLater(r restart, pause time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.restarting[r] {
		return
	}
	e.restarting[r] = true
	e.restartAfter(r, pause)
}

// restartAfter begins a new epoch of a shard after a pause, or later if its host cannot get a queue
// by then: the epoch would be thrown away.
func (e *Events) restartAfter(r restart, pause time.Duration) {
	time.AfterFunc(pause, func() {
		if !e.mayQueue(r.host) {
			e.restartAfter(r, min(2*pause, mostRestartPause))
			return
		}
		e.mu.Lock()
		delete(e.restarting, r)
		e.mu.Unlock()
		e.cfg.Restart(r.host, r.shard) // does nothing if the pod no longer owns the shard
	})
}

// mayQueue reports whether all receivers of a host have a queue, or can get one.
func (e *Events) mayQueue(host presence.HostName) bool {
	courier := e.Courier()
	return courier == nil || !slices.ContainsFunc(e.cfg.Receivers(host), func(r *Receiver) bool {
		return !courier.MayQueue(backend.Stream{Host: host, Receiver: r.ID})
	})
}

// Refresh applies the receivers of the configuration in effect. What is queued for others is thrown
// away: if one comes back, new epochs begin.
func (e *Events) Refresh() {
	e.Keeper.Refresh()
	e.mu.Lock()
	defer e.mu.Unlock()
	for of := range e.streams {
		if e.Endpoint(of) == nil {
			delete(e.streams, of)
		}
	}
}
