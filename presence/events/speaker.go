package events

import (
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/oftenlog"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Config is what a [Speaker] needs. All fields but Named are required.
type Config struct {
	Registry *presence.Registry
	Sink     Sink
	Epochs   Epochs
	Wanted   func(host presence.HostName) Wanted // by the configuration in effect; it must not block
	Logger   *zap.Logger
	// Named calls visit for each host that the configuration in effect names: their epochs begin
	// also if nobody knows that they had any. If nil, there are none.
	Named func(visit func(host presence.HostName))
}

// Speaker speaks for the shards that this pod owns. Its methods are safe for concurrent use.
//
// Changes of this pod's connections are noted with the lock of their host held, and everything else
// is done by goroutines of the Speaker: the worker decides which shards this pod owns, and each
// shard that has something to do has a goroutine meanwhile, which alone calls the Sink for it.
type Speaker struct {
	cfg    Config
	epoch  time.Time // see now
	intake intake
	failed oftenlog.Limit // limits the log lines about epochs

	closing sync.Once
	done    chan struct{} // closed by Close
	all     sync.WaitGroup
	telling sync.WaitGroup // goroutines of shards

	// mu guards the fields below and all shards. It is never locked with the lock of a host or of
	// the registry held, and no lock of a host is waited for while it is held.
	mu     sync.Mutex
	closed bool
	peers  Peers // nil if this pod is alone
	ready  bool  // SetPeers was called, and not RemovePeers since
	hosts  map[presence.HostName]*host
	asked  map[uint64]*source // sources of other pods, by the ID of the last question
	lastID uint64
	fresh  []*host // hosts that were added since the last review
	// reviewing is the timer of the next review that is due by itself, at reviewAt; nil if none is.
	reviewing *time.Timer
	reviewAt  time.Time
}

// host is a host that has events.
type host struct {
	name   presence.HostName
	wanted Wanted
	full   bool // there is no room to record an epoch
	renew  renewal
	shards [Shards]*shard // nil until this pod has owned the shard
}

// New returns a Speaker that owns no shard until [Speaker.SetPeers]. It must be called before the
// registry has connections. The caller calls [Speaker.Close].
func New(cfg Config) *Speaker {
	s := &Speaker{
		cfg: cfg, epoch: time.Now(), done: make(chan struct{}), intake: intake{wake: make(chan struct{}, 1)},
		hosts: make(map[presence.HostName]*host), asked: make(map[uint64]*source),
	}
	cfg.Registry.Pods().OnOpened(s.intake.noteOpened)
	s.all.Go(s.work)
	return s
}

// Close ends the goroutines. What is not in the Sink by then is not told: the next owner begins a
// new epoch.
func (s *Speaker) Close() {
	s.closing.Do(func() {
		s.mu.Lock()
		s.closed = true
		if s.reviewing != nil {
			s.reviewing.Stop()
		}
		ends := s.loseAll()
		s.mu.Unlock()
		ends.run()
		close(s.done)
		s.all.Wait()
		s.telling.Wait()
	})
}

// Suspend ends the ownership of all shards until [Speaker.SetPeers]. When it returns, nothing is
// put into the Sink.
func (s *Speaker) Suspend() {
	s.mu.Lock()
	s.forgetAll()
	s.peers, s.ready = nil, false
	ends := s.loseAll()
	s.mu.Unlock()
	ends.run()
	s.telling.Wait()
}

// Refresh applies the configuration in effect. Hosts whose [Wanted].Sum has changed begin new
// epochs.
func (s *Speaker) Refresh() {
	var known []presence.HostName
	s.cfg.Epochs.EpochHosts(func(h presence.HostName) { known = append(known, h) })
	for _, h := range s.cfg.Registry.Hosts() {
		known = append(known, h.Name())
	}
	if s.cfg.Named != nil {
		s.cfg.Named(func(h presence.HostName) { known = append(known, h) })
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hosts {
		before := h.wanted
		if h.wanted = s.cfg.Wanted(h.name); h.wanted.Sum == before.Sum && h.wanted.Users == before.Users {
			continue
		}
		for _, sh := range h.shards {
			if sh != nil && sh.owned {
				s.beginAgain(sh, now)
			}
		}
	}
	for _, name := range known {
		s.addHost(name)
	}
	s.intake.noteReview()
}

// Restart begins a new epoch of a shard as soon as possible, because the Sink has thrown away
// events of it. Epochs that follow each other have pauses that grow.
func (s *Speaker) Restart(host presence.HostName, shard uint8) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh := s.shard(host, shard); sh != nil && sh.owned {
		s.beginAgain(sh, time.Now())
	}
}

// OnEpoch handles that another pod has raised the recorded epoch of a shard, or, with tie set, that
// two pods may have begun the same one.
func (s *Speaker) OnEpoch(host presence.HostName, shard uint8, epoch uint64, tie bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !s.addHost(host) {
		return
	}
	switch sh := s.shard(host, shard); {
	case sh != nil && sh.owned:
		if epoch >= sh.epoch {
			s.beginAgain(sh, time.Now())
		}
	case tie && s.ready: // the owner, which may be one of the two, begins a greater one when it learns of this
		raised := s.align(max(s.clock(), epoch+1))
		s.all.Go(func() { _ = s.setEpoch(host, shard, raised) }) // without a disk, another pod does it
	}
}

// shard returns a shard, or nil. The lock is held.
func (s *Speaker) shard(name presence.HostName, n uint8) *shard {
	if h := s.hosts[name]; h != nil && n < Shards {
		return h.shards[n]
	}
	return nil
}

// eachShard calls f for each shard. The lock is held.
func (s *Speaker) eachShard(f func(sh *shard)) {
	for _, h := range s.hosts {
		for _, sh := range h.shards {
			if sh != nil {
				f(sh)
			}
		}
	}
}

// addHost adds a host if it has events, and reports whether it has. The lock is held.
func (s *Speaker) addHost(name presence.HostName) bool {
	if s.hosts[name] != nil {
		return true
	}
	wanted := s.cfg.Wanted(name)
	if !wanted.On {
		return false
	}
	h := &host{name: name, wanted: wanted}
	s.hosts[name] = h
	s.fresh = append(s.fresh, h)
	s.intake.signal()
	return true
}

// residues is the number of residues of epochs. Each pod has one, and begins only epochs with it:
// two pods that do not hear each other, and so cannot know each other's epochs, begin the same one
// only if they have the same residue, see OnEpoch. It is also how far an epoch can be ahead of the
// clock, in milliseconds.
const residues = 4096

// align returns the least epoch from a number on that has the residue of this pod. The lock is
// held.
func (s *Speaker) align(epoch uint64) uint64 {
	return epoch + (s.residue()+residues-epoch%residues)%residues
}

// residue returns the residue of this pod's epochs. The lock is held.
func (s *Speaker) residue() uint64 {
	if s.peers == nil {
		return 0
	}
	name := s.peers.Self()
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		name = name[:i] // without the run
	}
	return xxhash.Sum64String(name) % residues
}

// now returns the time since the Speaker was created. Grace periods use it because it is smaller
// than a time.Time; it is never 0.
func (s *Speaker) now() time.Duration { return time.Since(s.epoch) + 1 }

// clock returns the reading of the cluster's clock. The lock is held.
func (s *Speaker) clock() uint64 {
	if s.peers != nil {
		return s.peers.Clock()
	}
	return uint64(max(0, time.Now().UnixMilli()))
}
