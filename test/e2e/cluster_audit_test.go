package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/caddymodule/audit"
)

// auditHost is the host of the site for audits.
const auditHost = "audit.example.com"

// auditSite returns the site for audits in docs/clustering.md, with its port still to be written.
func auditSite(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/clustering.md")
	if err != nil {
		t.Fatal(err)
	}
	_, site, found := strings.Cut(string(page), "\n```caddyfile\n"+auditHost)
	site, _, ended := strings.Cut(site, "```")
	if !found || !ended {
		t.Fatal("docs/clustering.md has no site for audits")
	}
	values := strings.NewReplacer("{env.ROLLCALL_AUDIT_KEY}", apiKey, "{env.ROLLCALL_AUDIT_SECRET}", secret)
	return "\nhttp://" + auditHost + ":%d" + values.Replace(site)
}

// auditedPods prepares pods that have the site for audits too.
func auditedPods(t *testing.T, n int) deployment {
	t.Helper()
	names, addresses := podNames(n, "eu-west"), make([]string, n)
	for i := range addresses {
		addresses[i] = fmt.Sprintf("127.0.0.1:%d", podPort(t))
	}
	var d deployment
	for i, name := range names {
		p := newPod(t, name, "", routed(addresses[i], addresses))
		p.setup.sites = auditSite(t)
		d = append(d, p)
	}
	return d
}

// deployAudited runs the pods of [auditedPods].
func deployAudited(t *testing.T, n int) deployment {
	t.Helper()
	d := auditedPods(t, n)
	d.run(t)
	return d
}

// runAudit runs caddy rollcall audit over pods, and returns the exit status.
func runAudit(t *testing.T, pods deployment, flags ...string) (status int, stdout, stderr string) {
	t.Helper()
	args := append([]string{"rollcall", "audit", "--host", auditHost, "--config", pods[0].file}, flags...)
	for _, p := range pods {
		args = append(args, "--pod", p.String()+"="+p.site.URL)
	}
	cmd := exec.Command(caddyPath, args...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	err := cmd.Run()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return ended.ExitCode(), out.String(), log.String()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, out.String(), log.String()
}

// lyingCaddy builds a Caddy that leaves the last user out of lists of all users.
func lyingCaddy(t *testing.T) string {
	t.Helper()
	const honest, lying = "Users: dc.Users}", "Users: dc.Users[:max(0, len(dc.Users)-1)]}"
	source, err := filepath.Abs("../../caddymodule/api/allusers.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), honest); n != 1 {
		t.Fatalf("%s has %q %d times, want once: change the lie with it", source, honest, n)
	}
	dir := t.TempDir()
	changed, overlay, binary := filepath.Join(dir, "allusers.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "caddy")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {source: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{changed: strings.Replace(string(text), honest, lying, 1), overlay: string(replace)} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", binary, "../caddy").CombinedOutput(); err != nil {
		t.Fatalf("building Caddy: %v\n%s", err, out)
	}
	return binary
}

// TestAudit runs the command over three pods, to which nothing happens.
func TestAudit(t *testing.T) {
	t.Parallel()
	pods := deployAudited(t, 3)
	t.Run("a calm run finds nothing", func(t *testing.T) {
		t.Parallel()
		status, out, log := runAudit(t, pods, "--duration", "8s", "--json")
		var r audit.Report
		if err := json.Unmarshal([]byte(out), &r); err != nil || status != 0 || len(r.Pods) != len(pods) || len(r.Findings) != 0 {
			t.Fatalf("status %d, %v\n%s\n%s", status, err, out, log)
		}
		for _, p := range r.Pods {
			f, m := p.Frames, p.Messages
			if p.Answers.Complete < 10 || f.InTime < 10 || m.Delivered < 10 {
				t.Errorf("too little was tested: %+v", p)
			}
			if p.Answers.Wrong+p.Answers.Incomplete+p.Answers.None != 0 || p.GhostSeconds+p.MissingSeconds != 0 {
				t.Errorf("answers: %+v", p)
			}
			if f.Missing+f.False != 0 || m.Lost+m.Duplicates+m.Reordered != 0 { // a busy machine makes some late
				t.Errorf("frames and messages: %+v", p)
			}
		}
	})
	t.Run("a pod under another name is refused", func(t *testing.T) {
		t.Parallel()
		status, _, log := runAudit(t, pods[:1], "--pod", "us-east/pod-2="+pods[1].site.URL, "--duration", "1s")
		if want := `the pod is in the data center \"eu-west\"`; status != 2 || !strings.Contains(log, want) {
			t.Errorf("status %d, want 2 and %s in\n%s", status, want, log)
		}
	})
	t.Run("an unknown flag is refused", func(t *testing.T) {
		t.Parallel()
		if status, _, log := runAudit(t, pods, "--user", "1"); status != 2 || !strings.Contains(log, "unknown flag") {
			t.Errorf("status %d, want 2\n%s", status, log)
		}
	})
}

// TestAuditFindsALie runs the command over three pods, one of which is a build that drops a user.
func TestAuditFindsALie(t *testing.T) {
	t.Parallel()
	pods := auditedPods(t, 3)
	pods[0].setup.binary = lyingCaddy(t)
	pods.run(t)
	status, out, log := runAudit(t, pods, "--duration", "5s", "--users", "3")
	// The last user is the watcher of the last pod.
	want := regexp.MustCompile(`eu-west/pod-1: the list of all users lacks audit-\S*watcher-3\b`)
	if status != 1 || !want.MatchString(out) || !strings.Contains(out, "complete answers are wrong") {
		t.Errorf("status %d, want 1 and %s in\n%s\n%s", status, want, out, log)
	}
	if strings.Contains(out, "eu-west/pod-2: the") || strings.Contains(out, "eu-west/pod-3: the") {
		t.Errorf("an honest pod is blamed:\n%s", out)
	}
}
