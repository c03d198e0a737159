package pusher

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// apartVariable is the name of the test that runs in namespaces of its own.
const apartVariable = "ROLLCALL_TEST_APART"

// apart runs the test again in its own network, mount and process namespaces, and returns false. In
// them, it returns true: all ports of loopback are free there, /etc/hosts can be replaced, and all
// processes end with the test.
func apart(t *testing.T) bool {
	t.Helper()
	if os.Getenv(apartVariable) == t.Name() {
		mustRun(t, "ip", "link", "set", "lo", "up")
		return true
	}
	args := []string{"--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if os.Geteuid() != 0 {
		args = append(args, "--map-root-user")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args = append(args, self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=15m")
	cmd := exec.CommandContext(t.Context(), "unshare", args...)
	cmd.Env = append(os.Environ(), apartVariable+"="+t.Name(), "ROLLCALL_CADDY="+caddyPath)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in namespaces of its own: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "_test.go:") { // what it logs
			t.Log(strings.TrimSpace(line))
		}
	}
	return false
}

// mustRun runs a command that must succeed, and returns its output.
func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// resolve adds names of an address to /etc/hosts, within the namespaces of [apart].
func resolve(t *testing.T, address string, names ...string) {
	t.Helper()
	hosts, err := os.ReadFile("/etc/hosts")
	if err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/hosts"
	text := string(hosts) + "\n" + address + " " + strings.Join(names, " ") + "\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "mount", "--bind", file, "/etc/hosts")
}
