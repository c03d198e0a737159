package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
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

// deployAudited runs pods that have the site for audits too.
func deployAudited(t *testing.T, n int) deployment {
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
	d.run(t)
	return d
}

// runAudit runs caddy rollcall audit over pods, some of them at other URLs. It returns the exit
// status.
func runAudit(t *testing.T, pods deployment, urls map[*pod]string, flags ...string) (status int, stdout, stderr string) {
	t.Helper()
	args := append([]string{"rollcall", "audit", "--host", auditHost, "--config", pods[0].file}, flags...)
	for _, p := range pods {
		at := p.site.URL
		if other := urls[p]; other != "" {
			at = other
		}
		args = append(args, "--pod", p.String()+"="+at)
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

// liar is a proxy before a pod, which drops the watcher of the second pod from lists of all users.
func liar(t *testing.T, p *pod) string {
	t.Helper()
	to, err := url.Parse(p.site.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(r *http.Response) error {
			if !strings.HasSuffix(r.Request.URL.Path, "/allusers") {
				return nil
			}
			raw, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			raw, err = withoutUser(raw, "watcher-2")
			r.Body = io.NopCloser(bytes.NewReader(raw))
			r.ContentLength = int64(len(raw))
			r.Header.Set("Content-Length", strconv.Itoa(len(raw)))
			return err
		},
	}
	s := httptest.NewServer(proxy)
	t.Cleanup(s.Close)
	return s.URL
}

// withoutUser removes users whose ID ends so from an answer of /message/allusers.
func withoutUser(answer []byte, end string) ([]byte, error) {
	var dcs map[string]map[string]any
	if err := json.Unmarshal(answer, &dcs); err != nil {
		return nil, err
	}
	for _, dc := range dcs {
		if list, ok := dc["authenticated"].([]any); ok { // all of them: another audit of the pods can have one, too
			dc["authenticated"] = slices.DeleteFunc(list, func(u any) bool {
				return strings.HasSuffix(u.(map[string]any)["id"].(string), end)
			})
		}
	}
	return json.Marshal(dcs)
}

// TestAudit runs the command over three pods: nothing happens to them, and one of them is made to
// lie.
func TestAudit(t *testing.T) {
	t.Parallel()
	pods := deployAudited(t, 3)
	t.Run("a calm run finds nothing", func(t *testing.T) {
		t.Parallel()
		status, out, log := runAudit(t, pods, nil, "--duration", "8s", "--json")
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
	t.Run("a pod that lies is found", func(t *testing.T) {
		t.Parallel()
		status, out, log := runAudit(t, pods, map[*pod]string{pods[0]: liar(t, pods[0])}, "--duration", "5s", "--users", "3")
		want := "eu-west/pod-1: the list of all users lacks audit-"
		if status != 1 || !strings.Contains(out, want) || strings.Contains(out, "eu-west/pod-2: the") || !strings.Contains(out, "complete answers are wrong") {
			t.Errorf("status %d, want 1 and %q in\n%s\n%s", status, want, out, log)
		}
	})
	t.Run("a pod under another name is refused", func(t *testing.T) {
		t.Parallel()
		status, _, log := runAudit(t, pods[:1], nil, "--pod", "us-east/pod-2="+pods[1].site.URL, "--duration", "1s")
		if want := `the pod is in the data center \"eu-west\"`; status != 2 || !strings.Contains(log, want) {
			t.Errorf("status %d, want 2 and %s in\n%s", status, want, log)
		}
	})
	t.Run("an unknown flag is refused", func(t *testing.T) {
		t.Parallel()
		if status, _, log := runAudit(t, pods, nil, "--user", "1"); status != 2 || !strings.Contains(log, "unknown flag") {
			t.Errorf("status %d, want 2\n%s", status, log)
		}
	})
}
