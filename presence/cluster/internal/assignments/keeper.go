// Package assignments keeps the book of assignments equal on all pods.
//
// A [Keeper] sends changes to all pods and waits for their confirmations (spread.go, flight.go). It
// stores those of others, and confirms them (confirm.go). It compares the book with those of other
// pods every few seconds, and requests what differs (check.go). After times in which this pod may
// not have received complete changes, it does so at once, until it has them (whole.go, pursue.go).
// It has subjects of its own, because handling their messages waits for the disk, and the inbox
// must not wait.
//
// Keeper.mu guards the check in progress, what is known of other pods, and the changes that wait
// for confirmations. It is not held while messages are sent, or while records are read or stored.
package assignments

import (
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/sites"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Keeper keeps the book of this pod equal to those of other pods.
//
// A change is sent to all pods, and each confirms it when it has stored it. Records that are lost,
// or that a pod was not there for, are found by comparison: every few seconds each pod sends one
// sum of all its records. A pod with another sum requests the parts that differ, from one pod at a
// time. It does not matter which pod requests, in which order records arrive, and how often: of two
// records the later one applies everywhere.
type Keeper struct {
	link    *link.Link
	members *membership.Members
	book    *assignment.Book
	timing  timing.Timing
	due     work.Signal    // Run has something to do
	arrived work.Signal    // changes of other pods wait to be stored
	sending sync.WaitGroup // flights. Run waits for them, so that nothing is sent after the goodbye

	// mu guards the fields below.
	mu      sync.Mutex
	lastID  uint64
	flights map[uint64]*flight            // by the IDs of their messages
	last    map[presence.HostName]*flight // last shared flight of a host
	pending []received
	closed  bool // Run has ended, and no flight begins
	check   check
	vain    map[link.Peer]vain // pods that differ, although their last answers changed nothing
	pods    map[link.Peer]*standing
	met     bool                        // this pod has agreed with another one since its start
	whole   bool                        // it agrees with all pods; false until step has found that
	served  *sites.Served               // sites that this pod serves; nil before the first ones
	ever    []*sites.Served             // all that it has served since its start; nil if they are too many
	before  []*sites.Served             // of hosts that all of these serve, it has all complete changes; nil without any
	changes []siteChange                // of the last beginning, the oldest first
	settled []*sites.Served             // hosts that all of these serve are settled, see settle; nil if all hosts are
	starts  bool                        // this pod may lack what was complete before its start; see settle
	hearing bool                        // no pod has been missing since all pods were last doubted; see settle
	owed    map[link.Peer]*sites.Served // hosts of pods that counted as crashed when all others were heard; nil before
	outbox  []outgoing
}

// outgoing is a message that is sent when Keeper.mu is unlocked.
type outgoing struct {
	to link.Peer
	m  message.Message
}

// send sends a message to one pod when a.mu, which is held, is unlocked by unlock.
func (a *Keeper) send(to link.Peer, m message.Message) { a.outbox = append(a.outbox, outgoing{to, m}) }

func (a *Keeper) unlock() {
	out := a.outbox
	a.outbox = nil
	a.mu.Unlock()
	for _, o := range out {
		a.link.Send(a.link.AssignmentsOf(o.to), o.m)
	}
}

// New returns the keeper of a book. It returns nil, whose methods do nothing, if book is nil.
func New(l *link.Link, m *membership.Members, book *assignment.Book, t timing.Timing) *Keeper {
	if book == nil {
		return nil
	}
	return &Keeper{
		link: l, members: m, book: book, timing: t, lastID: link.Random()>>1 | 1, starts: true,
		due: work.NewSignal(), arrived: work.NewSignal(),
		flights: make(map[uint64]*flight), last: make(map[presence.HostName]*flight), vain: make(map[link.Peer]vain), pods: make(map[link.Peer]*standing),
	}
}

// HandleShared handles a message about assignments that is for all pods. It waits for the disk.
func (a *Keeper) HandleShared(from link.Peer, m message.Message) {
	if m, ok := m.(*message.Assignments); ok && !a.book.Takes(m.Host) {
		return // if this pod must confirm it nevertheless, it comes again, for this pod alone
	}
	a.Handle(from, m)
}

// Handle handles a message about assignments that is for this pod. It waits for the disk.
func (a *Keeper) Handle(from link.Peer, m message.Message) {
	switch m := m.(type) {
	case *message.Assignments:
		a.merge(from, m)
	case *message.AssignmentsTaken:
		a.confirmed(from, m)
	case *message.AssignmentTotal:
		a.compareTotal(from, m)
	case *message.AssignmentCheck:
		a.answer(from, m)
	default:
		a.link.Counts.Unknown.Add(1)
	}
}

// merge merges records of another pod.
func (a *Keeper) merge(from link.Peer, m *message.Assignments) {
	if m.Answer {
		before, _ := a.book.Total(nil)
		if a.book.Takes(m.Host) { // otherwise this pod has ceased to serve it meanwhile
			_, _ = a.book.Merge(m.Records) // what cannot be stored applies nevertheless, and is stored later
		}
		after, _ := a.book.Total(nil)
		a.addPart(from, m.ID, after != before)
		return
	}
	a.apply(from, m)
}

// confirmed handles the confirmation of a change, or the end of an answer.
func (a *Keeper) confirmed(from link.Peer, m *message.AssignmentsTaken) {
	a.mu.Lock()
	f := a.flights[m.ID]
	if f != nil {
		f.confirm(from, m)
	}
	a.mu.Unlock()
	if f == nil && !a.endAnswer(from, m) {
		a.link.Counts.Unknown.Add(1)
	}
}

// PodDown handles a pod that left.
func (a *Keeper) PodDown(p link.Peer) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.vain, p)
	delete(a.pods, p)
	a.hearing = false
	if a.check.to == p {
		a.check.id = 0
	}
	for _, f := range a.flights {
		f.removePod(p)
	}
	a.due.Wake()
}

// Run announces the sum, sends checks, repeats what is not answered, and stores what other pods
// send, until stop is closed. When it returns, no flight sends any more.
func (a *Keeper) Run(stop <-chan struct{}) {
	var storing sync.WaitGroup
	storing.Go(func() { a.storeReceived(stop) })
	defer storing.Wait()
	defer a.endFlights()
	tick := time.NewTicker(a.timing.Check)
	defer tick.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			a.announce()
			a.noteInStep()
		case <-a.due:
		case <-timer.C:
		}
		if next := a.step(time.Now()); next.IsZero() {
			timer.Reset(time.Hour)
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

// endFlights prevents new flights, and waits for those that are under way. They end when stop is
// closed.
func (a *Keeper) endFlights() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.sending.Wait()
}
