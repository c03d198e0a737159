package cluster

// Scope is which pods a question goes to.
type Scope uint8

// The scopes of a question.
const (
	ScopePod Scope = iota // this one
	ScopeDC               // those of this data center
	ScopeAll
)
