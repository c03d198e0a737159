package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const good = `# comment
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: web
spec:
  serviceName: web
  selector:
    matchLabels: { app: web }
  template:
    metadata:
      labels: { app: web }
    spec:
      containers:
        - name: caddy
          resources:
            limits: { memory: 1Gi, cpu: 1.5 }
          readinessProbe:
            httpGet: { path: /, port: http }
---
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  ports:
    - port: 80
      targetPort: 8080
`

func TestRun(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		code           int
		says           string
	}{
		{"good", "", "", 0, "2 objects"},
		{"unknown field", "serviceName:", "servicename:", 1, "servicename"},
		{"field of something else", "readinessProbe:", "readyProbe:", 1, "readyProbe"},
		{"missing field", "  serviceName: web\n", "", 1, "serviceName"},
		{"wrong type", "port: 80\n", "port: eighty\n", 1, "want integer"},
		{"list instead of object", "matchLabels: { app: web }", "matchLabels: [app]", 1, "want object"},
		{"no quantity", "memory: 1Gi", "memory: 1 GB", 1, "pattern"},
		{"key that stands twice", "kind: Service", "kind: Service\nkind: Service", 1, "already defined"},
		{"unknown kind", "kind: Service", "kind: Servce", 1, "no such kind"},
		{"kind of another group", "kind: Service", "kind: StatefulSet", 1, "no such kind"},
		{"unknown version", "apps/v1", "apps/v9", 1, "apps/v9"},
		{"version that is a path", "apps/v1", "../../1.30/apis/apps/v1", 1, "not a version"},
		{"no name", "metadata:\n  name: web\nspec:\n  ports", "spec:\n  ports", 1, "without"},
		{"no object", good, "just text", 1, "without"},
		{"no YAML", "kind: Service", "kind: [", 1, "yaml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(good, c.old) {
				t.Fatalf("the manifest has no %q", c.old)
			}
			text := good
			if c.old != "" {
				text = strings.Replace(good, c.old, c.new, 1)
			}
			file := filepath.Join(t.TempDir(), "web.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var stdout, stderr bytes.Buffer
			if code := run([]string{file}, &stdout, &stderr); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if said := stdout.String() + stderr.String(); !strings.Contains(said, c.says) {
				t.Errorf("said %q, want %q in it", said, c.says)
			}
		})
	}
}

func TestRunPrintsObjects(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yaml")
	if err := os.WriteFile(file, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if code := run([]string{"-json", file}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	var objects []struct{ Kind string }
	if err := json.Unmarshal(stdout.Bytes(), &objects); err != nil {
		t.Fatal(err)
	}
	if len(objects) != 2 || objects[0].Kind != "StatefulSet" || objects[1].Kind != "Service" {
		t.Errorf("printed %+v", objects)
	}
}

func TestRunRefusesArguments(t *testing.T) {
	for _, args := range [][]string{nil, {"-unknown"}} {
		if code := run(args, new(bytes.Buffer), new(bytes.Buffer)); code != exitBadInput {
			t.Errorf("%q: exit code %d, want %d", args, code, exitBadInput)
		}
	}
	var stderr bytes.Buffer
	if code := run([]string{filepath.Join(t.TempDir(), "none.yaml")}, new(bytes.Buffer), &stderr); code != exitWrong {
		t.Errorf("a file that is not there: exit code %d, want %d: %s", code, exitWrong, stderr.String())
	}
}
