package memory

import (
	"bytes"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// FuzzDecode decodes records of arbitrary bytes. Sealed ones have the right checksum.
func FuzzDecode(f *testing.F) {
	r := run(1, 11, message.Missed)
	value, err := encodeRun(3, &r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(runKey(3), value, false)
	f.Add(runKey(3), value[:len(value)-4], true)
	f.Add(runKey(0), []byte{message.Version}, true)
	values, _, err := encodeSites(11, serving("a.example.com", "*.b.example.com"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sitesKey(11, 0), values[0], false)
	f.Add(sitesKey(12, 0), values[0][:len(values[0])-4], true)
	f.Add(headKey, encodeHead(&head{version: 5, started: 6, clock: 7, runs: 8, deployment: "rollcall"}), false)
	f.Add(headKey, []byte{}, false)
	f.Fuzz(func(t *testing.T, key, value []byte, sealed bool) {
		if sealed {
			value = seal(key, bytes.Clone(value))
		}
		if h, err := decodeHead(value); err == nil && !bytes.Equal(encodeHead(&h), value) {
			t.Errorf("the head %x is written as %x", value, encodeHead(&h))
		}
		if r, err := decodeRun(key, value); err == nil {
			b, err := codec.Append(nil, "", writer, &message.Runs{Runs: []message.Run{r}})
			if b = seal(key, b); err != nil || !bytes.Equal(b, value) {
				t.Errorf("the run %x is written as %x, %v", value, b, err)
			}
		}
		if part, err := decodeSites(key, value); err == nil {
			b, err := codec.Append(nil, "", writer, part)
			if b = seal(sitesKey(part.Sum, int(part.Part)), b); err != nil || !bytes.Equal(b, value) {
				t.Errorf("the sites %x are written as %x, %v", value, b, err)
			}
		}
	})
}
