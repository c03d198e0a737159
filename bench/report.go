package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// Files that a run writes into the documentation's folder.
const (
	reportFile = "benchmarks.md"
	plotFile   = "images/benchmarks.svg"
)

// report is the result of a run.
type report struct {
	text   bytes.Buffer
	panels []*panel
}

// section adds a table under a heading and a text.
func (r *report) section(heading, text string, t *table) {
	fmt.Fprintf(&r.text, "\n## %s\n\n%s\n\n", heading, text)
	t.write(&r.text)
}

// plot adds a panel to the picture.
func (r *report) plot(p *panel) { r.panels = append(r.panels, p) }

// include adds the report of another program, one heading level lower.
func (r *report) include(heading, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	_, body, _ := strings.Cut(string(text), "\n") // without its title
	fmt.Fprintf(&r.text, "\n## %s\n%s", heading, strings.ReplaceAll(body, "\n## ", "\n### "))
	return nil
}

// write writes the report and the picture into a folder, or the report to standard output if dir is
// "".
func (r *report) write(dir string, o options) error {
	text := r.head(o) + r.text.String()
	if dir == "" {
		_, err := os.Stdout.WriteString(text)
		return err
	}
	picture := filepath.Join(dir, plotFile)
	if err := os.MkdirAll(filepath.Dir(picture), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(picture, drawPanels(r.panels), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, reportFile), []byte(text), 0o644)
}

func (r *report) head(o options) string {
	return fmt.Sprintf(`# Benchmarks

The costs of Rollcall and its peers, from one run of one load generator on one machine. Absolute figures depend on the
machine: compare the rows of a table. Measured on %s:

| | |
| --- | --- |
| machine | %s, %d CPUs, %s of memory |
| system | Linux %s, %s, Node.js %s |
| command | `+"`%s`"+`; each figure is the median of %d runs of %s |
| peers | servers on the [centrifuge](https://github.com/centrifugal/centrifuge) library 0.40.1 with presence, [ws](https://github.com/websockets/ws) 8.23.0 and [Socket.IO](https://socket.io) 4.8.4 on Node.js, for several servers with [@socket.io/redis-adapter](https://github.com/socketio/socket.io-redis-adapter) 8.3.0 and [redis](https://github.com/redis/node-redis) 5.12.1, each set up as its documentation says |
| floors | servers that only read and write frames on TCP |

![Figures of Rollcall and its peers](%s)

Server and generator are separate processes on loopback that share the CPUs. CPU is the user and system time of the server
process; network work that the kernel does outside the process is not counted. Each round measures all servers, so that a busy
minute does not affect only one of them.
`, time.Now().Format("2 January 2006"), machine(), runtime.NumCPU(), memory(), kernel(), runtime.Version(), node(),
		o.command(), o.rounds, o.each, plotFile)
}

func machine() string { return field("/proc/cpuinfo", `(?m)^model name\s*: (.*)$`) }

func memory() string {
	var kib int
	if _, err := fmt.Sscan(field("/proc/meminfo", `(?m)^MemTotal:\s+(\d+) kB$`), &kib); err != nil {
		return "unknown size"
	}
	return fmt.Sprintf("%d GiB", (kib+1<<19)>>20)
}

func kernel() string { return field("/proc/sys/kernel/osrelease", `^(\d+\.\d+)`) }

// node returns the version of Node.js, if it is installed.
func node() string {
	out, err := exec.Command("node", "--version").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "v")
}

// redis returns the version of redis-server, if it is installed.
func redis() string {
	out, err := exec.Command("redis-server", "--version").Output()
	if err != nil {
		return "unknown"
	}
	found := regexp.MustCompile(`v=(\S+)`).FindSubmatch(out)
	if found == nil {
		return "unknown"
	}
	return string(found[1])
}

// field returns the first group of a pattern in a file, or "unknown".
func field(file, pattern string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	found := regexp.MustCompile(pattern).FindSubmatch(text)
	if found == nil {
		return "unknown"
	}
	return string(found[1])
}
