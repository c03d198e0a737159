package memory

import (
	"errors"
	"fmt"
	"iter"
	"os"
)

// ErrNoImage is returned by NewImage on systems without images.
var ErrNoImage = errors.New("this system has no images of memory")

// Image is the initial memory of all instances of a program. They share its pages until they write
// to them. It is charged to the budget once, in full.
type Image struct {
	budget *Budget
	file   *os.File // sealed: nobody can change it
	size   int64
}

// NewImage returns an image of size bytes, a multiple of the page size, with the given parts:
// offsets and contents, of which a later one replaces an earlier one. An image of more than a
// quarter of the budget is refused.
func NewImage(b *Budget, size int64, parts iter.Seq2[int64, []byte]) (*Image, error) {
	if size > b.limit/4 {
		return nil, fmt.Errorf("%w: an image of %d bytes wanted, %d are allowed", ErrBudget, size, b.limit/4)
	}
	file, err := sealed(size, parts)
	if err != nil {
		return nil, err
	}
	// Room for it is made for the next memory that has none.
	b.used.Add(size)
	return &Image{b, file, size}, nil
}

// Size returns the size in bytes, 0 for a nil Image.
func (i *Image) Size() int64 {
	if i == nil {
		return 0
	}
	return i.size
}

// Close frees the image when the last memory made of it is freed. It may be nil.
func (i *Image) Close() {
	if i == nil {
		return
	}
	_ = i.file.Close() // nothing is written to it
	i.budget.used.Add(-i.size)
}
