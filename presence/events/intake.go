package events

import (
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// intake collects what the worker has to do. A caller may hold the lock of a host, so no method
// blocks. Its memory is bounded by the number of hosts and shards.
type intake struct {
	wake chan struct{}

	mu     sync.Mutex
	opened map[presence.HostName]bool // hosts that have connections
	tapped map[*source]bool           // sources of this pod that have changes
	review bool                       // the owners of shards may have changed
}

func (in *intake) noteOpened(host presence.HostName) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.opened == nil {
		in.opened = make(map[presence.HostName]bool)
	}
	in.opened[host] = true
	in.signal()
}

func (in *intake) noteTapped(src *source) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.tapped == nil {
		in.tapped = make(map[*source]bool)
	}
	in.tapped[src] = true
	in.signal()
}

func (in *intake) noteReview() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.review = true
	in.signal()
}

func (in *intake) signal() {
	select {
	case in.wake <- struct{}{}:
	default: // a wake-up is already pending
	}
}

func (in *intake) swap() (opened map[presence.HostName]bool, tapped map[*source]bool, review bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	opened, tapped, review = in.opened, in.tapped, in.review
	in.opened, in.tapped, in.review = nil, nil, false
	return opened, tapped, review
}

const (
	// coalesce is the time within which changes of this pod are told together.
	coalesce = 10 * time.Millisecond
	// refreshEvery is how often an epoch is recorded again, so that the record does not expire.
	refreshEvery = 24 * time.Hour
)

// work is the worker's goroutine. It ends with Close.
func (s *Speaker) work() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-hourly.C:
			s.all.Go(s.refreshEpochs)
			continue
		case <-s.intake.wake:
		}
		timer.Reset(coalesce)
		select {
		case <-s.done:
			return
		case <-timer.C:
		}
		opened, tapped, review := s.intake.swap()
		s.mu.Lock()
		for host := range opened {
			s.addHost(host)
		}
		for src := range tapped {
			if src.shard.sources[thisPod] == src {
				src.pending = true
				s.wake(src.shard)
			}
		}
		var ends ends
		switch {
		case s.closed:
		case review:
			ends = s.reviewAll()
		default:
			ends = s.reviewFresh()
		}
		s.mu.Unlock()
		ends.run()
	}
}

// refreshEpochs records the epochs again whose records are old. Many can be due at once, and each
// waits for the disk. It ends with Close.
func (s *Speaker) refreshEpochs() {
	type old struct {
		host  presence.HostName
		shard uint8
		epoch uint64
	}
	var list []old
	s.mu.Lock()
	s.eachShard(func(sh *shard) {
		// A receiver has nothing of an empty shard, so its record may expire.
		if sh.owned && sh.phase == speaking && len(sh.channels) > 0 && time.Since(sh.recorded) >= refreshEvery {
			sh.recorded = time.Now()
			list = append(list, old{sh.host.name, sh.number, sh.epoch})
		}
	})
	s.mu.Unlock()
	for _, o := range list {
		select {
		case <-s.done:
			return
		default:
		}
		if err := s.setEpoch(o.host, o.shard, o.epoch); err != nil {
			s.logEpoch(o.host, err)
		}
	}
}
