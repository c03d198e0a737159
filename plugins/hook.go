package plugins

// Hook is a function that a plugin may export for Rollcall to call.
type Hook uint8

// The hooks, in the order in which a request reaches them.
const (
	// HookClassify decides the kind of a channel.
	HookClassify Hook = iota
	// HookAuthorize decides whether a connection may join a channel.
	HookAuthorize
	// HookMembers changes users of a listing or leaves them out.
	HookMembers
	// HookShape changes a whole answer.
	HookShape
	// HookConnect decides about a connection that opens, or logs in.
	HookConnect
	// HookMessage decides about a message that is about to be sent.
	HookMessage
	// HookMembersLive is HookMembers for [EndpointLive] and [EndpointEvents]. Only a plugin that
	// exports its marker has it.
	HookMembersLive

	hookCount = iota

	// HookNone is the hook of a failure outside a call.
	HookNone Hook = hookCount
)

var hookNames = [hookCount]string{"classify", "authorize", "members", "shape", "connect", "message", "members_live"}

// String returns the name of the hook as in metrics: "classify", "authorize", "members", "shape",
// "connect", "message" or "members_live"; "none" for HookNone.
func (h Hook) String() string {
	if int(h) < len(hookNames) {
		return hookNames[h]
	}
	return "none"
}

// Hooks is a set of hooks.
type Hooks uint8

// Has reports whether h is in the set.
func (s Hooks) Has(h Hook) bool { return s&(1<<h) != 0 }

// Names returns the names of the hooks in the set.
func (s Hooks) Names() []string {
	names := make([]string, 0, hookCount)
	for h := range Hook(hookCount) {
		if s.Has(h) {
			names = append(names, h.String())
		}
	}
	return names
}

// Kind is a plugin's or a site's opinion on a channel.
type Kind uint8

// The kinds, with their values in the contract.
const (
	// NoOpinion leaves the decision to the next plugin and then to the site.
	NoOpinion Kind = iota
	// Authenticated channels need a login.
	Authenticated
	// Anonymous channels are open to connections without a user.
	Anonymous
	// Denied channels cannot be joined.
	Denied
	// Granted channels need a login and a grant. It is a kind of the site alone, never of a plugin.
	Granted
)

// String returns "no opinion", "authenticated", "anonymous" or "denied".
func (k Kind) String() string {
	switch k {
	case NoOpinion:
		return "no opinion"
	case Authenticated:
		return "authenticated"
	case Anonymous:
		return "anonymous"
	case Denied:
		return "denied"
	case Granted:
		return "granted"
	default:
		return "unknown"
	}
}

// Decision is what the plugins of a chain decide about a channel.
type Decision struct {
	// Kind is the opinion of the first plugin that has one.
	Kind Kind
	// Hidden channels are in no listing. One plugin that says so is enough.
	Hidden bool
	// CountOnly channels need a login and are listed with a number only. One plugin that says so is
	// enough.
	CountOnly bool
	// Grant says that the channel needs a login and a grant, whatever its kind. One plugin that
	// says so is enough.
	Grant bool
	// Failed says that a plugin failed whose policy is Pass: with it, the decision may be another.
	Failed bool
}

// User is one entry of a listing, or the user that wants to join.
type User struct {
	ID, Email string
	// Info and Status are JSON values; "" for none. Only members receives them.
	Info, Status string
}

// Endpoint is what a listing is for.
type Endpoint int32

// The endpoints, with their values in the contract.
const (
	// EndpointUsers is POST /message/users.
	EndpointUsers Endpoint = 1
	// EndpointAllUsers is POST /message/allusers.
	EndpointAllUsers Endpoint = 2
	// EndpointChannels is POST /message/channels.
	EndpointChannels Endpoint = 3
	// EndpointLive is what browsers see of each other.
	EndpointLive Endpoint = 4
	// EndpointEvents is what events show of a user.
	EndpointEvents Endpoint = 5
)
