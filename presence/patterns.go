package presence

import "strings"

// Patterns is a [Classifier] by name. In a pattern, '*' matches any number of bytes, including
// none.
//
// The first of these that applies decides:
//   - a name that begins with a text of Own is the own channel of the user whose ID follows
//   - with Signed, a name that begins with "private-" or "presence-" needs a grant, and shows no
//     users if it is a "private-" one, unless there are PrivateUsers
//   - a name that matches Granted needs a grant
//   - a name that matches Authenticated is authenticated
//   - a name that matches Anonymous is anonymous
//   - with DefaultGranted, all other names need a grant
//   - a name that begins with "anonymous" is anonymous
//   - all other names have the Default kind
//
// A name that matches Quiet is also quiet.
type Patterns struct {
	Own            []string // texts, none of which begins with another one
	Granted        []string
	Authenticated  []string
	Anonymous      []string
	Quiet          []string
	Default        Kind // if 0, Authenticated
	DefaultGranted bool // Default is Authenticated
	// Signed says that the backend signs who may enter channels, as in the Pusher protocol.
	Signed bool
	// PrivateUsers lists those of the connections in "private-" channels that have a user. By
	// default, the channel is listed as a number, because a signature does not say whose connection
	// it is for.
	PrivateUsers bool
}

// Classify implements [Classifier]. The error is always nil.
func (p Patterns) Classify(_ HostName, channel string) (Class, error) {
	class := p.classify(channel)
	class.Quiet = MatchAny(p.Quiet, channel)
	return class, nil
}

func (p *Patterns) classify(channel string) Class {
	for _, text := range p.Own {
		if strings.HasPrefix(channel, text) {
			return Class{Kind: Authenticated, Grant: true, OwnerAt: uint16(len(text))}
		}
	}
	switch {
	case p.Signed && strings.HasPrefix(channel, SignedPrivatePrefix):
		return Class{Kind: Authenticated, Grant: true, CountOnly: !p.PrivateUsers}
	case p.Signed && strings.HasPrefix(channel, SignedMembersPrefix):
		return Class{Kind: Authenticated, Grant: true}
	case MatchAny(p.Granted, channel):
		return Class{Kind: Authenticated, Grant: true}
	case MatchAny(p.Authenticated, channel):
		return Class{Kind: Authenticated}
	case MatchAny(p.Anonymous, channel):
		return Class{Kind: Anonymous}
	case p.DefaultGranted:
		return Class{Kind: Authenticated, Grant: true}
	case p.Default == Anonymous || strings.HasPrefix(channel, "anonymous"):
		return Class{Kind: Anonymous}
	}
	return Class{Kind: Authenticated}
}

// MatchAny reports whether a text matches a pattern. In a pattern, '*' matches any number of bytes,
// including none.
func MatchAny(patterns []string, s string) bool {
	for _, pattern := range patterns {
		if matchPattern(pattern, s) {
			return true
		}
	}
	return false
}

// matchPattern backtracks to the last '*' only, so it takes at most len(pattern)*len(s) steps.
func matchPattern(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
