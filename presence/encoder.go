package presence

// Outbox queues the frames for one connection and writes them to its socket. An Outbox that cannot
// keep up must drop the connection and not block.
type Outbox interface {
	// Push queues a frame and starts to write it. The frame is shared with other connections and
	// must not be changed. The host's lock is held, so Push must not block or call this package.
	Push(frame []byte)
	// Queue queues n whole frames, which are joined in one slice, and otherwise does what Push
	// does, but leaves the writing to Flush. It reports whether the caller must call Flush; if not,
	// another call that has queued before will.
	Queue(frames []byte, n int) (flush bool)
	// Flush writes the queued frames, as far as that does not block. No lock is held.
	Flush()
}

// Encoder builds frames for connections and entries of listings. Its methods are called with the
// lock of a host held, so they must not block or call this package. They must not retain messages
// or pointers to users.
type Encoder interface {
	// Members encodes the members of a channel for [Joined].
	Members(users []User) []byte
	// Joined builds the answer to a join.
	Joined(j Joined) []byte
	// Left builds the answer to a leave, with ref, or says with a reason that the connection was
	// taken out of a channel.
	Left(ref, channel string, reason Reason) []byte
	// Presence builds the frame that shows watchers a diff.
	Presence(d Diff) []byte
	// Message builds the frame for a message to a channel. The message is JSON.
	Message(channel string, from Source, message []byte) []byte
	// AppendUser appends an entry of [EncodedChannel].Users to b. first reports whether it is the
	// first of its chunk, which needs no separator.
	AppendUser(b []byte, u *User, first bool) []byte
	// AppendPrivate appends an entry of [Encoded].Private to b: the private channel of a
	// connection. u is nil if the connection is anonymous.
	AppendPrivate(b []byte, id ID, u *User, first bool) []byte
}

// Joined is the answer to a join.
type Joined struct {
	Ref     string // argument of [Conn.Join]; "" for [Conn.Assign]
	Channel string
	Kind    Kind
	Watch   Watch
	Seq     uint64 // sequence number of the snapshot; the next diff has the next one
	Count   int    // members, or connections if the channel is anonymous; 0 with WatchNone
	Members []byte // result of [Encoder].Members; nil if members are not listed
}

// Diff is what changed in a channel since the frame with the sequence number before.
type Diff struct {
	Channel string
	Seq     uint64
	Kind    Kind   // the new kind if rules have changed it, else 0
	Joined  []User // users who came, with their first connection
	Left    []User // users who went, with their last connection
	Updated []User // users who were there and have another e-mail address now
	Count   int    // as in [Joined]
}

// Reason says why a connection was taken out of a channel, in the word that clients receive. It is
// "" if the connection has left on its own.
type Reason string

// Reasons of [Encoder].Left.
const (
	ReasonDenied  Reason = "denied"  // by new rules, the channel's class no longer admits the connection
	ReasonRemoved Reason = "removed" // the user is no longer assigned to the channel, see [Conn.Unassign]
)
