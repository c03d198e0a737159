package backend

import (
	"bytes"
	"testing"
)

func TestRecordReadsBackWhatWasWritten(t *testing.T) {
	for _, test := range []struct{ name, id, body string }{
		{"usual", "msg_abc", `{"a":1}`},
		{"no body", "x", ""},
		{"long id", string(bytes.Repeat([]byte("i"), 255)), "b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			id, body, err := decodeRecord(encodeRecord(test.id, []byte(test.body)))
			if err != nil || id != test.id || string(body) != test.body {
				t.Errorf("got %q %q %v", id, body, err)
			}
		})
	}
}

func TestRecordWithAnyBitChangedIsDamaged(t *testing.T) {
	record := encodeRecord("msg_abc", []byte(`{"a":1}`))
	for i := range len(record) * 8 {
		changed := bytes.Clone(record)
		changed[i/8] ^= 1 << (i % 8)
		if id, body, err := decodeRecord(changed); err == nil {
			t.Errorf("bit %d: %q %q", i, id, body)
		}
	}
	for n := range record {
		if _, _, err := decodeRecord(record[:n]); err == nil {
			t.Errorf("%d bytes of %d are decoded", n, len(record))
		}
	}
}

func TestKeysSortByChannelAndNumber(t *testing.T) {
	before := encodeKey(0, 0)
	for _, k := range [][2]uint64{{0, 1}, {0, 1 << 60}, {1, 0}, {1, 5}, {1 << 63, 0}} {
		key := encodeKey(k[0], k[1])
		if bytes.Compare(before, key) >= 0 {
			t.Errorf("%x does not sort after %x", key, before)
		}
		if c, n, ok := decodeKey(key); !ok || c != k[0] || n != k[1] {
			t.Errorf("%x reads as %d %d %t", key, c, n, ok)
		}
		before = key
	}
	if _, _, ok := decodeKey(before[1:]); ok {
		t.Error("a key that is too short is one")
	}
}

// FuzzDecodeRecord checks that no bytes on disk make the decoder panic, and that a decoded record
// encodes to the same bytes.
func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{recordVersion, 0, 0, 0, 0, 255})
	f.Add(encodeRecord("msg_abc", []byte(`{"a":1}`)))
	f.Add(encodeRecord("i", nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, body, err := decodeRecord(b)
		if err != nil {
			return
		}
		if again := encodeRecord(id, body); !bytes.Equal(again, b) {
			t.Errorf("%x reads as %q %q, which is %x", b, id, body, again)
		}
	})
}
