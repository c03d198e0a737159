package timing

import (
	"time"

	"golang.org/x/sys/unix"
)

// slept returns how long the machine has been suspended since its start: CLOCK_BOOTTIME goes on
// meanwhile, CLOCK_MONOTONIC does not (clock_gettime(2)).
func slept() time.Duration {
	var boot, mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano())
}
