package presence

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// Rules is what a site's configuration says about presence. A Rules is never changed, only replaced.
type Rules struct {
	Classifier  Classifier // default Patterns{}
	Authorizer  Authorizer // default nil: whoever the class lets in
	MaxConns    int        // connections on the host; default 0, no bound
	MaxChannels int        // channels a connection, its private one left out; default 0, no bound
	// MaxHostChannels is the most channels of the host that are active at once on this pod, private ones left out. Those
	// that are active when it is lowered stay. Default 0, no bound.
	MaxHostChannels int
	MaxName         int // bytes of a channel name; default 0, no bound
	// Grace is how long watchers go on seeing a user whose last connection was lost, or an anonymous connection; who is back
	// by then has never been away. Listings are without it. Default 0, none.
	Grace time.Duration
}

// SetRules replaces the host's rules and classifies its active channels anew. Listeners who may not listen any longer
// are taken out and told so; what watchers see follows. A channel whose classification fails keeps its class.
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

// Retire tells that the host is not served any longer: its connections are about to be closed, and will not be back.
// SetRules ends that.
func (h *Host) Retire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retired = true
}

// classify asks the classifier. A class of no kind that can be joined is an error: it must not open the channel.
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
	switch {
	case IsPrivate(name):
		return ErrReservedChannel
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrBadChannel)
	case r.MaxName > 0 && len(name) > r.MaxName:
		return fmt.Errorf("%w: it has more than %d bytes", ErrBadChannel, r.MaxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: it is not UTF-8", ErrBadChannel)
	}
	for _, c := range name {
		if c == utf8.RuneError {
			return errReplaced
		}
		if c < 0x20 || (c >= 0x7f && c < 0xa0) {
			return fmt.Errorf("%w: it has a control character", ErrBadChannel)
		}
	}
	return nil
}

// Assignable tells whether users can be assigned to the named channel of the host.
//
// It returns ErrBadChannel, ErrReservedChannel, ErrDenied, ErrNotAuthenticated or ErrUnavailable.
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

// CheckTarget tells whether a backend can send to the name: that of a channel or of a private one.
//
// It returns ErrBadChannel.
func (r *Rules) CheckTarget(name string) error {
	if !IsPrivate(name) {
		return r.checkName(name)
	}
	if _, ok := parsePrivate(name); !ok {
		return fmt.Errorf("%w: no connection has this private channel", ErrBadChannel)
	}
	return nil
}
