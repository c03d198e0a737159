package browser

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/test/internal/process"
)

// deployment has the three pods of examples/cluster.
type deployment struct {
	env  []string
	urls [3]string
	said *process.Buffer // by the script
}

// startCluster runs the script of the example with its own ports, and ends it with SIGINT, like
// Ctrl-C.
func startCluster(t *testing.T) *deployment {
	t.Helper()
	return startClusterOn(t, freePorts(t))
}

// freePorts returns the ports of the script: the last is that of the buttons.
func freePorts(t *testing.T) (ports [10]string) {
	t.Helper()
	for i := range ports {
		_, ports[i], _ = net.SplitHostPort(loopback.AddressFor(t))
	}
	return ports
}

func startClusterOn(t *testing.T, ports [10]string) *deployment {
	t.Helper()
	binary := os.Getenv("ROLLCALL_CADDY")
	if binary == "" {
		t.Fatal("ROLLCALL_CADDY is not set: run make browser")
	}
	d := &deployment{said: new(process.Buffer)}
	for i := range d.urls {
		d.urls[i] = "http://localhost:" + ports[i]
	}
	state := t.TempDir()
	d.env = append(os.Environ(), "ROLLCALL_CLUSTER_STATE="+state, "ROLLCALL_CLUSTER_PORTS="+strings.Join(ports[:], " "))

	cmd := d.command()
	cmd.Stdout, cmd.Stderr = d.said, d.said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the script
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the script ended with %v", err)
			}
		case <-time.After(40 * time.Second):
			t.Error("the script does not end")
			_ = cmd.Process.Kill()
		}
		left, err := filepath.Glob(filepath.Join(state, "*.pid"))
		if len(left) > 0 || err != nil {
			t.Errorf("the script left %v, %v", left, err)
		}
		for _, url := range d.urls {
			if conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://")); err == nil {
				_ = conn.Close()
				t.Errorf("something still listens at %s", url)
			}
		}
		if t.Failed() {
			t.Logf("the script said:\n%s", d.said)
			for _, pod := range []string{"web-1", "web-2", "web-3"} {
				log, _ := os.ReadFile(filepath.Join(state, pod+".log"))
				t.Logf("%s said:\n%s", pod, log)
			}
		}
	})
	testkit.Eventually(t, "three pods", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("the script ended: %v\n%s", err, d.said)
		default:
		}
		return strings.Contains(d.said.String(), "Ctrl-C")
	})
	return d
}

func (d *deployment) command(args ...string) *exec.Cmd {
	cmd := exec.Command("examples/cluster/run", args...)
	cmd.Dir, cmd.Env = root, d.env
	return cmd
}

// run runs a command of the script, like kill web-2.
func (d *deployment) run(t *testing.T, args ...string) {
	t.Helper()
	cmd := d.command(args...)
	var out process.Buffer // not a pipe: a started pod would keep it open
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		t.Fatalf("run %v: %v\n%s", args, err, out.String())
	}
}

// waitForText waits until an element shows exactly the text.
func (p page) waitForText(id, want string) {
	p.t.Helper()
	defer func() {
		if p.t.Failed() {
			p.t.Logf("%s shows %q", id, p.text(id))
		}
	}()
	p.waitFor(fmt.Sprintf("%s to show %q", id, want),
		fmt.Sprintf(`document.querySelector('[data-testid=%q]').textContent.trim() === %q`, id, want))
}

// waitForCounts waits until a data center has the given numbers of users and anonymous connections.
func (p page) waitForCounts(dataCenter, users, anonymous string) {
	p.t.Helper()
	p.waitForText("users-"+dataCenter, users)
	p.waitForText("anonymous-"+dataCenter, anonymous)
}

// waitForTruth waits until the chosen pod answers completely, or names the missing pods.
func (p page) waitForTruth(missing string) {
	p.t.Helper()
	want := "Rollcall-Complete: true"
	if missing != "" {
		want = "Rollcall-Complete: false, Rollcall-Missing: " + missing
	}
	p.waitForText("missing", want)
}

// tab presses a button of a tab that the page has opened.
func (p page) tab(pod, user, button string) {
	p.t.Helper()
	p.run(chromedp.Click(fmt.Sprintf(`[data-testid="tabs-%s"] [data-tab=%q] .%s`, pod, user, button)))
}

// waitForMember waits until the channel shows a user, or no longer does.
func (p page) waitForMember(user string, there bool) {
	p.t.Helper()
	p.waitFor(fmt.Sprintf("%s to be there: %t", user, there),
		fmt.Sprintf(`!!document.querySelector('[data-testid=members] [data-user=%q]') === %t`, user, there))
}

// TestClusterEndsWithoutItsButtons takes the port of the buttons, so that their server ends at
// once. The end of the test checks that Ctrl-C ends the pods.
func TestClusterEndsWithoutItsButtons(t *testing.T) {
	ports := freePorts(t)
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "localhost:"+ports[9])
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	d := startClusterOn(t, ports)
	testkit.Eventually(t, "the server of the buttons to end", func() bool { return strings.Contains(d.said.String(), "address already in use") })
}

// TestCluster follows the README of the example.
func TestCluster(t *testing.T) {
	d := startCluster(t)
	browser := newBrowser(t)
	operator := openConsole(t, browser, d.urls[0]) // first, as Chromium delays clicks on a tab behind another
	p := open(t, browser, d.urls[0])
	p.waitForTruth("")

	// One user on two pods of a data center is one user.
	for _, button := range []string{"open-ada-web-1", "open-ada-web-2", "open-alan-web-2", "open-visitor-web-2", "open-grace-web-3", "open-ada-web-3"} {
		p.click(button)
	}
	p.waitForCounts("us-east-1", "3", "1") // including the page's own
	p.waitForCounts("eu-west-1", "2", "0")
	for _, user := range []string{"ada", "alan", "grace", "you"} {
		p.waitForMember(user, true)
	}
	operator.has("eu-west-1/web-3 2")
	p.waitForText("says-web-1", "your pod")
	p.waitForText("says-web-2", "same answer")
	p.waitForText("says-web-3", "same answer")
	checkLooks(t, p, "cluster")

	// The grace period hides a reload, but not a user that stays away. If the reload showed, it
	// would be the first of the two.
	p.tab("web-2", "alan", "reload")
	p.tab("web-3", "grace", "close")
	left := time.Now()
	operator.has("eu-west-1/web-3 1")
	t.Logf("the console shows after %s that a connection of another pod ended", time.Since(left))
	p.waitForMember("grace", false)
	if log := p.text("log"); strings.Contains(log, "left alan") || !strings.Contains(log, "left grace") {
		t.Errorf("the frames are %q", log)
	}
	p.waitForMember("alan", true)

	// A pod that is killed is named until it is back: its only neighbor cannot know whether it is
	// cut off.
	p.click("kill-web-2") // the buttons and the script do the same
	p.waitForTruth("us-east-1/web-2")
	operator.has("Not complete. No answer from us-east-1/web-2")
	p.waitForCounts("us-east-1", "2", "0")
	p.waitForMember("alan", false)
	p.waitForMember("ada", true)
	p.waitForTruth("us-east-1/web-2")
	p.click("start-web-2")
	p.waitForTruth("")
	operator.waitFor("a complete answer", `!document.body.innerText.includes("Not complete")`)
	for _, tab := range []string{"ada", "alan", "visitor"} {
		p.tab("web-2", tab, "reload") // instead of waiting for its next attempt
	}
	p.waitForMember("alan", true)
	p.waitForCounts("us-east-1", "3", "1")

	// A data center that loses all pods may be cut off rather than dead: it stays named.
	p.click("pause-web-3")
	p.waitForTruth("eu-west-1/web-3")
	operator.has("No answer from eu-west-1/web-3")
	p.waitForText("users-eu-west-1", "–")
	p.waitForText("says-web-3", "no answer")
	checkLooks(t, p, "cluster-missing")
	p.click("resume-web-3")
	p.waitForText("result-web-3", "")
	p.waitForTruth("")
	p.waitForCounts("eu-west-1", "1", "0")

	// The page shows the chosen pod.
	p.run(chromedp.SetValue(`[data-testid=mine]`, "web-3"))
	p.run(chromedp.Evaluate[chromedp.Void](`document.querySelector('[data-testid=mine]').dispatchEvent(new Event('change'))`))
	p.waitForText("says-web-3", "your pod")
	p.waitFor("the connection to web-3", `document.querySelector('[data-testid=state]').dataset.state === 'open'`)
	p.waitForCounts("us-east-1", "2", "1")
	p.waitForCounts("eu-west-1", "2", "0")

	// A pod that says goodbye is not named.
	d.run(t, "stop", "web-2")
	p.waitForText("says-web-2", "no answer")
	p.waitForTruth("")
}
