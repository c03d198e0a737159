package presence

import (
	"fmt"
	"math"
	"time"
)

// Rules is what a site's configuration says about presence. The zero value has no limits and the
// built-in [Patterns].
//
// A Rules must not be changed after its first use, because hosts read it without a lock. Hosts
// compare Rules by pointer and never by value: two pointers are two sets of rules, even if all
// fields are equal. A caller whose Classifier or Authorizer begins to decide differently therefore
// passes a new Rules to [Host.SetRules]. A join that is being decided by the old one is then
// decided again.
type Rules struct {
	Classifier  Classifier // nil: Patterns{}
	Authorizer  Authorizer // nil: every connection that the class admits may join
	MaxConns    int        // connections of the host on this pod; 0: no limit
	MaxChannels int        // channels of a connection, without its private one; 0: no limit
	// MaxHostChannels limits the channels of the host that are active at once on this pod, without
	// private ones. Channels that are active when it is lowered stay active. 0: no limit.
	MaxHostChannels int
	MaxName         int // bytes of a channel name; 0: no limit. Pods need at most [MaxChannelName]
	// Grace is how long watchers still see a user, or an anonymous connection, after the connection
	// was lost. A user who is back within that time was never away. It does not apply to listings.
	// 0: none.
	Grace time.Duration
}

// SetRules replaces the rules of the host and classifies its active channels again. Listeners that
// a new class no longer admits are taken out and receive a frame with [ReasonDenied]; watchers see
// the changes. A channel whose classification fails keeps its class. The host is no longer retired.
func (h *Host) SetRules(rules *Rules) {
	h.mu.Lock()
	h.rules, h.retired = rules, false
	names := make([]string, 0, len(h.channels))
	for name := range h.channels {
		names = append(names, name)
	}
	h.mu.Unlock()

	// Channels that become active from here on are classified by the new rules in Join.
	for _, name := range names {
		class, err := rules.classify(h.name, name)
		if err != nil {
			continue
		}
		h.mu.Lock()
		ch := h.channels[name]
		if h.rules == rules && ch != nil && ch.class != class {
			h.reclassify(ch, class)
		}
		h.mu.Unlock()
	}
}

// Retire marks the host as no longer served: connections that close from now on have left and are
// not lost, so there is no grace period. [Host.SetRules] ends that.
func (h *Host) Retire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retired = true
}

// classify asks the classifier. It returns an error for a class whose kind cannot be joined, so
// that such a class never opens a channel.
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
	if IsPrivate(name) {
		return ErrReservedChannel
	}
	most := r.MaxName
	if most <= 0 {
		most = math.MaxInt
	}
	return checkChannel(name, most)
}

// Assignable returns nil if users can be assigned to the named channel of the host.
//
// Otherwise it returns ErrBadChannel, ErrReservedChannel, ErrDenied, ErrNotAuthenticated or
// ErrUnavailable.
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
		return ErrNotAuthenticated
	}
	return nil
}

// CheckTarget returns nil if a backend can send to a channel of that name, private ones included,
// and ErrBadChannel otherwise.
func (r *Rules) CheckTarget(name string) error {
	if !IsPrivate(name) {
		return r.checkName(name)
	}
	if _, ok := parsePrivate(name); !ok {
		return fmt.Errorf("%w: no connection has this private channel", ErrBadChannel)
	}
	return nil
}
