// Package memory has what a pod knows of other pods from one run to the next: the [State], and the
// [Store] that keeps it in a file.
package memory

import "github.com/rollcall-gateway/rollcall/presence/cluster/message"

// State is what a run of a pod leaves to the next one.
type State struct {
	Started int64         // start of the run, in Unix milliseconds; zero if there was none
	Clock   uint64        // reading of the cluster's clock that no run has passed, in milliseconds
	Runs    []message.Run // runs of other pods that it heard, missed, or knew to have ended

	// Sites has the sites of runs, by their sum. The sites of a run are unknown if they are missing
	// here.
	Sites map[uint64][]message.Site

	Damaged int // records that were left out of a loaded state
}
