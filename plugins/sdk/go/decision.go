package rollcall

// Decision is the answer of a classify hook: a kind of channel, and flags beside it.
type Decision uint16

// The kinds. [NoOpinion] leaves the decision to the next plugin, and in the end to the site's own rules.
const (
	NoOpinion     Decision = 0
	Authenticated Decision = 1
	Anonymous     Decision = 2
	// Denied means that nobody may join.
	Denied Decision = 3
)

const (
	hidden    Decision = 1 << 8
	countOnly Decision = 1 << 9
)

// Hidden adds that the channel is in no listing.
func (d Decision) Hidden() Decision { return d | hidden }

// CountOnly adds that the channel needs a login, and is listed as a number.
func (d Decision) CountOnly() Decision { return d | countOnly }
