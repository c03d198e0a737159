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

// The files that a run writes into the folder of the documentation.
const (
	reportFile = "benchmarks.md"
	plotFile   = "images/benchmarks.svg"
)

// report is what a run has found.
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

// include adds the report of another program, whose headings become one level lower.
func (r *report) include(heading, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	_, body, _ := strings.Cut(string(text), "\n") // its title
	fmt.Fprintf(&r.text, "\n## %s\n%s", heading, strings.ReplaceAll(body, "\n## ", "\n### "))
	return nil
}

// write writes the report and the picture into a folder, or the report to standard output where there is none.
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

What Rollcall costs beside its peers, from one run of one load generator on one machine. Absolute figures move with the
machine: compare the rows of a table. Measured on %s:

| | |
| --- | --- |
| machine | %s, %d CPUs, %s of memory |
| system | Linux %s, %s, Node.js %s |
| command | `+"`%s`"+`; each figure is taken %d times (the median counts), for %s |
| peers | servers on the [centrifuge](https://github.com/centrifugal/centrifuge) library 0.40.1 with presence, [ws](https://github.com/websockets/ws) 8.23.0 and [Socket.IO](https://socket.io) 4.8.4, each as its documentation sets it up |
| floors | servers that do nothing else than read and write frames on TCP |

![Figures of Rollcall beside its peers](%s)

Server and generator are processes of their own, over loopback, and share the CPUs. CPU is that of the server's process,
user and system time; what the kernel does for the network on its own behalf is nobody's. All
servers are measured in each round, so that a busy minute of the machine does not meet one of them alone.
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

// node is the version of Node.js, as far as there is one.
func node() string {
	out, err := exec.Command("node", "--version").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "v")
}

// field returns the first group of a pattern in a file, or that it is unknown.
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
