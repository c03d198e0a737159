package replication

import (
	"sync"
	"sync/atomic"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Limits of the checks that wait for an answer. Checks beyond them are dropped: the pod that sent
// them repeats them.
const (
	answerers      = 2
	maxChecks      = 256
	maxChecksBytes = 32 << 20
)

// answers responds to the checks of other pods. Each of its goroutines holds this pod's part of one
// channel at a time.
type answers struct {
	link   *link.Link
	ledger *ledger
	reg    presence.Pods
	checks chan asked
	open   sync.Map     // keys of the checks that wait or are being answered
	bytes  atomic.Int64 // approximate memory of the checks that wait
	done   chan struct{}
	all    sync.WaitGroup
}

type asked struct {
	from  link.Peer
	check *message.Check
	size  int64
}

// askedKey identifies a check. Its repetitions have the same key.
type askedKey struct {
	from link.Peer
	id   uint64
}

func (q asked) key() askedKey { return askedKey{q.from, q.check.ID} }

// newAnswers starts the goroutines. close stops them.
func newAnswers(l *link.Link, published *ledger, reg presence.Pods) *answers {
	a := &answers{link: l, ledger: published, reg: reg, checks: make(chan asked, maxChecks), done: make(chan struct{})}
	for range answerers {
		a.all.Go(a.run)
	}
	return a
}

func (a *answers) close() {
	close(a.done)
	a.all.Wait()
}

// ask queues a check, unless too many wait or it repeats one that is not answered yet. It does not
// block.
func (a *answers) ask(from link.Peer, c *message.Check) {
	q := asked{from, c, int64(memorySize(c))}
	if _, repeated := a.open.LoadOrStore(q.key(), nil); repeated {
		return
	}
	if a.bytes.Add(q.size) > maxChecksBytes {
		a.end(q)
		return
	}
	select {
	case a.checks <- q:
	default:
		a.end(q)
	}
}

func (a *answers) end(q asked) {
	a.bytes.Add(-q.size)
	a.open.Delete(q.key())
}

func (a *answers) run() {
	for {
		select {
		case <-a.done:
			return
		case q := <-a.checks:
			a.answer(q)
			a.end(q)
		}
	}
}

// answer registers the other pod as a follower of the shards of the channels, and sends this pod's
// parts of the channels whose clocks the other pod does not have. If this pod does not serve the
// host, its parts are empty, so that the other pod corrects a copy that it may have.
func (a *answers) answer(q asked) {
	inbox, done := a.link.Inbox(q.from), &message.CheckDone{ID: q.check.ID, Clock: a.reg.LastClock()}
	var shards message.ShardSet
	for i := range q.check.Channels {
		shards.Add(presence.ChannelShardOf(q.check.Channels[i].Channel))
	}
	done.Shards, done.Follows = a.ledger.addFollower(q.from, q.check.Host, shards) // before the states are read
	for i, c := range q.check.Channels {
		if d, ok := a.reg.StateAfter(q.check.Host, c.Channel, c.Clock); ok {
			done.Answers = append(done.Answers, message.Answer{Index: i, Clock: d.Clock})
			sendDelta(a.link, inbox, place{q.check.Host, c.Channel}, d, 0)
		}
	}
	a.link.Send(inbox, done)
}
