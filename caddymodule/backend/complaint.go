package backend

import (
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/oftenlog"
)

// complaintPause is how often the same trouble is logged at most.
const complaintPause = 10 * time.Second

// complaints are the troubles that would be logged with each message.
type complaints struct{ full, disk oftenlog.Limit }

// complain logs an error, unless one of its kind was logged just before.
func (c *Courier) complain(about *oftenlog.Limit, message string, fields ...zap.Field) {
	if skipped, ok := about.Allow(complaintPause); ok {
		c.logger.Error(message, append(fields, zap.Int("not_logged_before", skipped))...)
	}
}

// diskFailed logs that the file could not be read or written.
func (c *Courier) diskFailed(err error) {
	c.complain(&c.disk, "the file of waiting copies cannot be used", zap.Error(err))
}
