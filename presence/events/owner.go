package events

import (
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
)

// OwnerOf returns which of the pods owns a shard, by rendezvous hashing: a pod that comes or goes
// changes the owner of its own shards only. It returns "" if there are no pods.
func OwnerOf(host presence.HostName, shard uint8, pods []string) (owner string) {
	var best uint64
	b := make([]byte, 0, 256)
	for _, pod := range pods {
		b = append(append(b[:0], host.String()...), 0)
		b = append(strconv.AppendUint(b, uint64(shard), 10), 0)
		sum := xxhash.Sum64(append(b, pod...))
		if owner == "" || sum > best || sum == best && pod > owner {
			best, owner = sum, pod
		}
	}
	return owner
}

// ends are functions to call without the lock.
type ends []func()

func (e ends) run() {
	for _, end := range e {
		end()
	}
}

// reviewAll finds the shards that this pod owns now, and asks pods that have come for their parts.
// The lock is held.
func (s *Speaker) reviewAll() (ends ends) {
	now, next := time.Now(), time.Time{}
	s.fresh = nil
	for _, h := range s.hosts {
		if !h.wanted.On || h.full && s.cfg.Registry.Host(h.name) == nil {
			for _, sh := range h.shards {
				if sh != nil {
					ends = append(ends, s.lose(sh)...)
				}
			}
			delete(s.hosts, h.name)
			continue
		}
		if s.ready {
			ends = append(ends, s.review(h, now)...)
		}
		if at := h.renew.at; !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if s.reviewing != nil {
		s.reviewing.Stop()
		s.reviewing = nil
	}
	s.reviewLater(now, next)
	return ends
}

// reviewFresh is reviewAll for the hosts that were added since the last review: anybody may open
// hosts of a wildcard, of which there may be many. The lock is held.
func (s *Speaker) reviewFresh() (ends ends) {
	now := time.Now()
	for _, h := range s.fresh {
		if s.ready && h.wanted.On {
			ends = append(ends, s.review(h, now)...)
			s.reviewLater(now, h.renew.at)
		}
	}
	s.fresh = nil
	return ends
}

// reviewLater schedules a review of all hosts, unless one is due earlier or at is zero. The lock is
// held.
func (s *Speaker) reviewLater(now, at time.Time) {
	if limit := now.Add(missingEvery); at.After(limit) {
		at = limit
	}
	if at.IsZero() || s.reviewing != nil && !s.reviewAt.After(at) {
		return
	}
	if s.reviewing != nil {
		s.reviewing.Stop()
	}
	s.reviewAt = at
	s.reviewing = time.AfterFunc(at.Sub(now), s.intake.noteReview)
}

func (s *Speaker) review(h *host, now time.Time) (ends ends) {
	settled := true
	var pods, sources []string
	if h.renew.due(s.peers != nil && s.peers.Misses(), now) {
		for _, sh := range h.shards {
			if sh != nil && sh.owned {
				s.beginAgain(sh, now)
			}
		}
	}
	if s.peers != nil {
		settled = s.peers.Settled()
		pods, sources = s.peers.Speakers(h.name), s.peers.Sources(h.name)
		pods = append(pods, s.peers.Self())
	}
	for n := range h.shards {
		own := s.peers == nil || OwnerOf(h.name, uint8(n), pods) == s.peers.Self()
		sh := h.shards[n]
		switch owned := sh != nil && sh.owned; {
		case own && !owned && settled:
			if sh == nil {
				sh = newShard(h, uint8(n))
				h.shards[n] = sh
			}
			sh.owned = true
			s.beginAgain(sh, now)
		case !own && owned:
			ends = append(ends, s.lose(sh)...)
		}
		if sh != nil && sh.owned && sh.asked {
			for _, pod := range sources {
				if sh.sources[pod] == nil {
					s.ask(sh, pod)
				}
			}
		}
	}
	return ends
}

// renewal is when the shards of a host begin new epochs because of a missing pod. It may speak, in
// an epoch that is greater than that of this pod, and end before this one learns of that. After a
// time in which this pod heard nothing, any pod may have done so.
type renewal struct {
	at    time.Time // zero if no pod is missing
	pause time.Duration
	last  bool // pods are no longer missing
}

// Pauses between the epochs that a missing pod causes.
const (
	leastRenewal = 10 * time.Second
	lastRenewal  = 5 * time.Second // after no pod is missing: its epochs can be ahead of its clock
	mostRenewal  = time.Hour
	// missingEvery is how often a Speaker looks whether a pod is still missing.
	missingEvery = 5 * time.Second
)

// due reports whether to begin new epochs: a pod is missing for some time, or no longer for a
// moment.
func (r *renewal) due(missing bool, now time.Time) bool {
	switch {
	case missing && (r.at.IsZero() || r.last):
		*r = renewal{at: now.Add(leastRenewal), pause: leastRenewal}
		return false
	case !missing && !r.at.IsZero() && !r.last:
		r.at, r.last = now.Add(lastRenewal), true
		return false
	case r.at.IsZero() || now.Before(r.at):
		return false
	case r.last:
		*r = renewal{}
		return true
	}
	r.pause = min(2*r.pause, mostRenewal)
	r.at = now.Add(r.pause)
	return true
}

// restart makes new epochs begin in a moment, after a time in which this pod heard nothing.
func (r *renewal) restart(now time.Time) {
	if r.at.IsZero() || r.last {
		r.at, r.last = now.Add(lastRenewal), true
	}
}

// ask asks a pod for its part of a shard. The lock is held.
func (s *Speaker) ask(sh *shard, pod string) {
	src := sh.sources[pod]
	if src == nil {
		src = &source{shard: sh, pod: pod}
		sh.sources[pod] = src
	} else {
		s.unask(src)
	}
	s.lastID++
	src.id, src.whole = s.lastID, false
	s.asked[src.id] = src
	s.peers.Ask(pod, src.id, sh.host.name, sh.number, sh.host.wanted.Users)
}

// unask ends what ask began. The lock is held.
func (s *Speaker) unask(src *source) {
	delete(s.asked, src.id)
	if s.peers != nil {
		s.peers.Drop(src.pod, src.id)
	}
}

// forget removes a pod from a shard: its connections are lost. The lock is held.
func (s *Speaker) forget(sh *shard, pod string) {
	src := sh.sources[pod]
	if src == nil {
		return
	}
	s.unask(src)
	delete(sh.sources, pod)
	for _, ch := range sh.channels {
		sh.leaveChannel(src, ch, s.now())
	}
	s.wake(sh)
}

// lose ends the ownership of a shard. The lock is held.
func (s *Speaker) lose(sh *shard) (ends ends) {
	if !sh.owned {
		return nil
	}
	for _, src := range sh.sources {
		if src.tap != nil {
			ends = append(ends, src.tap.Close)
			continue
		}
		s.unask(src)
	}
	if sh.timer != nil {
		sh.timer.Stop()
	}
	before := *sh
	*sh = *newShard(sh.host, sh.number)
	sh.began, sh.pause, sh.epoch, sh.running, sh.turn = before.began, before.pause, before.epoch, before.running, before.turn+1
	return ends
}

func (s *Speaker) loseAll() (ends ends) {
	s.eachShard(func(sh *shard) { ends = append(ends, s.lose(sh)...) })
	return ends
}

// Pauses between the epochs of a shard.
const (
	leastPause = 250 * time.Millisecond
	mostPause  = 8 * time.Second
	// calmAfter is how long after the start of an epoch the next one has no pause.
	calmAfter = 30 * time.Second
)

// beginAgain begins a new epoch of a shard, after a pause if the last one is young. The lock is
// held.
func (s *Speaker) beginAgain(sh *shard, now time.Time) {
	if sh.again {
		return
	}
	sh.again, sh.beginAt = true, now
	switch {
	case sh.began.IsZero() || now.Sub(sh.began) >= calmAfter:
		sh.pause = 0
	default:
		sh.pause = min(max(2*sh.pause, leastPause), mostPause)
		sh.beginAt = now.Add(sh.pause)
	}
	s.wake(sh)
}

// setEpoch records an epoch, on all pods.
func (s *Speaker) setEpoch(host presence.HostName, shard uint8, epoch uint64) error {
	records, err := s.cfg.Epochs.SetEpoch(host, shard, epoch)
	if err != nil {
		return err
	}
	s.mu.Lock()
	peers := s.peers
	s.mu.Unlock()
	if peers != nil && len(records) > 0 {
		peers.Spread(host, records)
	}
	return nil
}

// logEvery is the minimum time between log lines about epochs.
const logEvery = 10 * time.Second

func (s *Speaker) logEpoch(host presence.HostName, err error) {
	if _, ok := s.failed.Allow(logEvery); ok {
		s.cfg.Logger.Error("cannot record an epoch: the events of the host wait until it can be", zap.Stringer("host", host), zap.Error(err))
	}
}
