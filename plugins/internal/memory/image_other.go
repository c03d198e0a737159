//go:build !linux

package memory

import (
	"iter"
	"os"
)

func sealed(int64, iter.Seq2[int64, []byte]) (*os.File, error) { return nil, ErrNoImage }

func (i *Image) mapTo([]byte) error { return ErrNoImage }
