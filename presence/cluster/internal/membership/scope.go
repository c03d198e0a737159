package membership

// Scope is which pods a query goes to.
type Scope uint8

// Scopes of a query.
const (
	ScopePod Scope = iota // this pod
	ScopeDC               // pods of this data center
	ScopeAll
)
