package backend

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// complaintPause is how often the same trouble is logged at most.
const complaintPause = 10 * time.Second

// complaint is a trouble that would be logged with each message.
type complaint struct {
	last    time.Time
	skipped int
}

// complaints are all such troubles.
type complaints struct {
	// quiet guards what follows.
	quiet sync.Mutex
	full  complaint
	disk  complaint
}

// complain logs an error, unless one of its kind was logged just before.
func (c *Courier) complain(about *complaint, message string, fields ...zap.Field) {
	c.quiet.Lock()
	now := time.Now()
	if now.Sub(about.last) < complaintPause {
		about.skipped++
		c.quiet.Unlock()
		return
	}
	skipped := about.skipped
	*about = complaint{last: now}
	c.quiet.Unlock()
	c.logger.Error(message, append(fields, zap.Int("not_logged_before", skipped))...)
}

// diskFailed logs that the file could not be read or written.
func (c *Courier) diskFailed(err error) {
	c.complain(&c.disk, "the file of waiting copies cannot be used", zap.Error(err))
}
