package answer

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestBodyIsOneText(t *testing.T) {
	long := []byte(strings.Repeat("long", shortPiece))
	before := bytes.Clone(long)
	b := body{text: []byte("[")}
	b.appendEntries([][]byte{[]byte("a"), long, long, []byte("b")})
	b.text = append(b.text, "],["...)
	b.appendEntries(nil)
	b.appendEntries([][]byte{long})
	b.text = append(b.text, "]"...)
	pieces := b.allPieces()
	want := "[a," + string(long) + "," + string(long) + ",b],[" + string(long) + "]"
	if got := string(slices.Concat(pieces...)); got != want || Len(pieces) != len(want) {
		t.Errorf("got %q, want %q", got, want)
	}
	shared := 0
	for _, piece := range pieces {
		if len(piece) > 0 && &piece[0] == &long[0] {
			shared++
		}
	}
	if shared != 3 || !bytes.Equal(long, before) {
		t.Errorf("%d pieces are shared, want 3; the piece is the same: %v", shared, bytes.Equal(long, before))
	}
}

// full is a writer that counts writes, and fails after the given number of them.
type full struct {
	bytes.Buffer
	writes, most int
}

var errFull = errors.New("full")

func (f *full) Write(b []byte) (int, error) {
	if f.writes == f.most {
		return 0, errFull
	}
	f.writes++
	return f.Buffer.Write(b)
}

func TestPiecesAreWrittenTogether(t *testing.T) {
	var pieces [][]byte
	for i := range 1000 {
		pieces = append(pieces, bytes.Repeat([]byte{byte(i)}, i))
	}
	pieces = append(pieces, bytes.Repeat([]byte{1}, 200<<10))
	want := slices.Concat(pieces...)
	w := &full{most: 100}
	if err := Write(w, pieces); err != nil || !bytes.Equal(w.Bytes(), want) {
		t.Errorf("got %d bytes, want %d, error %v", w.Len(), len(want), err)
	}
	if most := len(want)/(64<<10) + 1; w.writes > most {
		t.Errorf("%d writes, want at most %d", w.writes, most)
	}
	for most := range 3 {
		w := &full{most: most}
		if err := Write(w, pieces); !errors.Is(err, errFull) || w.writes != most {
			t.Errorf("error %v after %d writes, want %v after %d", err, w.writes, errFull, most)
		}
	}
	w = &full{most: 1}
	if err := Write(w, [][]byte{nil}); err != nil || w.Len() != 0 {
		t.Errorf("%d bytes, error %v", w.Len(), err)
	}
}
