package codec

import "unicode/utf8"

const hex = "0123456789abcdef"

// plain marks the ASCII characters that a JSON string need not escape.
var plain = func() (t [utf8.RuneSelf]bool) {
	for c := range t {
		t[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return t
}()

// AppendString adds s to dst as a JSON string, with the escapes of encoding/json except those for
// HTML.
func AppendString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		if len(s)-i >= wordSize && allPlain(word(s, i)) {
			i += wordSize
			continue
		}
		c := s[i]
		if c < utf8.RuneSelf {
			if plain[c] {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = appendEscaped(dst, c)
			i++
			start = i
			continue
		}
		r, size := decodeRune(s[i:min(len(s), i+utf8.UTFMax)])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\ufffd`...)
			start = i + size
		case r == '\u2028' || r == '\u2029':
			// JavaScript before 2019 treats them as line ends.
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\u202`...)
			dst = append(dst, hex[r&0xf])
			start = i + size
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

const (
	wordSize = 8 // bytes
	ones     = 0x0101010101010101
	tops     = 0x80 * ones // highest bit of each byte
)

// word returns the wordSize bytes of s from i on, the first in the lowest bits. The compiler turns
// it into one load.
func word[T string | []byte](s T, i int) uint64 {
	s = s[i : i+wordSize]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// allPlain reports whether no byte of a word needs an escape or is not ASCII. A byte minus c has
// its highest bit set if the byte is below c or not ASCII. A borrow from the next byte does not
// matter: the result is false already.
func allPlain(w uint64) bool {
	quote, backslash := w^'"'*ones, w^'\\'*ones // zero in the bytes that are one
	return (w|(w-' '*ones)|(quote-ones)|(backslash-ones))&tops == 0
}

func decodeRune[T string | []byte](s T) (rune, int) {
	var b [utf8.UTFMax]byte
	return utf8.DecodeRune(b[:copy(b[:], s)])
}

func appendEscaped(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	default:
		return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
	}
}
