package assignment

import (
	"bytes"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence"
)

// FuzzDecode decodes entries of arbitrary bytes.
func FuzzDecode(f *testing.F) {
	r := Record{Host: mustHost(f, "portal.example.com"), User: "ada", Channel: "sales", Mode: Listen, Version: Version{Clock: 1 << 60, Node: 7}}
	key := appendKey(nil, &r)
	f.Add(key, encodeValue(key, &r))
	for _, r := range []Record{
		{Host: r.Host, User: "ada", Kind: KindRevocation, Version: r.Version, Value: 1_800_000_000, Until: 1_800_000_086_400_000, Local: 1_800_000_000},
		{Host: r.Host, User: "7", Kind: KindEpoch, Version: r.Version, Value: maxValue},
		leftAt(r.Host, 1_800_000_000_000),
		leftAt(presence.HostName{}, 1_800_000_000_000),
	} {
		key := appendKey(nil, &r)
		f.Add(key, encodeValue(key, &r))
	}
	f.Add([]byte("\x00ada\x00a"), appendValue(nil, &r))
	f.Add([]byte("portal.example.com\x00ada\x00a\x00b"), appendValue(nil, &r))
	f.Add([]byte("PORTAL\x00ada\x00a"), appendValue(nil, &r))
	f.Add([]byte{}, []byte{entryVersion})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		r, err := decode(key, value, entryVersion)
		if err != nil {
			if r, err = decode(key, value, 1); err != nil {
				return
			}
			value = encodeValue(key, &r)
		}
		if !r.Valid() && !r.validLeft() {
			t.Errorf("%+v is no record", r)
		}
		if k := appendKey(nil, &r); !bytes.Equal(k, key) || !bytes.Equal(encodeValue(k, &r), value) {
			t.Errorf("%q, %x is written as %q, %x", key, value, k, encodeValue(k, &r))
		}
	})
}
