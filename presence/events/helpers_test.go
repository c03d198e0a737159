package events

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// silent is an encoder and an outbox of empty frames.
type silent struct{}

func (silent) Members([]presence.View, presence.Fields) []byte                        { return nil }
func (silent) Joined(presence.Joined) []byte                                          { return nil }
func (silent) Left(string, string, presence.Reason) []byte                            { return nil }
func (silent) Presence(presence.Diff) []byte                                          { return nil }
func (silent) Message(string, presence.Source, []byte) []byte                         { return nil }
func (silent) AppendUser(b []byte, _ *presence.User, _ bool) []byte                   { return b }
func (silent) AppendPrivate(b []byte, _ presence.ID, _ *presence.User, _ bool) []byte { return b }
func (silent) Push([]byte)                                                            {}
func (silent) Queue([]byte, int) bool                                                 { return false }
func (silent) Flush()                                                                 {}
func (silent) Classify(_ presence.HostName, channel string) (c presence.Class, _ error) {
	c.Kind = presence.Authenticated
	switch {
	case strings.HasPrefix(channel, "anonymous"):
		c.Kind = presence.Anonymous
	case strings.HasPrefix(channel, "counted"):
		c.CountOnly = true
	case strings.HasPrefix(channel, "hidden"):
		c.Hidden = true
	}
	return c, nil
}

// stage is a Speaker of one pod, with what it has told.
type stage struct {
	*Speaker
	t      *testing.T
	host   presence.HostName
	reg    *presence.Registry
	source *presence.Rules

	mu     sync.Mutex
	wanted Wanted
	epochs map[uint8]uint64
	broken bool          // epochs cannot be recorded
	full   bool          // the queue
	stall  chan struct{} // Put waits until it is closed; nil if it does not wait
	slow   time.Duration // time that recording an epoch takes
	hide   string
	named  int // number of calls of Name
	told   []Event
}

// newStage returns a Speaker of a pod that is not alone yet. It must be called in a bubble.
func newStage(t *testing.T) *stage {
	t.Helper()
	host, err := presence.ParseHostName("portal.example.com")
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{
		t: t, host: host, reg: presence.NewRegistry(silent{}), source: &presence.Rules{Classifier: silent{}},
		wanted: Wanted{On: true, Users: true, Grace: 2 * time.Second}, epochs: make(map[uint8]uint64),
	}
	s.Speaker = New(Config{
		Registry: s.reg, Sink: s, Epochs: s, Logger: zap.NewNop(),
		Wanted: func(presence.HostName) Wanted {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.wanted
		},
	})
	t.Cleanup(s.Close)
	return s
}

// aloneStage returns a Speaker that owns all shards, of which nobody is there.
func aloneStage(t *testing.T) *stage {
	s := newStage(t)
	s.epochs[0] = 1 // so that the host is known
	s.SetPeers(nil)
	s.Refresh()
	s.settle()
	s.take()
	return s
}

// change changes the stage, with its lock held.
func (s *stage) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// SetEpoch implements Epochs.
func (s *stage) SetEpoch(_ presence.HostName, shard uint8, epoch uint64) ([]assignment.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slow > 0 {
		s.mu.Unlock()
		time.Sleep(s.slow)
		s.mu.Lock()
	}
	if s.broken {
		return nil, errors.New("the disk is full")
	}
	s.epochs[shard] = max(s.epochs[shard], epoch)
	return []assignment.Record{{}}, nil
}

// Epochs implements Epochs.
func (s *stage) Epochs(presence.HostName) (list [Shards]uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for shard, epoch := range s.epochs {
		list[shard] = epoch
	}
	return list
}

// EpochHosts implements Epochs.
func (s *stage) EpochHosts(visit func(presence.HostName)) {
	if s.Epochs(s.host) != [Shards]uint64{} {
		visit(s.host)
	}
}

// Name implements Sink.
func (s *stage) Name(_ presence.HostName, users []presence.User) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.named++
	names := make([]string, len(users))
	for i, u := range users {
		if u.ID != s.hide {
			names[i] = u.ID + u.Info
		}
	}
	return names
}

// Put implements Sink.
func (s *stage) Put(events []Event) bool {
	s.mu.Lock()
	stall := s.stall
	s.mu.Unlock()
	if stall != nil {
		<-stall
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.full {
		s.told = append(s.told, events...)
	}
	return s.full
}

// settle waits until nothing happens without time, and then for the time in which changes are told
// together.
func (s *stage) settle() {
	for range 4 {
		time.Sleep(coalesce)
		synctest.Wait()
	}
}

// take returns what was told since the last call.
func (s *stage) take() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := s.told
	s.told = nil
	return told
}

// texts returns the events of one shard as texts, or of all if it is negative.
func texts(list []Event, shard int) (lines []string) {
	for _, e := range list {
		if shard < 0 || int(e.Shard) == shard {
			lines = append(lines, strings.TrimRight(fmt.Sprintf("%v %s %d %s", e.Type, e.Channel, e.Count, strings.Join(e.Records, ",")), " "))
		}
	}
	return lines
}

// expect compares what was told, of all shards and sorted, with lines.
func (s *stage) expect(when string, want ...string) {
	s.t.Helper()
	s.settle()
	got := texts(s.take(), -1)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.t.Errorf("%s:\ngot  %q\nwant %q", when, got, want)
	}
}

// connect connects a user, or nobody, and joins channels.
func (s *stage) connect(user string, channels ...string) *presence.Conn {
	s.t.Helper()
	var u *presence.User
	if user != "" {
		u = &presence.User{ID: user}
	}
	c, err := s.reg.Connect(s.host, s.source, u, silent{})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, channel := range channels {
		if err := c.Join(channel, presence.WatchNone, ""); err != nil {
			s.t.Fatal(err)
		}
	}
	return c
}
