//go:build !race

package cluster

const simSeedsDefault = 3000
