package routes

import (
	"slices"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// List is a list of routes. A request goes through those that match it, in order. The list caches
// the results of looking at its routes, because each of very many handlers asks about the routes
// before it.
type List struct {
	OnError bool // it handles errors

	load   func(index int) *Route
	routes []*Route // nil until asked for

	rewrites []int               // number of routes before each index that can change the path
	ends     map[string]*listEnd // ends by group; "" for the terminal routes
	ended    int                 // number of routes in ends
	byHost   hostpattern.Map[[]int]
	forEvery []int // indices of routes for every host
	indexed  int   // number of routes in byHost and forEvery
}

// NewList returns a list of a number of routes. Each is loaded when it is first asked for.
func NewList(length int, onError bool, load func(index int) *Route) *List {
	return &List{OnError: onError, load: load, routes: make([]*Route, length)}
}

// Len returns the number of routes.
func (l *List) Len() int { return len(l.routes) }

// At returns the route at an index.
func (l *List) At(index int) *Route {
	if l.routes[index] == nil {
		l.routes[index] = l.load(index)
	}
	return l.routes[index]
}

// rewritesBetween reports whether a route from one index up to another can change the path.
func (l *List) rewritesBetween(from, to int) bool {
	if l.rewrites == nil {
		l.rewrites = []int{0}
	}
	for i := len(l.rewrites) - 1; i < to; i++ {
		n := l.rewrites[i]
		if l.At(i).mayRewrite() {
			n++
		}
		l.rewrites = append(l.rewrites, n)
	}
	return l.rewrites[to] > l.rewrites[from]
}

// longestList is the maximum length of a list whose routes are all looked at.
const longestList = 64

// before returns the indices of the routes before an index that can match a request for the hosts,
// in order. In a long list these are the routes for the hosts and the nearest routes for every
// host. Otherwise the time for all handlers of the list would grow with the square of its length.
func (l *List) before(index int, hosts hostpattern.Set) []int {
	if index <= longestList {
		all := make([]int, index)
		for i := range all {
			all[i] = i
		}
		return all
	}
	l.indexUpTo(index)
	nearest := func(indices []int) []int {
		end, _ := slices.BinarySearch(indices, index)
		return indices[max(0, end-longestList):end]
	}
	found := slices.Clone(nearest(l.forEvery))
	for _, pattern := range hosts.Patterns() {
		for _, indices := range l.byHost.Overlapping(pattern) {
			found = append(found, nearest(indices)...)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// indexUpTo indexes the routes before an index by their hosts.
func (l *List) indexUpTo(index int) {
	for ; l.indexed < index; l.indexed++ {
		hosts := l.At(l.indexed).Matchers.mayLetThrough()
		if hosts.IsEvery() {
			l.forEvery = append(l.forEvery, l.indexed)
		}
		for _, pattern := range hosts.Patterns() {
			indices, _ := l.byHost.Get(pattern)
			l.byHost.Insert(pattern, append(indices, l.indexed))
		}
	}
}

// listEnd has the first routes that take all requests for a host, among the routes of a group or
// the terminal routes.
type listEnd struct {
	first int // index of the first route of the group
	hosts hostpattern.Map[int]
	every int // index of the first route for every host; -1 for none
}

// endsBefore reports whether a route before an index ends all requests for the hosts of a pattern,
// or takes them in the group of the route at the index.
func (l *List) endsBefore(index int, pattern string) bool {
	l.collectEnds(index)
	group := l.At(index).Group
	return l.ends[""].before(index, pattern) || group != "" && l.ends[group].before(index, pattern)
}

// groupBefore reports whether a route before an index has the same group as the route at the index.
func (l *List) groupBefore(index int) bool {
	l.collectEnds(index)
	group := l.At(index).Group
	return group != "" && l.ends[group] != nil && l.ends[group].first < index
}

// collectEnds adds the routes before an index to ends.
func (l *List) collectEnds(index int) {
	for ; l.ended < index; l.ended++ {
		route := l.At(l.ended)
		if route.Terminal {
			l.addEnd("", l.ended, route)
		}
		if route.Group != "" {
			l.addEnd(route.Group, l.ended, route)
		}
	}
}

func (l *List) addEnd(group string, index int, route *Route) {
	if l.ends == nil {
		l.ends = make(map[string]*listEnd)
	}
	e := l.ends[group]
	if e == nil {
		e = &listEnd{first: index, every: -1}
		l.ends[group] = e
	}
	hosts := route.Matchers.letThrough()
	if hosts.IsEvery() && e.every < 0 {
		e.every = index
	}
	for _, pattern := range hosts.Patterns() {
		if _, ok := e.hosts.Get(pattern); !ok {
			e.hosts.Insert(pattern, index)
		}
	}
}

func (e *listEnd) before(index int, pattern string) bool {
	if e == nil {
		return false
	}
	if e.every >= 0 && e.every < index {
		return true
	}
	for other, first := range e.hosts.Overlapping(pattern) {
		if first < index && hostpattern.Intersect(pattern, other) == pattern {
			return true
		}
	}
	return false
}
