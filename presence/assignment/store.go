package assignment

import (
	"errors"

	"github.com/rollcall-gateway/rollcall/internal/boltfile"
)

// Store keeps records.
type Store interface {
	// Load calls take with each record. It is called before the first Save.
	Load(take func(r Record)) error
	// Save returns when the records are kept for good, but for those of which it has later ones. After an error none of
	// them is. It is called from many goroutines.
	Save(records []Record) error
	// Delete drops records of exactly these versions.
	Delete(records []Record) error
}

// Why a change is refused.
var (
	// ErrUnavailable is returned, with the reason, when a change cannot be kept. Nothing of it was done.
	ErrUnavailable = errors.New("assignments cannot be kept now")
	// ErrTooManyChannels is returned when a user would be assigned to more channels than allowed.
	ErrTooManyChannels = errors.New("too many channels for one user")
	// ErrTooMany is returned when a host would have more than MaxOfHost.
	ErrTooMany = errors.New("too many assignments on this host")
)

// What is wrong with a file.
var (
	// ErrLocked is returned when another process has the file open.
	ErrLocked = boltfile.ErrLocked
	// ErrDamaged is returned when the file is damaged, or not one of assignments.
	ErrDamaged = boltfile.ErrDamaged
)
