package rollcall

// Decision is the answer of a classify hook: a kind of channel, with flags.
type Decision uint16

// Kinds. [NoOpinion] leaves the decision to the next plugin, and finally to the site's own rules.
const (
	NoOpinion     Decision = 0
	Authenticated Decision = 1
	Anonymous     Decision = 2
	// Denied channels cannot be joined.
	Denied Decision = 3
)

const (
	hidden    Decision = 1 << 8
	countOnly Decision = 1 << 9
	needGrant Decision = 1 << 10
)

// Hidden adds the flag that hides the channel from all listings.
func (d Decision) Hidden() Decision { return d | hidden }

// CountOnly adds the flag that makes the channel need a login and be listed as a number.
func (d Decision) CountOnly() Decision { return d | countOnly }

// NeedGrant adds the flag that makes the channel need a login and a grant, whatever decides its kind.
func (d Decision) NeedGrant() Decision { return d | needGrant }
