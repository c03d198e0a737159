package plugins

import (
	"fmt"
	"runtime"
	"time"
)

// Defaults of [Limits].
const (
	DefaultMemory          = 16 << 20
	DefaultFile            = 16 << 20
	DefaultDocument        = 256 << 10
	DefaultInitBudget      = 50_000_000
	DefaultClassifyBudget  = 1_000_000
	DefaultMembersBudget   = 200_000
	DefaultShapeBudget     = 200_000_000
	DefaultClassifyTimeout = 5 * time.Millisecond
	DefaultShapeTimeout    = 250 * time.Millisecond
)

// What [Limits.Validate] accepts.
const (
	pageSize     = 64 << 10
	minMemory    = pageSize
	maxMemory    = 1 << 30
	maxFile      = 64 << 20
	maxDocument  = 64 << 20
	maxInstances = 1024
	maxBudget    = 1_000_000_000_000
	maxTimeout   = time.Minute
)

// Limits bound what a plugin may use. A zero field means its default.
type Limits struct {
	// Memory is the most that one instance may have, in bytes; it counts in pages of 64 KiB. Default: 16 MiB.
	Memory int64
	// File is the largest module that is read, in bytes. Default: 16 MiB.
	File int64
	// Document is the largest answer that is offered to the hook shape, in bytes. Default: 256 KiB.
	Document int64
	// Instances is the most instances of one host. Where there are two or more, one of them is left to classify and
	// authorize. Default: GOMAXPROCS, at least 2.
	Instances int

	// InitBudget is the steps for making one instance: start function, _initialize and configure. Default: 50 million.
	InitBudget int64
	// ClassifyBudget is the steps of a call of classify or authorize. Default: 1 million.
	ClassifyBudget int64
	// MembersBudget is the steps of a call of members for each user in it, above a base of 1 million.
	// Default: 200,000.
	MembersBudget int64
	// ShapeBudget is the steps of a call of shape. Default: 200 million.
	ShapeBudget int64

	// ClassifyTimeout ends a call of classify or authorize, the wait for an instance included. Default: 5 ms.
	ClassifyTimeout time.Duration
	// ShapeTimeout ends a call of members or shape, the wait for an instance included. Default: 250 ms.
	ShapeTimeout time.Duration
}

// Validate returns an error that names the first limit out of range, and the range.
func (l Limits) Validate() error {
	_, err := l.withDefaults()
	return err
}

func (l Limits) withDefaults() (Limits, error) {
	l.Instances = orDefault(l.Instances, max(2, runtime.GOMAXPROCS(0)))
	for _, v := range []struct {
		name           string
		value          *int64
		standard       int64
		least, largest int64
	}{
		{"memory", &l.Memory, DefaultMemory, minMemory, maxMemory},
		{"file", &l.File, DefaultFile, 1, maxFile},
		{"document", &l.Document, DefaultDocument, 1, maxDocument},
		{"init_budget", &l.InitBudget, DefaultInitBudget, 1, maxBudget},
		{"classify_budget", &l.ClassifyBudget, DefaultClassifyBudget, 1, maxBudget},
		{"members_budget", &l.MembersBudget, DefaultMembersBudget, 1, maxBudget},
		{"shape_budget", &l.ShapeBudget, DefaultShapeBudget, 1, maxBudget},
	} {
		*v.value = orDefault(*v.value, v.standard)
		if *v.value < v.least || *v.value > v.largest {
			return l, fmt.Errorf("%s: %d is out of range, allowed are %d to %d", v.name, *v.value, v.least, v.largest)
		}
	}
	if l.Instances < 1 || l.Instances > maxInstances {
		return l, fmt.Errorf("instances: %d is out of range, allowed are 1 to %d", l.Instances, maxInstances)
	}
	for _, v := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"classify_timeout", &l.ClassifyTimeout, DefaultClassifyTimeout},
		{"shape_timeout", &l.ShapeTimeout, DefaultShapeTimeout},
	} {
		*v.value = orDefault(*v.value, v.standard)
		if *v.value < time.Millisecond || *v.value > maxTimeout {
			return l, fmt.Errorf("%s: %v is out of range, allowed are 1ms to %v", v.name, *v.value, maxTimeout)
		}
	}
	return l, nil
}

// pages is the memory limit in WebAssembly pages.
func (l Limits) pages() uint32 { return uint32(l.Memory / pageSize) }

func orDefault[T comparable](value, standard T) T {
	var zero T
	if value == zero {
		return standard
	}
	return value
}
