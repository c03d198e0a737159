package events

import (
	"errors"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// phase is what the owner of a shard does.
type phase uint8

const (
	claiming  phase = iota // begins an epoch, or waits until it may
	gathering              // waits for the parts of the pods
	stating                // names all channels and users
	speaking               // tells changes
)

// gatherTime is the maximum time for which an epoch waits for the parts of other pods.
const gatherTime = 5 * time.Second

// thisPod is the key of this pod in shard.sources.
const thisPod = ""

// shard is one shard of a host, of which this pod is or was the owner. The lock of the Speaker
// guards it.
type shard struct {
	host   *host
	number uint8
	owned  bool
	phase  phase
	epoch  uint64 // last epoch that this pod has begun; 0 before the first
	turn   uint64 // changes when the epoch or the ownership ends

	again    bool          // begins a new epoch
	beginAt  time.Time     // not before this time
	began    time.Time     // start of the last epoch; zero before the first
	pause    time.Duration // before the last epoch
	recorded time.Time     // time at which the epoch was recorded
	deadline time.Time     // end of gathering
	failures int           // number of times that the epoch could not be recorded
	halted   bool          // the Sink has thrown away events: nothing is told until the next epoch

	asked    bool // the pods were asked for their parts
	sources  map[string]*source
	channels map[string]*channel // the channel "" has the users who are online
	persons  map[string]*person
	dirty    []*channel // channels of which something may have to be told
	grace    graceHeap

	running bool        // the goroutine runs
	timer   *time.Timer // starts the goroutine; nil before the first use
}

func newShard(h *host, n uint8) *shard {
	return &shard{
		host: h, number: n,
		sources: make(map[string]*source), channels: make(map[string]*channel), persons: make(map[string]*person),
	}
}

// source is the part of a pod.
type source struct {
	shard *shard
	pod   string
	id    uint64 // of the last question; 0 for this pod
	whole bool   // the whole part has arrived

	tap     *presence.Tap // nil for another pod
	pending bool          // the tap has changes

	stale map[*channel]bool // while the whole part arrives, channels of an earlier one that it has not named
	rest  map[*seat]bool    // while a whole channel arrives, seats that it has not named; nil otherwise
}

// muted reports whether nothing is told of what changes now, because the state follows.
func (sh *shard) muted() bool { return sh.halted || sh.phase < stating }

// wake starts the goroutine of a shard, unless it runs. The lock is held.
func (s *Speaker) wake(sh *shard) {
	if sh.running || !sh.owned || s.closed {
		return
	}
	sh.running = true
	s.telling.Go(func() { // ends when there is nothing to do
		for s.advance(sh) {
		}
	})
}

// sleep ends the goroutine of a shard, which starts again at a time, or earlier. The lock is held.
func (s *Speaker) sleep(sh *shard, until time.Time) bool {
	sh.running = false
	if until.IsZero() {
		return false
	}
	wait := time.Until(until)
	if sh.timer != nil {
		sh.timer.Reset(wait)
		return false
	}
	sh.timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wake(sh)
	})
	return false
}

// advance does one step of a shard. It returns false if the goroutine ends.
func (s *Speaker) advance(sh *shard) bool {
	now := time.Now()
	s.mu.Lock()
	if s.closed || !sh.owned {
		defer s.mu.Unlock()
		return s.sleep(sh, time.Time{})
	}
	expires := sh.expireGrace(s.now())
	if local := sh.sources[thisPod]; local != nil && local.pending {
		s.mu.Unlock()
		s.pull(sh, local)
		return true
	}
	if sh.again {
		if now.Before(sh.beginAt) {
			defer s.mu.Unlock()
			return s.sleep(sh, sh.beginAt)
		}
		s.mu.Unlock()
		s.claim(sh)
		return true
	}
	at := time.Time{}
	if expires != 0 {
		at = now.Add(expires - s.now())
	}
	switch {
	case sh.halted:
	case sh.phase == gathering:
		if sh.gathered() || !now.Before(sh.deadline) {
			sh.phase = stating
			s.mu.Unlock()
			s.state(sh)
			return true
		}
		at = sh.deadline
	case sh.phase == speaking:
		if batch := sh.reconcile(maxBatch, s.now()); len(batch) > 0 {
			turn := s.turnOf(sh)
			s.mu.Unlock()
			s.tell(turn, batch)
			return true
		}
	}
	defer s.mu.Unlock()
	return s.sleep(sh, at)
}

// gathered reports whether all pods have sent their parts.
func (sh *shard) gathered() bool {
	for _, src := range sh.sources {
		if !src.whole {
			return false
		}
	}
	return true
}

// pullLimit is the number of names that are pulled at a time.
const pullLimit = 1000

// pull merges changes of this pod.
func (s *Speaker) pull(sh *shard, src *source) {
	part, more := src.tap.Pull(pullLimit)
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh.sources[thisPod] == src {
		src.pending = more
		sh.merge(src, &part, s.now())
	}
}

// claim begins an epoch: it records it, and asks all pods for their parts.
func (s *Speaker) claim(sh *shard) {
	s.mu.Lock()
	if !sh.owned || s.closed {
		s.mu.Unlock()
		return
	}
	sh.turn++
	sh.again, sh.halted, sh.phase, sh.began = false, false, claiming, time.Now()
	sh.reset()
	turn, name, number := sh.turn, sh.host.name, sh.number
	least, users := max(s.clock(), sh.epoch+1), sh.host.wanted.Users
	s.mu.Unlock()

	least = max(least, s.cfg.Epochs.Epochs(name)[number]+1)
	s.mu.Lock()
	epoch := s.align(least)
	s.mu.Unlock()
	err := s.setEpoch(name, number, epoch)

	local := &source{shard: sh}
	if err == nil {
		local.tap = s.cfg.Registry.Pods().Tap(name, number, users, func() { s.intake.noteTapped(local) })
		local.pending = true
	}
	old := s.install(sh, turn, epoch, local, err)
	if old != nil && old.tap != nil {
		old.tap.Close()
	}
	if err != nil {
		s.logEpoch(name, err)
	}
}

// Pauses after an epoch could not be recorded.
const (
	retryEpoch   = time.Second
	retryDoubles = 6
)

// install makes an epoch begin that was recorded, or schedules another try. It returns the source
// of this pod that is no longer used.
func (s *Speaker) install(sh *shard, turn, epoch uint64, local *source, err error) (old *source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh.turn != turn || !sh.owned || s.closed {
		return local
	}
	now := time.Now()
	sh.host.full = errors.Is(err, assignment.ErrTooManyValues)
	if err != nil {
		if !sh.again {
			sh.again, sh.beginAt = true, now.Add(retryEpoch<<sh.failures)
		}
		sh.failures = min(sh.failures+1, retryDoubles)
		return nil
	}
	sh.failures = 0
	sh.epoch, sh.recorded, sh.phase, sh.deadline, sh.asked = epoch, now, gathering, now.Add(gatherTime), true
	old = sh.sources[thisPod]
	sh.replaceLocal(old, local)
	if s.peers == nil {
		return old
	}
	for pod := range sh.sources {
		if pod != thisPod {
			s.ask(sh, pod)
		}
	}
	for _, pod := range s.peers.Sources(sh.host.name) {
		if sh.sources[pod] == nil {
			s.ask(sh, pod)
		}
	}
	return old
}

// turn is an epoch of a shard, for the goroutine of the shard.
type turn struct {
	*shard
	number uint64 // shard.turn
	epoch  uint64
	host   presence.HostName
	time   int64 // reading of the cluster's clock
}

// turnOf returns the present epoch of a shard. The lock is held.
func (s *Speaker) turnOf(sh *shard) turn {
	return turn{sh, sh.turn, sh.epoch, sh.host.name, int64(s.clock())}
}

// over reports whether another epoch has begun or will begin, or the shard has another owner. The
// lock is held.
func (t turn) over() bool { return t.shard.turn != t.number || t.again || t.halted }
