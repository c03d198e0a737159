package message

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"

	"github.com/rollcall-gateway/rollcall/presence"
)

// block is how much of a payload is copied at once for the texts in it, in bytes: few allocations
// while decoding, and a user who stays keeps no more than this of a payload in memory.
const block = 4 << 10

// decoder reads a payload. After the first thing that is wrong nothing is left to read, and every
// method returns zero.
type decoder struct {
	payload []byte
	pos     int
	copied  string // of the payload from the byte start on
	start   int
	wrong   string // "": nothing
	at      int    // where
}

func (d *decoder) fail(wrong string) {
	if d.wrong == "" {
		d.wrong, d.at = wrong, d.pos
	}
	d.pos = len(d.payload)
}

func (d *decoder) left() int { return len(d.payload) - d.pos }

func (d *decoder) byte() byte {
	if d.left() < 1 {
		d.fail("end of payload")
		return 0
	}
	d.pos++
	return d.payload[d.pos-1]
}

func (d *decoder) fixed() uint64 {
	if d.left() < 8 {
		d.fail("end of payload")
		return 0
	}
	d.pos += 8
	return binary.BigEndian.Uint64(d.payload[d.pos-8:])
}

func (d *decoder) uvarint() uint64 {
	if d.pos < len(d.payload) && d.payload[d.pos] < 0x80 { // most are of one byte
		d.pos++
		return uint64(d.payload[d.pos-1])
	}
	v, n := binary.Uvarint(d.payload[d.pos:])
	switch {
	case n == 0:
		d.fail("end of payload")
		return 0
	case n < 0:
		d.fail("a number of more than 64 bits")
		return 0
	case n > 1 && d.payload[d.pos+n-1] == 0:
		d.fail("a number longer than need be")
		return 0
	}
	d.pos += n
	return v
}

func (d *decoder) time() int64 {
	v := d.uvarint()
	return int64(v>>1) ^ -int64(v&1) // as in binary.Varint
}

// number reads what is counted.
func (d *decoder) number() uint64 {
	n := d.uvarint()
	if n > maxCount {
		d.fail("a count out of range")
		return 0
	}
	return n
}

func (d *decoder) count() int { return int(d.number()) }

// length reads how many entries follow, of which each takes so many bytes at least.
func (d *decoder) length(least int) int {
	n := d.uvarint()
	if n > uint64(d.left()/least) {
		d.fail("a list longer than the payload")
		return 0
	}
	return int(n)
}

// flags reads booleans, of which so many are known.
func (d *decoder) flags(known int) byte {
	v := d.byte()
	if v>>known != 0 {
		d.fail("an unknown flag")
		return 0
	}
	return v
}

// text reads a text of at most that many bytes, which may be empty.
func (d *decoder) text(most int) string {
	s := d.plain(most)
	if !utf8.ValidString(s) {
		d.fail("a text that is not UTF-8")
		return ""
	}
	return s
}

// plain reads a text of at most that many bytes, which is still to be checked.
func (d *decoder) plain(most int) string {
	n := d.uvarint()
	if n > uint64(most) || n > uint64(d.left()) {
		d.fail("a text too long")
		return ""
	}
	end := d.pos + int(n)
	if end > d.start+len(d.copied) {
		d.copied, d.start = string(d.payload[d.pos:min(len(d.payload), max(end, d.pos+block))]), d.pos
	}
	s := d.copied[d.pos-d.start : end-d.start]
	d.pos = end
	return s
}

func (d *decoder) name() string {
	s := d.text(maxName)
	if !validName(s) {
		d.fail("a bad name of a data center or pod")
		return ""
	}
	return s
}

func (d *decoder) channel() string {
	s := d.plain(presence.MaxChannelName)
	if presence.CheckChannel(s) != nil {
		d.fail(badChannel)
		return ""
	}
	return s
}

// optional reads what [encoder.optional] writes.
func (d *decoder) optional(read func() string) string {
	if d.left() > 0 && d.payload[d.pos] == 0 {
		d.pos++
		return ""
	}
	return read()
}

func (d *decoder) userID() string {
	s := d.plain(presence.MaxUserID)
	if presence.CheckUserID(s) != nil {
		d.fail(badUser)
		return ""
	}
	return s
}

func (d *decoder) email() string {
	s := d.plain(presence.MaxEmail)
	if presence.CheckEmail(s) != nil {
		d.fail(badEmail)
		return ""
	}
	return s
}

// host reads a host, which is in its canonical form.
func (d *decoder) host() presence.HostName {
	s := d.text(maxHost)
	h, err := presence.ParseHostName(s)
	if err != nil || h.String() != s {
		d.fail("a bad host")
		return presence.HostName{}
	}
	return h
}

// object reads an object of JSON.
func (d *decoder) object() []byte {
	n := d.uvarint()
	if n > presence.MaxMessage || n > uint64(d.left()) {
		d.fail("a message too large")
		return nil
	}
	p := d.payload[d.pos : d.pos+int(n)]
	if !isObject(p) {
		d.fail("a message that is no object")
		return nil
	}
	d.pos += int(n)
	return bytes.Clone(p)
}

func (d *decoder) part() (part, parts uint32) {
	i, n := d.uvarint(), d.uvarint()
	if wrong := checkPart(i, n); wrong != "" {
		d.fail(wrong)
		return 0, 0
	}
	return uint32(i), uint32(n)
}

func (d *decoder) sender() Sender {
	return Sender{
		DataCenter:  d.name(),
		Pod:         d.name(),
		Incarnation: d.incarnation(),
		Seq:         d.uvarint(),
	}
}

func (d *decoder) incarnation() Incarnation {
	return Incarnation{Started: int64(d.fixed()), Random: d.fixed()}
}
