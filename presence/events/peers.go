package events

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// Peers are the other pods of the deployment. A pod is named by the key of its run. The methods
// must not block or call the Speaker.
type Peers interface {
	// Clock returns the reading of the cluster's clock, in milliseconds.
	Clock() uint64
	// Settled reports whether this pod knows which pods are alive, or has waited long enough for
	// that. After it becomes true, [Speaker.PodsChanged] is called.
	Settled() bool
	// Self returns the key of this pod: its name, '/' and its run.
	Self() string
	// Speakers returns the other pods that are alive and have events for the host.
	Speakers(host presence.HostName) []string
	// Misses reports whether a pod is missing, or was until lately. It may speak, whatever it had
	// events for when it was last heard.
	Misses() bool
	// Sources returns the other pods that are alive and may serve the host.
	Sources(host presence.HostName) []string
	// Ask asks a pod for its part of a shard, with the users who are online if users is set. The
	// pod sends it, and then its changes, to [Speaker.Merge] with the ID. It is asked again until
	// it has answered, or until it is gone.
	Ask(pod string, id uint64, host presence.HostName, shard uint8, users bool)
	// Drop ends what Ask began.
	Drop(pod string, id uint64)
	// Spread sends records of a host to the other pods.
	Spread(host presence.HostName, records []assignment.Record)
}

// SetPeers sets the other pods. If peers is nil, this pod is alone and owns all shards.
func (s *Speaker) SetPeers(peers Peers) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready && s.peers == peers {
		return
	}
	s.forgetAll()
	s.peers, s.ready = peers, true
	s.intake.noteReview()
}

// RemovePeers removes the other pods, unless they were replaced. Until SetPeers is called, this pod
// owns the shards that it has.
func (s *Speaker) RemovePeers(peers Peers) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready && s.peers == peers {
		s.forgetAll()
		s.peers, s.ready = nil, false
	}
}

// forgetAll drops the parts of all other pods. The lock is held.
func (s *Speaker) forgetAll() {
	s.eachShard(func(sh *shard) {
		for pod := range sh.sources {
			if pod != thisPod {
				s.forget(sh, pod)
			}
		}
	})
}

// Opened notes hosts that have connections on another pod, for which this one may own shards.
func (s *Speaker) Opened(hosts []presence.HostName) {
	for _, h := range hosts {
		s.intake.noteOpened(h)
	}
}

// PodsChanged notes that other pods have come, gone or changed.
func (s *Speaker) PodsChanged() { s.intake.noteReview() }

// PodsUnheard notes that this pod heard nothing for a while. Others may have spoken for its shards
// meanwhile, and be gone, so new epochs begin.
func (s *Speaker) PodsUnheard() {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hosts {
		h.renew.restart(now)
	}
	s.intake.noteReview()
}

// PodDown handles a pod that is gone or missing: its connections are lost.
func (s *Speaker) PodDown(pod string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eachShard(func(sh *shard) { s.forget(sh, pod) })
	s.intake.noteReview()
}

// Merge merges a part of another pod, in the order in which it was sent. It returns false if nobody
// waits for it.
func (s *Speaker) Merge(pod string, id uint64, part *presence.TapPart) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	src := s.asked[id]
	if src == nil || src.pod != pod {
		return false
	}
	src.shard.merge(src, part, s.now())
	s.wake(src.shard)
	return true
}
