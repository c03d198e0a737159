package message

import "fmt"

// Joined is several messages that a pod sends another at once: each is a Query or a Reply.
type Joined struct{ Messages []Message } // 2 or more

// leastJoined is the least that a message of a Joined takes in a payload, in bytes, its type included.
const leastJoined = 12

func (*Joined) kind() byte { return 35 }

// AppendBody adds what [Codec.AppendJoined] takes of a message, and returns b as it was and an error like that of
// [Codec.Append] for a message that no pod would take, or that is neither a Query nor a Reply.
func (c *Codec) AppendBody(b []byte, m Message) ([]byte, error) {
	e := encoder{b: b}
	e.joinedMessage(m)
	if e.wrong != "" {
		return b, fmt.Errorf("%w: %s", ErrMalformed, e.wrong)
	}
	return e.b, nil
}

// AppendJoined is [Codec.Append] of a Joined with n messages, of which bodies has what [Codec.AppendBody] has added. One
// message alone has the payload that Append makes of it.
func (c *Codec) AppendJoined(b []byte, subject string, from Sender, bodies []byte, n int) ([]byte, error) {
	return c.append(b, subject, from, func(e *encoder) bool {
		if n > 1 {
			e.byte((*Joined)(nil).kind())
			e.length(n)
		}
		e.b = append(e.b, bodies...)
		return n > 0
	})
}

func (e *encoder) joined(m *Joined) {
	if len(m.Messages) < 2 {
		e.fail(tooFew)
	}
	e.length(len(m.Messages))
	for _, one := range m.Messages {
		e.joinedMessage(one)
	}
}

// Why a Joined is refused.
const (
	tooFew   = "fewer than two messages"
	unjoined = "a message that is not joined with others"
)

func (e *encoder) joinedMessage(m Message) {
	switch m.(type) {
	case *Query, *Reply:
		e.message(m)
	default:
		e.fail(unjoined)
	}
}

func (d *decoder) joined() Message {
	list := list(d, leastJoined, func() Message {
		// Looking first refuses a Joined in a Joined, without a stack as deep as the payload is long.
		if d.left() == 0 {
			d.fail("end of payload")
			return nil
		}
		switch d.payload[d.pos] {
		case (*Query)(nil).kind(), kindCall, (*Reply)(nil).kind(), kindEventReply:
			return d.message()
		default:
			d.fail(unjoined)
			return nil
		}
	})
	if len(list) < 2 {
		d.fail(tooFew)
	}
	return &Joined{list}
}
