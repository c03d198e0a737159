package assignments

import (
	"context"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// spreadRounds is the maximum number of times that a change is made.
const spreadRounds = 3

// Spread sends the changes to all pods, and returns the pods that have not confirmed them and must:
// those that serve the host, and see membership.Members.Confirming. While a pod has a later version, it
// makes the changes again above that version. settled is false if a later version remains, or if this pod
// could not store the changes again.
//
// The first time, changes of a host that come at the same moment travel together, and then alone.
func (a *Keeper) Spread(
	ctx context.Context, host presence.HostName, records []assignment.Record, stop <-chan struct{},
) (missing []string, settled bool) {
	began := time.Now()
	f := a.board(host, records, stop)
	for round := 1; ; {
		missing, over := a.await(ctx, f, stop)
		switch {
		case !over:
			return missing, false
		case f.shared() && (f.held != assignment.Held{} || f.refused):
			// Whose records it is about is not known.
		case f.held == assignment.Held{}:
			return missing, true
		default:
			if kept, err := a.book.Again(records, f.held.Later, f.held.Ended); err != nil || !kept || round == spreadRounds {
				return missing, false
			}
			round++
		}
		f = newFlight(began, host, records)
		go a.fly(f, nil, stop)
	}
}

// Publish sends records to all pods, without waiting for them. Checks find those that are lost.
func (a *Keeper) Publish(records []assignment.Record) {
	if a == nil {
		return
	}
	for _, m := range divideAssignments(records) {
		a.link.Send(a.link.Assignments(), m)
	}
}
