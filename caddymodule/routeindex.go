package caddymodule

import (
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// routeIndex has the routes at the beginning of a long list by their hosts.
type routeIndex struct {
	length int // of the beginning
	byHost hostpattern.Map[[]int]
	every  []int // routes for every host
}

// before returns the indices of routes before index that can match a request for the hosts, in order. In a list of very
// many routes only those for the hosts are looked at, and only the nearest of those for every host: the time for all
// handlers of the list would otherwise grow with its square.
func (f *wayFinder) before(list caddyhttp.RouteList, index int, hosts hostpattern.Set) []int {
	if index <= longestList {
		all := make([]int, index)
		for i := range all {
			all[i] = i
		}
		return all
	}
	x := f.routeIndex(list, index)
	nearest := func(indices []int) []int {
		end, _ := slices.BinarySearch(indices, index)
		return indices[max(0, end-longestList):end]
	}
	found := slices.Clone(nearest(x.every))
	for _, pattern := range hosts.Patterns() {
		for _, indices := range x.byHost.Overlapping(pattern) {
			found = append(found, nearest(indices)...)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// routeIndex returns the index of a list up to a length. It grows with each call.
func (f *wayFinder) routeIndex(list caddyhttp.RouteList, length int) *routeIndex {
	x := f.indexes[&list[0]]
	if x == nil {
		x = new(routeIndex)
		if f.indexes == nil {
			f.indexes = make(map[*caddyhttp.Route]*routeIndex)
		}
		f.indexes[&list[0]] = x
	}
	for ; x.length < length; x.length++ {
		hosts := routeHosts(&list[x.length])
		if hosts.IsEvery() {
			x.every = append(x.every, x.length)
		}
		for _, pattern := range hosts.Patterns() {
			indices, _ := x.byHost.Get(pattern)
			x.byHost.Insert(pattern, append(indices, x.length))
		}
	}
	return x
}
