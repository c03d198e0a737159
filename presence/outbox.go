package presence

// Outbox is where the frames for one connection go.
type Outbox interface {
	// Push takes a frame that may be shared with other connections and must not be changed. It never blocks:
	// a connection that is too slow is the Outbox's business. It is called with the host's lock held, so it must not
	// call back into this package.
	Push(frame []byte)
	// Queue takes whole frames, n of them in one piece, like Push, but leaves it to Flush to have them written. It
	// tells whether the caller owes that: if not, somebody else does already.
	Queue(frames []byte, n int) (flush bool)
	// Flush has what is queued written, as far as that goes without waiting. It is called without any lock.
	Flush()
}

// Reason is why a connection was taken out of a channel, in the word that clients get. It is "" when the connection left.
type Reason string

// The reasons of [Encoder].Left.
const (
	ReasonDenied  Reason = "denied"  // with new rules, the class of the channel no longer admits the connection
	ReasonRemoved Reason = "removed" // the user is no longer assigned to the channel, see [Conn.Unassign]
)

// Encoder turns what connections are told into frames, of which each is built once and pushed to many, and what is listed
// into text. It is called with the lock of a host held.
type Encoder interface {
	// Members encodes the members of a snapshot, to be put into Joined frames.
	Members(users []User) []byte
	// Joined answers a join.
	Joined(j Joined) []byte
	// Left answers a leave, with ref, or says that the connection was taken out of a channel, with the reason.
	Left(ref, channel string, reason Reason) []byte
	// Presence tells what changed in a channel.
	Presence(d Diff) []byte
	// Message is a message to a channel. The message is JSON, and not kept.
	Message(channel string, from Source, message []byte) []byte
	// AppendUser appends a user to a list for [Encoded]. The first one of a piece is not separated from what is before.
	AppendUser(b []byte, u *User, first bool) []byte
	// AppendPrivate appends the private channel of a connection likewise. The user is nil for an anonymous one.
	AppendPrivate(b []byte, id ID, u *User, first bool) []byte
}
