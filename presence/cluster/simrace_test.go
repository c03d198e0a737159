//go:build race

package cluster

// simSeedsDefault is for the race detector, with which everything takes about ten times as long.
const simSeedsDefault = 250
