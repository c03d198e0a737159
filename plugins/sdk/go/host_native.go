//go:build !wasip1

package rollcall

import "os"

// Outside Rollcall, in the tests of a plugin, log lines go to standard error, there is no request, and
// nothing is counted.

func writeLog(level Level, text string) {
	names := [...]string{Debug: "debug", Info: "info", Warn: "warn", Error: "error"}
	name := "log"
	if level >= 0 && int(level) < len(names) {
		name = names[level]
	}
	os.Stderr.WriteString(name + ": " + text + "\n")
}

func readRequest([]byte) int { return 0 }

func count(string, int64) {}
