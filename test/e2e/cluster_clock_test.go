package e2e

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startWithClock starts the command. Its wall clock, once it runs Caddy, is wrong by the offset;
// its monotonic clock is as it is.
//
// Caddy reads its clocks with the function that the kernel maps into each process (vdso(7)). The
// process is stopped before its first instruction, and gets a function that asks the kernel and
// adds the offset. Neither LD_PRELOAD nor a time namespace could do this: Caddy is static, and time
// namespaces leave the wall clock alone.
func startWithClock(cmd *exec.Cmd, offset time.Duration) error {
	if runtime.GOARCH != "amd64" {
		return errors.New("only amd64 has the instructions for another clock")
	}
	started := make(chan error)
	go func() { // ends when the process runs
		runtime.LockOSThread() // the kernel lets only the thread that has started the process trace it
		defer runtime.UnlockOSThread()
		started <- traceStart(cmd, offset)
	}()
	return <-started
}

func traceStart(cmd *exec.Cmd, offset time.Duration) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	for { // it stops at each exec: of ip, then of Caddy
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
			return fmt.Errorf("waiting for the program to be loaded: %w", err)
		}
		if !status.Stopped() {
			return fmt.Errorf("%s has ended: %v", cmd.Path, status)
		}
		program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil {
			return err
		}
		if filepath.Base(program) == filepath.Base(caddyPath) {
			break
		}
		if err := syscall.PtraceCont(pid, 0); err != nil {
			return err
		}
	}
	return errors.Join(shiftClock(pid, offset), syscall.PtraceDetach(pid))
}

// shiftClock replaces the function that reads clocks.
func shiftClock(pid int, offset time.Duration) error {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return err
	}
	var from, to int64
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(line, "[vdso]\n") {
			if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
				return err
			}
		}
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer memory.Close()
	image := make([]byte, to-from)
	if _, err := memory.ReadAt(image, from); err != nil {
		return err
	}
	object, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return err
	}
	symbols, err := object.DynamicSymbols()
	if err != nil {
		return err
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			_, err := memory.WriteAt(clockCode(offset), from+int64(s.Value))
			return err
		}
	}
	return errors.New("the process has no function to read clocks")
}

// clockCode is clock_gettime(clock, time) with an offset of whole seconds for CLOCK_REALTIME, which
// is 0.
func clockCode(offset time.Duration) []byte {
	code := []byte{
		0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, 228 (clock_gettime)
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi
		0x75, 0x0d, // jne to the end
		0x48, 0xba, // mov rdx, offset
	}
	code = binary.LittleEndian.AppendUint64(code, uint64(offset/time.Second))
	return append(code,
		0x48, 0x01, 0x16, // add [rsi], rdx
		0xc3, // ret
	)
}

// now asks the pod's process for its time of day, by the Date of an answer.
func (p *pod) now(t *testing.T) time.Time {
	t.Helper()
	a := p.site.Request(t, "POST", "/message/users", `{}`, "X-Api-Key", apiKey)
	now, err := time.Parse(time.RFC1123, a.Header.Get("Date"))
	if err != nil {
		t.Fatal(err)
	}
	return now
}
