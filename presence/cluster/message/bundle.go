package message

import "fmt"

// Bundle is several messages for one pod that travel in one payload. Each is a Query or a Reply.
type Bundle struct{ Messages []Message } // at least two

// leastBundled is the smallest size of a message in a Bundle, with its type, in bytes.
const leastBundled = 12

func (*Bundle) kind() byte { return 35 }

// AppendBundled appends m to b as one message of a bundle, for [Codec.AppendBundle]. It returns b
// as it was and an error like that of [Codec.Append] if no pod would accept m, or if m is neither a
// Query nor a Reply.
func (c *Codec) AppendBundled(b []byte, m Message) ([]byte, error) {
	e := encoder{b: b}
	e.bundled(m)
	if e.wrong != "" {
		return b, fmt.Errorf("%w: %s", ErrMalformed, e.wrong)
	}
	return e.b, nil
}

// AppendBundle is [Codec.Append] of a Bundle of n messages, which [Codec.AppendBundled] has
// appended to bodies. If n is 1, it appends the message alone.
func (c *Codec) AppendBundle(b []byte, subject string, from Sender, bodies []byte, n int) ([]byte, error) {
	return c.append(b, subject, from, func(e *encoder) bool {
		if n > 1 {
			e.byte((*Bundle)(nil).kind())
			e.length(n)
		}
		e.b = append(e.b, bodies...)
		return n > 0
	})
}

// Reasons to refuse a Bundle.
const (
	tooFewBundled = "fewer than two messages in a bundle"
	notBundled    = "a message in a bundle that is neither a query nor a reply"
)

func (e *encoder) bundle(m *Bundle) {
	if len(m.Messages) < 2 {
		e.fail(tooFewBundled)
	}
	e.length(len(m.Messages))
	for _, one := range m.Messages {
		e.bundled(one)
	}
}

func (e *encoder) bundled(m Message) {
	switch m.(type) {
	case *Query, *Reply:
		e.message(m)
	default:
		e.fail(notBundled)
	}
}

func (d *decoder) bundle() Message {
	messages := list(d, leastBundled, func() Message {
		// The type is checked before the message is decoded: bundles in bundles would need a stack
		// as deep as the payload is long.
		if d.left() == 0 {
			d.fail("end of payload")
			return nil
		}
		switch d.payload[d.pos] {
		case (*Query)(nil).kind(), kindCall, (*Reply)(nil).kind(), kindEventReply, kindOperatorReply:
			return d.message()
		default:
			d.fail(notBundled)
			return nil
		}
	})
	if len(messages) < 2 {
		d.fail(tooFewBundled)
	}
	return &Bundle{messages}
}
