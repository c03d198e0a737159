package routes

import (
	"slices"
	"strings"
)

// match is the answer of a route's matchers for a request.
type match struct {
	certainty
	fails   bool // a file matcher ends the request with an error
	notFile bool // it matches because there is no such file
}

// match asks the matchers and the group of a route. UsesFile says that its handlers use the file
// that a matcher has found.
func (p *probe) match(route *Route, usesFile bool) match {
	m := p.matchers(&route.Matchers, usesFile)
	if route.Group == "" {
		return m
	}
	taken := p.groups[route.Group]
	p.setGroup(route.Group, max(taken, m.certainty))
	m.certainty = min(m.certainty, yes-taken)
	m.fails = m.fails && taken == no
	return m
}

// matchers asks sets of matchers, one of which must match.
func (p *probe) matchers(m *Matchers, usesFile bool) match {
	if len(m.Sets) == 0 {
		return match{certainty: yes}
	}
	var any match
	for _, set := range m.Sets {
		all := match{certainty: yes}
		for _, matcher := range set {
			one := p.matcher(matcher, usesFile)
			all.certainty = min(all.certainty, one.certainty)
			all.fails = all.fails || one.fails
			all.notFile = all.notFile || one.notFile
		}
		all.fails = all.fails && all.certainty == yes
		if all.certainty > any.certainty {
			any = all
		}
	}
	if any.certainty != yes && m.letThrough().Contains(p.hosts) {
		any.certainty = yes
	}
	return any
}

// matcher asks one matcher. The answer is unknown if the matcher looks at more than method, path,
// host and files.
func (p *probe) matcher(matcher any, usesFile bool) match {
	switch m := matcher.(type) {
	case Hosts:
		return match{certainty: p.matchHosts(m)}
	case *Paths:
		return match{certainty: p.matchPaths(m)}
	case PathPattern:
		if !p.lost {
			return match{certainty: certain(m(&p.request.URL))}
		}
	case Methods:
		return match{certainty: certain(slices.Contains(m, p.request.Method))}
	case File:
		return p.matchFile(string(m), usesFile)
	case *Not:
		return p.matchNot(m)
	}
	return match{certainty: maybe}
}

// matchHosts compares the hosts of a matcher with those of the handler.
func (p *probe) matchHosts(hosts Hosts) certainty {
	switch {
	case hosts.Contains(p.hosts):
		return yes
	case hosts.Overlaps(p.hosts):
		return maybe
	}
	return no
}

func (p *probe) matchPaths(m *Paths) certainty {
	switch {
	case slices.Contains(m.Patterns, "*"):
		return yes
	case p.lost:
		return maybe
	case m.Match(&p.request.URL):
		return yes
	case slices.ContainsFunc(m.Patterns, hasPlaceholder):
		return maybe
	}
	return no
}

// matchFile answers for a request whose path is not that of a file. Then the last file of the list
// is found if it has no placeholder, or its status is sent. If the handlers of the route do not use
// the file, as for a switch, it is unknown whether it exists.
func (p *probe) matchFile(last string, usesFile bool) match {
	switch {
	case p.rewritten != "":
		return match{certainty: maybe} // the new path may be that of a file
	case last == "" || hasPlaceholder(last):
		return match{certainty: no}
	case strings.HasPrefix(last, "="):
		return match{certainty: yes, fails: true}
	case !usesFile:
		return match{certainty: maybe}
	}
	p.setFile("/" + strings.TrimPrefix(last, "/"))
	return match{certainty: yes}
}

func (p *probe) matchNot(m *Not) match {
	if len(m.Sets) == 0 {
		return match{certainty: yes}
	}
	inner := p.matchers(&m.Matchers, false)
	not := match{certainty: yes - inner.certainty}
	if inner.fails {
		not.certainty = maybe // rare
	}
	not.notFile = not.certainty == yes && m.hasFile()
	return not
}
