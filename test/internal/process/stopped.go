package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// AwaitStopped waits until no thread of a process runs, after SIGSTOP: only then, it cannot answer.
func AwaitStopped(t *testing.T, pid int) {
	t.Helper()
	ws.Poll(t, ws.Patience, func() error {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("the threads of the process: %q (%w)", files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			// proc_pid_stat(5): the state comes after the name in parentheses.
			if _, rest, _ := strings.Cut(string(text), ") "); !strings.HasPrefix(rest, "T") {
				return errors.New("a thread is not stopped: " + string(text))
			}
		}
		return nil
	})
}
