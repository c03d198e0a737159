package routes

import (
	"slices"
	"strings"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// Matchers are sets of matchers, one of which must match. Without a set, every request matches.
type Matchers struct {
	Sets []MatcherSet

	known   bool            // the fields below are computed
	bySet   []setHosts      // hosts of each set
	hosts   hostpattern.Set // hosts that the matchers can let through
	through hostpattern.Set // hosts for which they let every request through
	file    bool            // there is a matcher of files
	paths   bool            // there is a matcher of paths outside of a Not
}

// setHosts are the hosts that a set of matchers can let through.
type setHosts struct {
	hosts hostpattern.Set
	all   bool // every request for them matches
}

// Hosts is a matcher of hosts.
type Hosts struct{ hostpattern.Set }

// read computes the hosts that the matchers are for. Other matchers than Hosts are assumed to
// match.
func (m *Matchers) read() {
	if m.known {
		return
	}
	m.known = true
	if len(m.Sets) == 0 {
		m.hosts, m.through = hostpattern.Every, hostpattern.Every
		return
	}
	var some, all []hostpattern.Set
	for _, set := range m.Sets {
		of := setHosts{hosts: hostpattern.Every, all: true}
		for _, matcher := range set {
			switch matcher := matcher.(type) {
			case Hosts:
				of.hosts = of.hosts.Intersect(matcher.Set)
				continue
			case File:
				m.file = true
			case *Paths:
				m.paths = true
			case *Not:
				m.file = m.file || matcher.hasFile()
			}
			of.all = false
		}
		m.bySet = append(m.bySet, of)
		some = append(some, of.hosts)
		if of.all {
			all = append(all, of.hosts)
		}
	}
	m.hosts, m.through = hostpattern.Union(some...), hostpattern.Union(all...)
}

// mayLetThrough returns the hosts that the matchers can let through.
func (m *Matchers) mayLetThrough() hostpattern.Set {
	m.read()
	return m.hosts
}

// letThrough returns the hosts for which the matchers let every request through.
func (m *Matchers) letThrough() hostpattern.Set {
	m.read()
	return m.through
}

func (m *Matchers) hasFile() bool {
	m.read()
	return m.file
}

func (m *Matchers) hasPaths() bool {
	m.read()
	return m.paths
}

// keepOut reports whether each set of matchers either is for other hosts or has a Not for these.
func (m *Matchers) keepOut(hosts hostpattern.Set) bool {
	m.read()
	for i, set := range m.Sets {
		if m.bySet[i].hosts.Overlaps(hosts) && !slices.ContainsFunc(set, func(matcher any) bool { return excludes(matcher, hosts) }) {
			return false
		}
	}
	return len(m.Sets) > 0
}

// excludes reports whether a matcher is a Not that matches no request for the hosts.
func excludes(matcher any, hosts hostpattern.Set) bool {
	not, ok := matcher.(*Not)
	if !ok {
		return false
	}
	not.read()
	return slices.ContainsFunc(not.bySet, func(of setHosts) bool { return of.all && of.hosts.Contains(hosts) })
}

// letEndpointsThrough reports whether the matchers let every request for the endpoints of the hosts
// through.
func (m *Matchers) letEndpointsThrough(hosts hostpattern.Set, e Endpoints) bool {
	if len(m.Sets) == 0 {
		return true
	}
	return slices.ContainsFunc(m.Sets, func(set MatcherSet) bool {
		for _, matcher := range set {
			switch matcher := matcher.(type) {
			case Hosts:
				if !matcher.Contains(hosts) {
					return false
				}
			case *Paths:
				if _, all := matcher.fit(e); !all {
					return false
				}
			default:
				return false
			}
		}
		return true
	})
}

// unfitPaths returns the patterns of the path matchers if they keep the requests for every endpoint
// out.
func (m *Matchers) unfitPaths(e Endpoints) []string {
	var unfit []string
	for _, set := range m.Sets {
		none := false
		for _, matcher := range set {
			if paths, ok := matcher.(*Paths); ok {
				if some, _ := paths.fit(e); !some {
					none = true
					unfit = append(unfit, paths.Patterns...)
				}
			}
		}
		if !none {
			return nil
		}
	}
	return unfit
}

// fit reports whether requests for some endpoints match, and whether requests for all do. With a
// placeholder, some may.
func (p *Paths) fit(e Endpoints) (some, all bool) {
	if p.fits == e && e.Prefix != "" {
		return p.some, p.all
	}
	p.fits, p.some, p.all = e, false, true
	if slices.ContainsFunc(p.Patterns, hasPlaceholder) {
		p.some, p.all = true, false
		return p.some, p.all
	}
	if !strings.ContainsAny(e.Prefix+e.AppPath, `*?[\%`) && !slices.ContainsFunc(e.patterns(), func(pattern string) bool { // the usual case
		return !slices.Contains(p.Patterns, pattern)
	}) {
		p.some = true
		return p.some, p.all
	}
	for _, of := range e.all() {
		if p.Match(pathURL(of.path)) {
			p.some = true
		} else {
			p.all = false
		}
	}
	if e.hasApps() { // there can be other apps than the first
		p.all = p.all && p.Match(pathURL("/app/*")) && p.Match(pathURL("/apps/*/events"))
	}
	return p.some, p.all
}

// fitAny reports whether the path matchers let a request for one of the endpoints through.
func (m *Matchers) fitAny(all []endpoint) bool {
	return len(m.Sets) == 0 || slices.ContainsFunc(m.Sets, func(set MatcherSet) bool {
		for _, matcher := range set {
			paths, ok := matcher.(*Paths)
			if ok && !slices.ContainsFunc(all, func(e endpoint) bool { return paths.mayMatch(e.path) }) {
				return false
			}
		}
		return true
	})
}

func (p *Paths) mayMatch(path string) bool {
	return slices.ContainsFunc(p.Patterns, hasPlaceholder) || p.Match(pathURL(path))
}
