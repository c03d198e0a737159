package load

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// fromServer returns a text frame of a server, with its length in the shortest form.
func fromServer(payload string) []byte {
	b := AppendText(nil, []byte(payload))
	mask := len(b) - len(payload) - 4
	b = slices.Delete(b, mask, mask+4)
	b[1] &^= 0x80
	return b
}

func TestFramesOfEverySizeAreTakenWhole(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 1<<16 - 1, 1 << 16, maxFrame} {
		payload := strings.Repeat("x", size)
		frame := fromServer(payload)
		behind := append(slices.Clone(frame), "behind"...)
		op, got, used, err := nextFrame(behind)
		if op != opText || string(got) != payload || used != len(frame) || err != nil {
			t.Errorf("%d bytes: operation %d, payload of %d, used %d of %d, %v", size, op, len(got), used, len(frame), err)
		}
		for _, part := range []int{0, 1, len(frame) / 2, len(frame) - 1} {
			if _, _, used, err := nextFrame(frame[:part]); used != 0 || err != nil {
				t.Errorf("%d bytes of %d: used %d, %v, want to wait for more", part, len(frame), used, err)
			}
		}
	}
}

func TestWhatNoServerSendsIsRefused(t *testing.T) {
	for name, frame := range map[string]string{
		"masked":                "\x81\x81\x00\x00\x00\x00x",
		"a part of a message":   "\x01\x01x",
		"compressed":            "\xc1\x01x",
		"larger than is read":   "\x81\x7f\x00\x00\x00\x01\x00\x00\x00\x00",
		"a length beyond int64": "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		if _, _, _, err := nextFrame([]byte(frame)); !errors.Is(err, errFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnmaskTakesWhatAppendTextMakes(t *testing.T) {
	want := []string{"first", "", strings.Repeat("x", 126), "last"}
	var b []byte
	for _, payload := range want {
		b = AppendText(b, []byte(payload))
	}
	for cut := range b {
		first, rest := Unmask(b[:cut])
		second, rest := Unmask(append(slices.Clone(rest), b[cut:]...))
		if got := append(first, second...); !slices.Equal(got, want) || len(rest) != 0 {
			t.Fatalf("cut at %d: %q and %d bytes, want %q", cut, got, len(rest), want)
		}
	}
}

func FuzzNextFrame(f *testing.F) {
	f.Add([]byte("\x81\x05hello"))
	f.Add([]byte("\x88\x02\x03\xe8"))
	f.Add([]byte("\x81\x7e\x00\x05hello"))
	f.Add([]byte("\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, payload, used, err := nextFrame(b)
		if used < 0 || used > len(b) || len(payload) > used || (err != nil && used != 0) {
			t.Fatalf("%d bytes used of %d, payload of %d, %v", used, len(b), len(payload), err)
		}
		if used > 0 && !bytes.Equal(payload, b[used-len(payload):used]) {
			t.Fatalf("the payload %q is not the end of the frame %q", payload, b[:used])
		}
	})
}
