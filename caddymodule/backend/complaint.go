package backend

import (
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/oftenlog"
)

// complaintPause is the minimum time between two log lines about the same problem.
const complaintPause = 10 * time.Second

// complaints are problems that would otherwise be logged for each message.
type complaints struct{ full, disk oftenlog.Limit }

// complain logs an error, unless one of its kind was just logged.
func (c *Courier) complain(about *oftenlog.Limit, message string, fields ...zap.Field) {
	if skipped, ok := about.Allow(complaintPause); ok {
		c.logger.Error(message, append(fields, zap.Int("not_logged_before", skipped))...)
	}
}

// diskFailed logs that the file could not be read or written.
func (c *Courier) diskFailed(err error) {
	c.complain(&c.disk, c.kind.words.disk, zap.Error(err))
}
