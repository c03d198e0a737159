package browser

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"slices"
	"testing"
	"time"
)

// still is a picture of a moving one, which shows for a time.
type still struct {
	png   []byte
	lasts time.Duration
}

// animate makes one animated PNG of pictures of one size, which repeats forever
// (https://www.w3.org/TR/png-3/#apng-frame-based-animation). It has the 256 most frequent colors,
// and of each picture only the rectangle that differs from the one before.
func animate(t *testing.T, stills []still) []byte {
	t.Helper()
	images := make([]*image.RGBA, len(stills))
	for i, s := range stills {
		decoded, err := png.Decode(bytes.NewReader(s.png))
		if err != nil {
			t.Fatal(err)
		}
		images[i] = image.NewRGBA(decoded.Bounds())
		draw.Draw(images[i], images[i].Rect, decoded, decoded.Bounds().Min, draw.Src)
		if images[i].Rect != images[0].Rect {
			t.Fatalf("picture %d is %v, the first one %v", i, images[i].Rect, images[0].Rect)
		}
	}
	palette, nearest := frequentColors(images)
	out := []byte("\x89PNG\r\n\x1a\n")
	sequence := uint32(0)
	numbered := func(kind string, data ...[]byte) {
		out = appendChunk(out, kind, append([][]byte{binary.BigEndian.AppendUint32(nil, sequence)}, data...)...)
		sequence++
	}
	var last *image.Paletted
	for i, s := range stills {
		whole := image.NewPaletted(images[i].Rect, palette)
		for at := range whole.Pix {
			whole.Pix[at] = nearest[pixel(images[i], at)]
		}
		part := whole
		if last != nil {
			part = whole.SubImage(difference(last, whole)).(*image.Paletted)
		}
		last = whole
		var encoded bytes.Buffer
		encoder := png.Encoder{CompressionLevel: png.BestCompression}
		if err := encoder.Encode(&encoded, part); err != nil {
			t.Fatal(err)
		}
		chunks := pngChunks(encoded.Bytes())
		if i == 0 {
			out = appendChunk(out, "IHDR", chunks["IHDR"]...)
			out = appendChunk(out, "acTL", binary.BigEndian.AppendUint64(nil, uint64(len(stills))<<32))
			out = appendChunk(out, "PLTE", chunks["PLTE"]...)
		}
		var control []byte
		for _, n := range []int{part.Rect.Dx(), part.Rect.Dy(), part.Rect.Min.X, part.Rect.Min.Y} {
			control = binary.BigEndian.AppendUint32(control, uint32(n))
		}
		control = binary.BigEndian.AppendUint16(control, uint16(s.lasts.Milliseconds()))
		control = binary.BigEndian.AppendUint16(control, 1000)
		numbered("fcTL", control, []byte{0, 0}) // stays, and covers what is below
		if i == 0 {
			out = appendChunk(out, "IDAT", chunks["IDAT"]...)
		} else {
			numbered("fdAT", chunks["IDAT"]...)
		}
	}
	return appendChunk(out, "IEND")
}

func pixel(m *image.RGBA, i int) color.RGBA {
	return color.RGBA{m.Pix[4*i], m.Pix[4*i+1], m.Pix[4*i+2], 255}
}

// frequentColors returns a palette, and the index of the nearest color in it for each color.
func frequentColors(images []*image.RGBA) (color.Palette, map[color.RGBA]uint8) {
	counts := make(map[color.RGBA]int)
	for _, m := range images {
		for i := range len(m.Pix) / 4 {
			counts[pixel(m, i)]++
		}
	}
	colors := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int {
		return cmp.Or(counts[b]-counts[a], int(a.R)-int(b.R), int(a.G)-int(b.G), int(a.B)-int(b.B))
	})
	var palette color.Palette
	for _, c := range colors[:min(len(colors), 256)] {
		palette = append(palette, c)
	}
	nearest := make(map[color.RGBA]uint8, len(colors))
	for _, c := range colors {
		nearest[c] = uint8(palette.Index(c))
	}
	return palette, nearest
}

// difference returns the smallest rectangle with all changes, which is not empty.
func difference(a, b *image.Paletted) image.Rectangle {
	changed := image.Rectangle{}
	for i := range a.Pix {
		if a.Pix[i] != b.Pix[i] {
			at := image.Pt(i%a.Stride, i/a.Stride)
			changed = changed.Union(image.Rectangle{at, at.Add(image.Pt(1, 1))})
		}
	}
	if changed.Empty() {
		changed.Max = image.Pt(1, 1)
	}
	return changed
}

// pngChunks returns the data of the chunks of each kind.
func pngChunks(encoded []byte) map[string][][]byte {
	chunks := make(map[string][][]byte)
	for rest := encoded[8:]; len(rest) > 0; {
		n := binary.BigEndian.Uint32(rest)
		kind := string(rest[4:8])
		chunks[kind] = append(chunks[kind], rest[8:8+n])
		rest = rest[12+n:]
	}
	return chunks
}

func appendChunk(out []byte, kind string, data ...[]byte) []byte {
	body := append([]byte(kind), slices.Concat(data...)...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(body)-4))
	out = append(out, body...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(body))
}
