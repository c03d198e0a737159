package load

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// reserve is the number of descriptors that a process keeps for other uses than connections.
const reserve = 500

// RaiseFileLimit raises the limit of open files to the maximum, for this process and those that it
// starts.
func RaiseFileLimit() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	return nil
}

// MaxConns returns the maximum number of connections of one process (see ulimit -n).
func MaxConns() (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("limit of open files: %w", err)
	}
	const most = 1 << 20
	if limit.Max > most {
		return most, nil
	}
	return int(limit.Max) - reserve, nil
}

// Divide divides n connections among as few processes as the limit allows.
func Divide(n, limit int) []int {
	processes := (n + limit - 1) / limit
	parts := make([]int, processes)
	for i := range parts {
		parts[i] = n / processes
		if i < n%processes {
			parts[i]++
		}
	}
	return parts
}
