package assignment

import (
	"errors"

	"github.com/rollcall-gateway/rollcall/internal/boltfile"
)

// Store stores records.
type Store interface {
	// Load calls take with each record. It may also call it with earlier records of the same name,
	// and with records that a later one removes. It is called before the first Save.
	Load(take func(r Record)) error
	// Save stores records, merged with those that it has of the same name, see [Record.Merge]. When
	// it returns nil, they are durable. When it returns an error, none of them is stored. It is
	// called from many goroutines.
	Save(records []Record) error
	// Delete deletes records that are exactly these.
	Delete(records []Record) error
}

// Errors of changes.
var (
	// ErrUnavailable is returned, with the reason, when a change cannot be stored. Nothing has
	// changed.
	ErrUnavailable = errors.New("assignments cannot be kept now")
	// ErrTooManyChannels is returned when a user would exceed its limit of channels.
	ErrTooManyChannels = errors.New("too many channels for one user")
	// ErrTooMany is returned when a host would have more than MaxOfHost records.
	ErrTooMany = errors.New("too many assignments on this host")
	// ErrTooManyValues is returned when a host, or all hosts, would have too many revocations or
	// epochs.
	ErrTooManyValues = errors.New("too many revocations or epochs")
)

// Errors of files.
var (
	// ErrLocked is returned when another process has the file open.
	ErrLocked = boltfile.ErrLocked
	// ErrDamaged is returned when the file is damaged, or is not a file of assignments.
	ErrDamaged = boltfile.ErrDamaged
)
