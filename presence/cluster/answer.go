package cluster

import (
	"sync"
	"sync/atomic"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Bounds of the checks that wait for an answer. Beyond them checks are dropped: the pod that asked does so again in a few
// seconds.
const (
	answerers      = 2
	maxChecks      = 256
	maxChecksBytes = 32 << 20
)

// answers is what replies to the checks of other pods. Each of its goroutines holds what this pod has of one channel at a time.
type answers struct {
	link   *link
	reg    presence.Pods
	checks chan asked
	bytes  atomic.Int64 // of the checks that wait, about
	done   chan struct{}
	all    sync.WaitGroup
}

type asked struct {
	from  peer
	check *message.Check
	size  int64
}

// newAnswers starts the goroutines, which close ends.
func newAnswers(l *link, reg presence.Pods) *answers {
	a := &answers{link: l, reg: reg, checks: make(chan asked, maxChecks), done: make(chan struct{})}
	for range answerers {
		a.all.Go(a.run)
	}
	return a
}

func (a *answers) close() {
	close(a.done)
	a.all.Wait()
}

// ask has a check answered, unless too many wait. It does not block.
func (a *answers) ask(from peer, c *message.Check) {
	size := int64(memorySize(c))
	if a.bytes.Add(size) > maxChecksBytes {
		a.bytes.Add(-size)
		return
	}
	select {
	case a.checks <- asked{from, c, size}:
	default:
		a.bytes.Add(-size)
	}
}

func (a *answers) run() {
	for {
		select {
		case <-a.done:
			return
		case q := <-a.checks:
			a.answer(q)
			a.bytes.Add(-q.size)
		}
	}
}

// answer sends what this pod has of the channels that the other one does not know. A host that this pod does not serve has
// nobody here, and a copy that the other pod may have of it is put right.
func (a *answers) answer(q asked) {
	inbox, clock := a.link.inbox(q.from), a.reg.LastClock()
	for _, c := range q.check.Channels {
		if d, ok := a.reg.StateAfter(q.check.Host, c.Channel, c.Clock); ok {
			sendDelta(a.link, inbox, place{q.check.Host, c.Channel}, d)
		}
	}
	a.link.send(inbox, &message.CheckDone{ID: q.check.ID, Clock: clock})
}
