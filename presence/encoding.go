package presence

// encoders is the number of the registry's encoders.
func (h *Host) encoders() int { return len(h.registry.frames) }

// frames returns the encoder of c.
func (c *Conn) frames() FrameEncoder { return c.host.registry.frames[c.encoding] }

// push pushes a frame that c's encoder has built.
func (c *Conn) push(frame []byte) {
	if frame != nil {
		c.out.Push(frame)
	}
}

// pushLeft notifies c that it no longer listens to a channel.
func (c *Conn) pushLeft(ref, channel string, reason Reason) {
	c.push(c.frames().Left(ref, channel, reason))
}

// countListener adds n listeners with an encoding.
func (ch *channel) countListener(e Encoding, n int32) {
	if e != 0 {
		ch.foreign[e-1] += n
	}
}

// hears reports whether a listener has the encoding.
func (ch *channel) hears(e Encoding) bool {
	if e != 0 {
		return ch.foreign[e-1] > 0
	}
	return len(ch.listeners) > ch.foreigners()
}

// foreigners returns the number of listeners with another encoding than the native one.
func (ch *channel) foreigners() int {
	n := int32(0)
	for _, of := range ch.foreign {
		n += of
	}
	return int(n)
}

// onlyHears reports whether all listeners have the encoding.
func (ch *channel) onlyHears(e Encoding) bool {
	if e != 0 {
		return int(ch.foreign[e-1]) == len(ch.listeners)
	}
	return ch.foreign == [maxEncodings - 1]int32{}
}

// frameSet has one frame in several encodings, each of which is built when it is first needed.
type frameSet struct {
	built  [maxEncodings]bool
	frames [maxEncodings][]byte
}

// get returns the frame in an encoding; nil if connections of that encoding receive nothing.
func (s *frameSet) get(e Encoding, build func(e Encoding) []byte) []byte {
	if !s.built[e] {
		s.built[e], s.frames[e] = true, build(e)
	}
	return s.frames[e]
}
