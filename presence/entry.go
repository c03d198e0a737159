package presence

// Encoding chooses the encoder of the frames for a connection: 0 is the first one of [NewRegistry].
type Encoding uint8

// EncodedOutbox is an [Outbox] that chooses its encoding. Any other one has the encoding 0.
type EncodedOutbox interface {
	Outbox
	// Encoding never changes. It may be called with the host's lock held.
	Encoding() Encoding
}

// Entry is how a connection joins a channel.
type Entry struct {
	Watch Watch
	Ref   string // the answer repeats it
	// Proof says that the backend has signed for this connection and channel: it has all permissions,
	// with a user or without. It opens neither a channel that is denied nor the own channel of a user.
	Proof bool
	// Member is who the connection is in this channel; if nil, its user.
	Member *Identity
}

// Identity is the user of one membership.
type Identity struct {
	ID, Email string
	Info      string // JSON value; "" for none
}

// Enter is [Conn.Join] with more to choose.
func (c *Conn) Enter(name string, e Entry) error { return c.Join(name, e.Watch, e.Ref) }

// Identify is [Conn.Authenticate] for a user that is known from a membership: the connection is not
// signed in.
func (c *Conn) Identify(u User, grants *Grants) error { return c.Authenticate(u, grants) }

// AsRaw returns a Sending of a message {"event":E,"data":V} of which V are the published bytes.
func (s Sending) AsRaw() Sending { return s }
