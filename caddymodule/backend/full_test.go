package backend

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// openWithRoom tries several times to open the file while the size of files is limited to room
// bytes, as on a full disk. It prints the errors.
func openWithRoom(folder string, room int) {
	signal.Ignore(syscall.SIGXFSZ) // so that writes fail
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: uint64(room), Max: uint64(room)}); err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		_, err := Open(Config{Folder: folder, Endpoints: new(endpoints), Observer: new(counts), Logger: zap.NewNop()})
		fmt.Println(err)
	}
}

// A file that did not fit is not a damaged file, which an operator would have to examine.
func TestFileIsMadeWhenTheDiskHasRoomAgain(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range []int{0, 100, os.Getpagesize(), 3 * os.Getpagesize()} {
		t.Run(fmt.Sprint(room, " bytes"), func(t *testing.T) {
			s := &scene{folder: t.TempDir(), endpoints: new(endpoints)}
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Env = append(os.Environ(), childFolder+"="+s.folder, fmt.Sprintf("%s=%d", childRoom, room))
			out, err := cmd.Output()
			if err != nil || strings.Count(string(out), "file too large\n") != 3 || strings.Contains(string(out), "damaged") {
				t.Errorf("without room: %v\n%s", err, out)
			}
			s.open(t)
			defer s.close(t)
			host := testkit.MustHost(t, "portal.example.com")
			s.endpoints.set(host, endpointAt("http://127.0.0.1:1"))
			s.mustAdd(t, host, message("sales", 0))
			entries, err := os.ReadDir(s.folder)
			if err != nil || len(entries) != 1 || entries[0].Name() != kinds[Copies].file {
				t.Errorf("the folder has %v, %v", entries, err)
			}
		})
	}
}
