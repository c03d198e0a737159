//go:build race

package cluster

// simSeedsDefault is for the race detector, which is about ten times slower.
const simSeedsDefault = 250
