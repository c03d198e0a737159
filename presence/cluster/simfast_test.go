//go:build !race

package cluster

const simSeedsDefault = 1500
