package message

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"unicode/utf8"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Bounds of what a payload holds, in bytes, besides those of package presence.
const (
	maxName    = 64 // of a data center, a pod or a connection
	maxHost    = 253
	maxPattern = 1024
	// maxSets bounds the sets of a site, so that one with a pattern in each always fits into a
	// payload.
	maxSets = 64
	// maxCount is the highest number of anything that is counted: it fits into an int everywhere,
	// and so do sums of it on 64 bits.
	maxCount = math.MaxInt32
)

// encoder writes a payload. Numbers are unsigned varints (encoding/binary), times signed ones,
// hashes and incarnations 8 bytes with the highest first; texts and lists begin with their length.
type encoder struct {
	b     []byte
	wrong string // the first thing that no decoder would take; "": nothing
}

func (e *encoder) fail(wrong string) {
	if e.wrong == "" {
		e.wrong = wrong
	}
}

func (e *encoder) byte(v byte)      { e.b = append(e.b, v) }
func (e *encoder) fixed(v uint64)   { e.b = binary.BigEndian.AppendUint64(e.b, v) }
func (e *encoder) uvarint(v uint64) { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) length(n int)     { e.uvarint(uint64(n)) }
func (e *encoder) time(v int64)     { e.b = binary.AppendVarint(e.b, v) }

// number writes what is counted.
func (e *encoder) number(n uint64) {
	if n > maxCount {
		e.fail("a count out of range")
	}
	e.uvarint(n)
}

// count is number for what is an int in the program; one below 0 is out of range.
func (e *encoder) count(n int) { e.number(uint64(n)) }

// flags writes up to 8 booleans, the first as 1.
func (e *encoder) flags(set ...bool) {
	var v byte
	for i, on := range set {
		if on {
			v |= 1 << i
		}
	}
	e.byte(v)
}

func (e *encoder) text(s string, most int) {
	if len(s) > most {
		e.fail("a text too long")
	}
	if !utf8.ValidString(s) {
		e.fail("a text that is not UTF-8")
	}
	e.plain(s)
}

// name writes what a data center or pod is called.
func (e *encoder) name(s string) {
	if !validName(s) {
		e.fail("a bad name of a data center or pod")
	}
	e.plain(s)
}

// plain writes a text that was checked.
func (e *encoder) plain(s string) {
	e.length(len(s))
	e.b = append(e.b, s...)
}

func (e *encoder) channel(s string) {
	if presence.CheckChannel(s) != nil {
		e.fail(badChannel)
	}
	e.plain(s)
}

func (e *encoder) userID(s string) {
	if presence.CheckUserID(s) != nil {
		e.fail(badUser)
	}
	e.plain(s)
}

func (e *encoder) email(s string) {
	if presence.CheckEmail(s) != nil {
		e.fail(badEmail)
	}
	e.plain(s)
}

// optional writes a text, or that there is none.
func (e *encoder) optional(s string, write func(string)) {
	if s == "" {
		e.plain(s)
		return
	}
	write(s)
}

// Why texts are refused that package presence has the rules for.
const (
	badChannel = "a bad name of a channel"
	badUser    = "a bad ID of a user"
	badEmail   = "a bad e-mail address"
)

func (e *encoder) host(h presence.HostName) {
	if h.IsZero() {
		e.fail("no host")
	}
	e.text(h.String(), maxHost)
}

// object writes an object of JSON.
func (e *encoder) object(p []byte) {
	if len(p) > presence.MaxMessage {
		e.fail("a message too large")
	}
	if !isObject(p) {
		e.fail("a message that is no object")
	}
	e.length(len(p))
	e.b = append(e.b, p...)
}

// isObject reports whether it is an object of JSON, in UTF-8 and with nothing around it: it goes to
// browsers as it is.
func isObject(p []byte) bool {
	return len(p) > 1 && p[0] == '{' && p[len(p)-1] == '}' && utf8.Valid(p) && json.Valid(p)
}

// part writes which of several payloads this is.
func (e *encoder) part(part, parts uint32) {
	if wrong := checkPart(uint64(part), uint64(parts)); wrong != "" {
		e.fail(wrong)
	}
	e.uvarint(uint64(part))
	e.uvarint(uint64(parts))
}

func checkPart(part, parts uint64) string {
	switch {
	case parts > MaxParts:
		return "too many parts"
	case part >= parts:
		return "a part that is none"
	}
	return ""
}

func (e *encoder) sender(s Sender) {
	e.name(s.DataCenter)
	e.name(s.Pod)
	e.incarnation(s.Incarnation)
	e.uvarint(s.Seq)
}

func (e *encoder) incarnation(i Incarnation) {
	e.fixed(uint64(i.Started))
	e.fixed(i.Random)
}

// validName reports whether a data center or pod can be called so: 1 to 64 letters, digits, '.',
// '-' and '_'.
func validName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return s != "" && len(s) <= maxName
}
