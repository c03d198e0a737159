package presence

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Rules is what a site's configuration says about presence. The zero value has no limits and the
// built-in [Patterns].
//
// A Rules must not be changed after its first use, because hosts read it without a lock. Hosts
// compare Rules by pointer, never by value. If a Classifier or Authorizer begins to decide
// differently, the [RulesSource] returns a new Rules: joins in progress are then decided again.
type Rules struct {
	Classifier Classifier // if nil, Patterns{}
	Authorizer Authorizer // if nil, every connection that the class admits may join
	Hide       Fields     // fields of users that no frame has; 0: none
	Shower     Shower     // if nil, frames show users as they are
	// Grants grants permissions to users in addition to the [Grants] of their logins: assignments.
	// If nil, it grants none.
	Grants Granter
	// Kept has the answers of authorize that are known. It is asked if nothing else gives
	// [MayJoin]. If it gives none either, a join fails with [ErrGrantNeeded]. If nil, there is no
	// authorize.
	Kept        Granter
	GrantsClaim string // see [Grants].Claim
	// GrantPlugins has the names of the plugins whose [PluginGrants] count.
	GrantPlugins []string
	MaxConns     int // connections of the host on this pod; 0: no limit
	MaxChannels  int // channels of a connection, without its private one; 0: no limit
	// MaxHostChannels limits the active channels of the host on this pod, without private ones. If
	// it is lowered, active channels stay active. 0: no limit.
	MaxHostChannels int
	// MaxNames is the number of members up to which frames name them, see [Joined.Unnamed]. Above
	// it, watchers see only their number. 0: no limit.
	MaxNames int
	MaxName  int // bytes of a channel name; 0: no limit. Other pods accept at most [MaxChannelName]
	// Signed reserves the names that begin with [SignedPrefix], see [Patterns].Signed.
	Signed bool
	// SubscriptionCount sends the number of listeners of each channel, except for those that list
	// users, to its listeners with another encoding than the native one, see [CountEncoder].
	SubscriptionCount bool
	// Watchlist lets connections watch users, see [Conn.WatchUsers].
	Watchlist bool
	// Grace is how long watchers still see a user, or an anonymous connection, after the connection
	// was lost. A user who comes back in time was never away. Listings have no grace period. 0:
	// none.
	Grace time.Duration
}

// RulesSource returns the present rules of a host. The host calls it with its lock held, so it must
// not block or call this package. If the rules have changed, call [Host.Reclassify]. A *Rules is
// the source of rules that never change.
type RulesSource interface{ Rules() *Rules }

// Rules returns r. It implements [RulesSource].
func (r *Rules) Rules() *Rules { return r }

// Classifier decides the class of channels.
type Classifier interface {
	// Classify returns the class of the named channel of a host. The result must depend on the two
	// names alone. Classify is called from many goroutines, and never for private channels.
	//
	// If Classify returns an error, the join fails with [ErrUnavailable]. A channel that is already
	// active keeps its class, but needs a grant or is quiet if the class beside the error says so.
	Classify(host HostName, channel string) (Class, error)
}

// Authorizer decides whether a user may join a channel whose class admits the connection.
type Authorizer interface {
	// Authorize returns nil if the user may join the named channel of a host. user is nil for an
	// anonymous connection. Authorize is called from many goroutines, and not for a channel that
	// the connection already listens to.
	//
	// [ErrDenied] refuses the join. Any other error refuses it as [ErrUnavailable]. A connection
	// that has joined stays joined, even if it later logs in as another user.
	Authorize(host HostName, channel string, user *User) error
}

// Class is the decision of a [Classifier] about a channel.
type Class struct {
	Kind      Kind // Authenticated or Anonymous
	Denied    bool // no connection may join
	Hidden    bool // the channel is in no listing
	CountOnly bool // an authenticated channel is listed, and shown to watchers, only as a number
	Grant     bool // an authenticated channel needs a grant: a user has the permissions that were granted
	Quiet     bool // a connection that may join may send only with a grant
	// Provisional classes were decided without a plugin that failed. They are decided again later.
	Provisional bool
	// OwnerAt is where the owner's ID begins in the name of a channel that only this user may join,
	// with all permissions. Grant is set, too. 0: the channel is no own channel.
	OwnerAt uint16
}

// withGrant returns the class of a channel while its classifier fails. It is never wider than least
// in what needs a grant.
func (c Class) withGrant(least Class) Class {
	c.Provisional, c.Quiet = true, c.Quiet || least.Quiet
	if least.Grant {
		c.Kind, c.Grant, c.OwnerAt = Authenticated, true, least.OwnerAt
	}
	return c
}

// IsOwn reports whether only the owner of the channel may join.
func (c Class) IsOwn() bool { return c.OwnerAt > 0 }

// Kind is the kind of a channel. The zero value is not a kind.
type Kind uint8

// Kinds of channels.
const (
	Authenticated Kind = iota + 1 // admits only connections with a user; listed by user
	Anonymous                     // admits every connection; listed as a number
	Private                       // belongs to one connection, which listens from connect to close
)

// String returns the kind as frames and configurations spell it.
func (k Kind) String() string {
	switch k {
	case Authenticated:
		return "authenticated"
	case Anonymous:
		return "anonymous"
	case Private:
		return "private"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// ParseKind returns the kind that a configuration names: "authenticated" or "anonymous".
func ParseKind(s string) (Kind, error) {
	switch s {
	case "authenticated":
		return Authenticated, nil
	case "anonymous":
		return Anonymous, nil
	}
	return 0, fmt.Errorf("unknown kind %q: use authenticated or anonymous", s)
}

// PrivatePrefix starts the name of every private channel. Other channels cannot have it.
const PrivatePrefix = "tab|"

// SignedPrefix starts the names of channels that no connection enters, if [Rules].Signed is set:
// the protocol in which the backend signs has another meaning for them.
const SignedPrefix = "#"

// Prefixes of the channels that need a signature of the backend, if [Patterns].Signed is set.
const (
	SignedPrivatePrefix = "private-"
	SignedMembersPrefix = "presence-" // those who enter count as members
)

// isPrivate reports whether the name begins with [PrivatePrefix].
func isPrivate(channel string) bool { return strings.HasPrefix(channel, PrivatePrefix) }

// classify returns the class of a channel. It returns an error for a class whose kind cannot be
// joined, so that the channel does not become active.
func (r *Rules) classify(host HostName, channel string) (Class, error) {
	if r.Classifier == nil {
		return Patterns{}.Classify(host, channel)
	}
	class, err := r.Classifier.Classify(host, channel)
	if err == nil && !class.Denied && class.Kind != Authenticated && class.Kind != Anonymous {
		err = fmt.Errorf("classified as %v", class.Kind)
	}
	return class, err
}

func (r *Rules) checkName(name string) error {
	if isPrivate(name) {
		return ErrReservedChannel
	}
	if r.Signed && strings.HasPrefix(name, SignedPrefix) {
		return errReservedSign
	}
	limit := r.MaxName
	if limit <= 0 {
		limit = math.MaxInt
	}
	return checkChannel(name, limit)
}

// Assignable returns nil if users can be assigned to the named channel of the host. Otherwise it
// returns ErrBadChannel, ErrReservedChannel, ErrDenied, ErrUnavailable, or another error if the
// channel is not authenticated.
func (r *Rules) Assignable(host HostName, name string) error {
	if err := r.checkName(name); err != nil {
		return err
	}
	class, err := r.classify(host, name)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case class.Denied:
		return ErrDenied
	case class.Kind != Authenticated:
		return errNotAuthenticated
	case class.IsOwn():
		return errOwn
	}
	return nil
}

// CheckTarget returns nil if a backend can send to a channel of that name, private channels
// included. Otherwise it returns ErrBadChannel.
func (r *Rules) CheckTarget(name string) error {
	if !isPrivate(name) {
		return r.checkName(name)
	}
	if _, ok := parsePrivate(name); !ok {
		return fmt.Errorf("%w: no connection has this private channel", ErrBadChannel)
	}
	return nil
}
