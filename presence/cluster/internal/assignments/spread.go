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
// those that serve the host, and see membership.Members.Confirming. While a pod has a later
// version, it makes the changes again above that version. settled is false if a later version
// remains, or if this pod could not store the changes again.
//
// The first time, changes of a host that come at the same moment travel together, and then alone.
func (a *Keeper) Spread(
	ctx context.Context, host presence.HostName, records []assignment.Record, stop <-chan struct{},
) (missing []string, settled bool) {
	began := time.Now()
	f := a.enqueue(host, records, stop)
	for round := 1; f != nil; f = a.startAlone(began, host, records, stop) {
		// One deadline holds for all flights, because the answer waits no longer. So reports of a
		// later version are acted on soon: waiting for silent pods would leave no time to the next
		// flight.
		reported := f.reported
		if round == spreadRounds { // there is no next one
			reported = nil
		}
		r := a.await(ctx, f, reported, stop)
		switch {
		case !r.over:
			return r.missing, false
		case r.split:
		case r.held == assignment.Held{}:
			return r.missing, true
		case round == spreadRounds:
			return r.missing, false
		default:
			if kept, err := a.book.Again(records, r.held.Later, r.held.Ended); err != nil || !kept {
				return a.await(ctx, f, nil, stop).missing, false
			}
			round++
		}
	}
	return nil, false
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
