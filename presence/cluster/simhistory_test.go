package cluster

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rollcall-gateway/rollcall/internal/history"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// TestAssignmentsAreLinearizable lets clients change and read assignments on a deployment whose
// pods are cut off from each other, killed, stopped and restarted. Complete changes are
// linearizable, and reads of a pod that answers completely are regular. A seed takes as long as
// several of TestSimulation, so it tries a part of them: all of a range that does not begin with 0.
func TestAssignmentsAreLinearizable(t *testing.T) {
	t.Parallel()
	from, to := simSeeds(t)
	if from == 0 {
		to = max(1, to/30)
	}
	var mu sync.Mutex
	total := make(map[history.Kind]int)
	t.Cleanup(func() {
		t.Logf("%d complete changes, %d others, %d reads, and %d at rest",
			total[history.Write], total[history.Unfinished], total[history.Read], total[history.RestRead])
		if enough := 100 * (to - from); total[history.Write] < enough || total[history.Read] < enough {
			t.Errorf("that is too little to show anything: want %d of each", enough)
		}
	})
	for seed := from; seed < to; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newHistorySim(t, uint64(seed))
				s.simulate()
				mu.Lock()
				defer mu.Unlock()
				for _, kind := range []history.Kind{history.Write, history.Unfinished, history.Read, history.RestRead} {
					total[kind] += s.record.Count(kind)
				}
			})
		})
	}
}

// historySim is one simulation. One goroutine drives it, and each operation of a client has another
// one.
type historySim struct {
	t       *testing.T
	seed    uint64
	rand    *rand.Rand
	net     *simNet
	hosts   []presence.HostName // the pods serve the first one, and most of them the second one for some time
	pods    []*keeperPod
	record  *history.Recorder
	begin   time.Time
	later   []simEvent
	clients sync.WaitGroup
	mu      sync.Mutex // guards keeperPod.run and paused, for clients
	paused  map[*keeperRun]bool
	tracing bool
}

const (
	historyTime  = 30 * time.Second
	historyUsers = 2                // new ones each second
	historySpan  = 12 * time.Second // time for which a user is changed and read
)

var historyChannels = []string{"left", "right"}

func newHistorySim(t *testing.T, seed uint64) *historySim {
	s := &historySim{
		t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 12)), hosts: []presence.HostName{mustHost(t, "a.example.com"), mustHost(t, "b.example.com")},
		paused: make(map[*keeperRun]bool), tracing: os.Getenv("ROLLCALL_SIM_TRACE") != "",
	}
	dcs := make([]string, 3+s.rand.IntN(3))
	several := 1 + s.rand.IntN(2)
	for i := range dcs {
		dcs[i] = fmt.Sprintf("dc%d", i%several)
	}
	s.net, s.pods = keepersOf(t, seed, dcs...)
	for _, p := range s.pods {
		p.clock = time.Duration(s.rand.IntN(5)-2) * time.Hour
		p.serves = s.hosts[:1+min(1, s.rand.IntN(4))]
		if s.tracing {
			p.logger = zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zapcore.EncoderConfig{MessageKey: "m"}), s, zap.InfoLevel)).
				With(zap.String("at", p.name))
		}
	}
	if s.rand.IntN(3) == 0 { // others overtake some payloads
		s.net.setFaults(simFaults{doubled: 0.1, slow: 0.2, delay: 100 * time.Millisecond})
	}
	return s
}

// Write traces log lines of pods.
func (s *historySim) Write(line []byte) (int, error) { s.trace("%s", line); return len(line), nil }

// Sync implements zapcore.WriteSyncer.
func (s *historySim) Sync() error { return nil }

func (s *historySim) trace(format string, args ...any) {
	if s.tracing {
		s.t.Logf("%8.4f %s", time.Since(s.begin).Seconds(), fmt.Sprintf(format, args...))
	}
}

func (s *historySim) in(d time.Duration, do func()) {
	s.later = append(s.later, simEvent{time.Now().Add(d), do})
}

// upTo returns a random duration.
func (s *historySim) upTo(d time.Duration) time.Duration {
	return time.Duration(s.rand.Float64() * float64(d))
}

func (s *historySim) simulate() {
	s.begin = time.Now()
	s.record = history.NewRecorder()
	for _, p := range s.pods {
		p.start()
	}
	time.Sleep(3 * time.Second)
	nextFault := time.Now().Add(s.upTo(3 * time.Second))
	nextMove := time.Now().Add(s.upTo(3 * time.Second))
	for end := time.Now().Add(historyTime); time.Now().Before(end); {
		s.pass(time.Duration(s.rand.ExpFloat64() * float64(12*time.Millisecond)))
		if time.Now().After(nextFault) {
			s.fault()
			nextFault = time.Now().Add(s.upTo(5 * time.Second))
		}
		if time.Now().After(nextMove) {
			s.move()
			nextMove = time.Now().Add(s.upTo(3 * time.Second))
		}
		s.client()
	}
	s.rest()
	for k, err := range s.record.Check() {
		s.t.Errorf("%v: %v", k, err)
	}
	if s.t.Failed() {
		s.t.Logf("replay: ROLLCALL_SIM_TRACE=1 ROLLCALL_SIM_SEEDS=%d-%d go test -run 'TestAssignmentsAreLinearizable$' ./presence/cluster",
			s.seed, s.seed+1)
	}
}

// pass lets time pass, with what is planned for then.
func (s *historySim) pass(d time.Duration) {
	for end := time.Now().Add(d); ; {
		next := -1
		for i, e := range s.later {
			if !e.at.After(end) && (next < 0 || e.at.Before(s.later[next].at)) {
				next = i
			}
		}
		if next < 0 {
			time.Sleep(time.Until(end))
			return
		}
		e := s.later[next]
		s.later = append(s.later[:next], s.later[next+1:]...)
		time.Sleep(time.Until(e.at))
		e.do()
	}
}

// client starts one operation on a pod that runs.
func (s *historySim) client() {
	p := s.pods[s.rand.IntN(len(s.pods))]
	r := p.run
	if r == nil || s.paused[r] {
		return
	}
	now := time.Since(s.begin)
	age := s.upTo(historySpan)
	number := int((now-age+historySpan)/time.Second)*historyUsers + s.rand.IntN(historyUsers)
	if !slices.Contains(p.serves, s.hostOf(number)) {
		return
	}
	user := userOf(number)
	keep := history.Reserve{Operations: len(s.pods)}
	if age < historySpan/2 {
		keep.Operations, keep.Unfinished = len(s.pods)+6, 2
	}
	channel := historyChannels[s.rand.IntN(len(historyChannels))]
	keys := []history.Key{{User: user, Channel: channel}}
	channels, mode := []string{channel}, assignment.None
	switch n := s.rand.IntN(10); {
	case n < 4:
		s.clients.Go(func() { s.read(history.Read, r, s.hostOf(number), keys[0], keep) })
		return
	case n < 5:
		keys, channels = nil, nil
		for _, c := range historyChannels {
			keys = append(keys, history.Key{User: user, Channel: c})
		}
	case n < 9:
		mode = assignment.Ignore + assignment.Mode(s.rand.IntN(3))
	}
	s.clients.Go(func() { s.write(r, s.hostOf(number), keys, mode, keep, user, channels) })
}

func userOf(number int) string { return fmt.Sprintf("u%d", number) }

// hostOf returns the host on which a user is assigned.
func (s *historySim) hostOf(user int) presence.HostName { return s.hosts[user%2] }

func valueOf(m assignment.Mode) string {
	if m == assignment.None {
		return ""
	}
	return m.String()
}

func (s *historySim) write(
	r *keeperRun, host presence.HostName, keys []history.Key, mode assignment.Mode, keep history.Reserve, user string, channels []string,
) {
	call, ok := s.record.Begin(history.Write, keep, keys...)
	if !ok {
		return
	}
	o := &history.Operation{Kind: history.Unfinished, By: r.keeperPod.name, Value: valueOf(mode), Call: call}
	if r.change(host, mode, user, channels...) && s.answers(r) {
		o.Kind = history.Write
	}
	s.record.End(history.Write, o, keys...)
}

// answers reports whether the pod can answer: it is neither ended nor stopped.
func (s *historySim) answers(r *keeperRun) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.keeperPod.run == r && !s.paused[r]
}

func (s *historySim) read(kind history.Kind, r *keeperRun, host presence.HostName, k history.Key, keep history.Reserve) {
	call, ok := s.record.Begin(kind, keep, k)
	if !ok {
		return
	}
	complete := kind == history.RestRead || r.hearsAll(host)
	mode := r.book.Mode(host, k.User, k.Channel)
	if !complete || !s.answers(r) || kind == history.Read && !r.hearsAll(host) {
		s.record.End(kind, nil, k)
		return
	}
	s.record.End(kind, &history.Operation{Kind: kind, By: r.keeperPod.name, Value: valueOf(mode), Call: call}, k)
}

// rest ends all faults, waits until nothing changes, and reads everything.
func (s *historySim) rest() {
	for len(s.later) > 0 {
		s.pass(time.Second)
	}
	for _, p := range s.pods {
		s.begins(p)
	}
	s.clients.Wait()
	time.Sleep(20 * time.Second)
	for _, p := range s.pods {
		for _, host := range p.serves {
			if !p.run.hearsAll(host) {
				s.t.Errorf("%s does not answer completely for %v, although nothing has failed for a while", p.name, host)
			}
		}
	}
	for number := range historyUsers * int((time.Since(s.begin)+historySpan)/time.Second) {
		host := s.hostOf(number)
		for _, c := range historyChannels {
			for n, p := range s.pods {
				if slices.Contains(p.serves, host) {
					k := history.Key{User: userOf(number), Channel: c}
					s.read(history.RestRead, p.run, host, k, history.Reserve{Operations: len(s.pods) - 1 - n})
				}
			}
		}
	}
}
