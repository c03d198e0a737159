package examples

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

const kubernetes = "../../examples/kubernetes"

// manifests returns the files with Kubernetes objects.
func manifests(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(kubernetes, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(f string) bool { return filepath.Base(f) == "kustomization.yaml" })
	if len(files) < 5 {
		t.Fatalf("only %d manifests: %v", len(files), files)
	}
	return files
}

// newValidator builds the schema validator and returns a function that runs it.
func newValidator(t *testing.T) func(args ...string) (string, error) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "kubeschema")
	if out, err := exec.Command("go", "build", "-C", "../../tools/kubeschema", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("building kubeschema: %v\n%s", err, out)
	}
	return func(args ...string) (string, error) {
		out, err := exec.Command(binary, args...).CombinedOutput()
		return string(out), err
	}
}

// object has the fields of any object that the tests need.
type object struct {
	Kind     string
	Metadata struct {
		Name, Namespace string
		Labels          map[string]string
	}
	Data       map[string]string
	StringData map[string]string
	Spec       spec
}

type spec struct {
	Replicas                      int
	ServiceName                   string
	Selector                      json.RawMessage // of pods: labels, or an object with labels
	PodSelector                   selector
	ClusterIP                     string
	PublishNotReadyAddresses      bool
	Ports                         []struct{ TargetPort any }
	Template                      *object
	Containers                    []container
	TerminationGracePeriodSeconds int
	Volumes                       []struct {
		Name      string
		ConfigMap struct{ Name string }
		Secret    struct{ SecretName string }
	}
	TopologySpreadConstraints []struct{ LabelSelector selector }
	Ingress                   []struct {
		From  []struct{ PodSelector selector }
		Ports []struct{ Port any }
	}
}

type selector struct{ MatchLabels map[string]string }

type container struct {
	Args  []string
	Ports []struct {
		Name          string
		ContainerPort int
	}
	Env []struct {
		Name      string
		ValueFrom struct {
			ConfigMapKeyRef struct{ Name, Key string }
		}
	}
	ReadinessProbe, StartupProbe struct {
		HTTPGet struct{ Path, Port string }
	}
	Lifecycle struct {
		PreStop struct{ Sleep struct{ Seconds int } }
	}
	SecurityContext struct{ ReadOnlyRootFilesystem bool }
	VolumeMounts    []struct{ Name, MountPath string }
}

// find returns the object of a kind and name.
func find(t *testing.T, objects []object, kind, name string) object {
	t.Helper()
	for _, o := range objects {
		if o.Kind == kind && o.Metadata.Name == name {
			return o
		}
	}
	t.Fatalf("there is no %s %s", kind, name)
	return object{}
}

// readManifests checks the manifests against the schemas and returns their objects.
func readManifests(t *testing.T) []object {
	t.Helper()
	out, err := newValidator(t)(append([]string{"-json"}, manifests(t)...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var objects []object
	if err := json.Unmarshal([]byte(out), &objects); err != nil {
		t.Fatal(err)
	}
	return objects
}

// The validator refuses copies with a mistake.
func TestKubernetesMistakesAreRefused(t *testing.T) {
	validate := newValidator(t)
	for _, c := range []struct{ file, old, new string }{
		{"statefulset.yaml", "readOnlyRootFilesystem:", "readonlyRootFilesystem:"},
		{"statefulset.yaml", "topologyKey: kubernetes.io/hostname", "topology: kubernetes.io/hostname"},
		{"statefulset.yaml", "replicas: 3", "replicas: three"},
		{"statefulset.yaml", "limits: { memory: 1Gi }", "limits: { memory: 1 GiB }"},
		{"service.yaml", "publishNotReadyAddresses: true", "publishNotReadyAddresses: sure"},
		{"networkpolicy.yaml", "policyTypes: [Ingress]", "policyTypes: Ingress"},
		{"networkpolicy.yaml", "networking.k8s.io/v1", "networking.k8s.io/v2"},
		{"config.yaml", "data:\n  data-center", "dta:\n  data-center"},
		{"secret.yaml", "stringData:", "stringdata:"},
	} {
		t.Run(c.new, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(kubernetes, c.file))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), c.old) {
				t.Fatalf("%s has no %q", c.file, c.old)
			}
			file := filepath.Join(t.TempDir(), c.file)
			if err := os.WriteFile(file, []byte(strings.Replace(string(text), c.old, c.new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := validate(file); err == nil {
				t.Errorf("the mistake is accepted:\n%s", out)
			}
		})
	}
}

// Schemas do not cover references between objects.
func TestKubernetesObjectsFitTogether(t *testing.T) {
	objects := readManifests(t)
	for _, o := range objects {
		if o.Metadata.Namespace != "" {
			t.Errorf("%s %s names a namespace", o.Kind, o.Metadata.Name)
		}
	}
	set := find(t, objects, "StatefulSet", "rollcall").Spec
	pods := set.Template
	labels := fmt.Sprint(pods.Metadata.Labels)

	// Every selector matches these pods.
	var selectors []map[string]string
	for _, o := range objects {
		if o.Spec.Selector == nil {
			continue
		}
		var s selector
		if err := json.Unmarshal(o.Spec.Selector, &s); err != nil {
			t.Fatal(err)
		}
		if o.Kind == "Service" {
			if err := json.Unmarshal(o.Spec.Selector, &s.MatchLabels); err != nil {
				t.Fatal(err)
			}
		}
		selectors = append(selectors, s.MatchLabels)
	}
	policy := find(t, objects, "NetworkPolicy", "rollcall").Spec
	selectors = append(selectors, policy.PodSelector.MatchLabels)
	for _, c := range pods.Spec.TopologySpreadConstraints {
		selectors = append(selectors, c.LabelSelector.MatchLabels)
	}
	if len(selectors) != 7 {
		t.Errorf("%d selectors, want 7", len(selectors))
	}
	for _, s := range selectors {
		if fmt.Sprint(s) != labels {
			t.Errorf("a selector has %v, the pods have %v", s, labels)
		}
	}

	// Ports, by name.
	caddy := pods.Spec.Containers[0]
	ports := make(map[string]int)
	for _, p := range caddy.Ports {
		ports[p.Name] = p.ContainerPort
	}
	var used []any
	for _, name := range []string{"rollcall", "rollcall-pods"} {
		for _, p := range find(t, objects, "Service", name).Spec.Ports {
			used = append(used, p.TargetPort)
		}
	}
	for _, rule := range policy.Ingress {
		for _, p := range rule.Ports {
			used = append(used, p.Port)
			only := len(rule.From) == 1 && fmt.Sprint(rule.From[0].PodSelector.MatchLabels) == labels
			if p.Port == "routes" && !only {
				t.Error("the routes can be reached from outside of the pods")
			}
		}
	}
	for _, probe := range []struct{ Path, Port string }{caddy.ReadinessProbe.HTTPGet, caddy.StartupProbe.HTTPGet} {
		used = append(used, probe.Port)
		if probe.Path != "/rollcall/health" {
			t.Errorf("a probe asks %q", probe.Path)
		}
	}
	for _, name := range used {
		if s, ok := name.(string); !ok || ports[s] == 0 {
			t.Errorf("the port %v is not one of %v", name, ports)
		}
	}

	// The headless Service names the pods that the Caddyfile has routes to.
	headless := find(t, objects, "Service", set.ServiceName).Spec
	if headless.ClusterIP != "None" || !headless.PublishNotReadyAddresses {
		t.Errorf("%s is not headless with all pods: %+v", set.ServiceName, headless)
	}
	caddyfile := find(t, objects, "ConfigMap", "rollcall").Data["Caddyfile"]
	routes := "routes"
	for i := range set.Replicas {
		routes += fmt.Sprintf(" rollcall-%d.%s:%d", i, set.ServiceName, ports["routes"])
	}
	for _, want := range []string{
		routes + "\n", fmt.Sprintf("listen {env.POD_IP}:%d\n", ports["routes"]),
		fmt.Sprintf("http://portal.example.com:%d {", ports["http"]), fmt.Sprintf("\n:%d {", ports["probes"]),
	} {
		if !strings.Contains(caddyfile, want) {
			t.Errorf("the Caddyfile has no %q", want)
		}
	}

	// Environment, volumes and files.
	for _, e := range caddy.Env {
		if ref := e.ValueFrom.ConfigMapKeyRef; ref.Name != "" && find(t, objects, "ConfigMap", ref.Name).Data[ref.Key] == "" {
			t.Errorf("%s refers to %s in %s, which is missing", e.Name, ref.Key, ref.Name)
		}
	}
	volumes := make(map[string]bool)
	for _, v := range pods.Spec.Volumes {
		volumes[v.Name] = true
		if v.ConfigMap.Name != "" {
			find(t, objects, "ConfigMap", v.ConfigMap.Name)
		}
		if v.Secret.SecretName != "" {
			secret := find(t, objects, "Secret", v.Secret.SecretName)
			for key := range secret.StringData {
				if !strings.Contains(caddyfile, "{file./etc/rollcall/secrets/"+key+"}") {
					t.Errorf("the Caddyfile does not use %s", key)
				}
			}
		}
	}
	for _, m := range caddy.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("%s is mounted, but there is no such volume", m.Name)
		}
	}
	if !caddy.SecurityContext.ReadOnlyRootFilesystem {
		t.Error("the root file system is writable")
	}

	// Kubernetes kills a pod that has not stopped by then.
	needed := time.Duration(caddy.Lifecycle.PreStop.Sleep.Seconds) * time.Second
	if needed == 0 {
		t.Error("preStop does not wait")
	}
	for line := range strings.Lines(caddyfile) {
		option, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if option == "drain_timeout" || option == "grace_period" {
			d, err := time.ParseDuration(value)
			if err != nil {
				t.Error(err)
			}
			needed += d
		}
	}
	if given := time.Duration(pods.Spec.TerminationGracePeriodSeconds) * time.Second; given < needed+10*time.Second {
		t.Errorf("terminationGracePeriodSeconds is %s, stopping takes up to %s", given, needed)
	}

	checkKustomization(t)
}

// checkKustomization compares the list with the files.
func checkKustomization(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(kubernetes, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range manifests(t) {
		name := filepath.Base(f)
		if got, want := strings.Contains(string(text), "  - "+name+"\n"), name != "secret.yaml"; got != want {
			t.Errorf("%s in kustomization.yaml: %t, want %t", name, got, want)
		}
	}
}

// pod is the Caddyfile of the ConfigMap, with files and ports of this machine.
type pod struct {
	home, file         string
	caddyfile          string
	http, probe, admin string // host and port
	env                []string
}

// newPod writes the files, with one secret for all.
func newPod(t *testing.T, secret string) *pod {
	t.Helper()
	original := find(t, readManifests(t), "ConfigMap", "rollcall").Data["Caddyfile"]
	p := &pod{home: t.TempDir(), http: loopback.AddressFor(t), probe: loopback.AddressFor(t), admin: loopback.AddressFor(t)}
	_, routes, _ := net.SplitHostPort(loopback.AddressFor(t))
	secrets := filepath.Join(p.home, "secrets")
	if err := os.Mkdir(secrets, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cluster-secret", "api-key", "jwt-key"} {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, httpPort, _ := net.SplitHostPort(p.http)
	p.caddyfile = strings.NewReplacer(
		"/etc/rollcall/secrets", secrets,
		"portal.example.com:8080", "portal.example.com:"+httpPort,
		"\n:8081 {", "\nhttp://"+p.probe+" {",
		"localhost:2019", p.admin,
		"{\n\t# The admin", "{\n\tadmin "+p.admin+"\n\t# The admin",
		"rollcall-0.rollcall-pods:6222 rollcall-1.rollcall-pods:6222 rollcall-2.rollcall-pods:6222", "127.0.0.1:"+routes,
		":6222", ":"+routes,
	).Replace(original)
	p.file = filepath.Join(p.home, "Caddyfile")
	if err := os.WriteFile(p.file, []byte(p.caddyfile), 0o600); err != nil {
		t.Fatal(err)
	}
	p.env = append(os.Environ(), "XDG_DATA_HOME="+p.home, "XDG_CONFIG_HOME="+p.home,
		"POD_NAME=rollcall-0", "POD_IP=127.0.0.1", "DATA_CENTER=us-east-1")
	return p
}

func (p *pod) caddy(args ...string) (string, error) {
	cmd := exec.Command(caddyPath, args...)
	cmd.Env = p.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestKubernetesCaddyfile(t *testing.T) {
	p := newPod(t, strings.Repeat("0123456789abcdef", 4))
	if out, err := p.caddy("validate", "--config", p.file, "--adapter", "caddyfile"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := p.caddy("fmt", "--diff", p.file); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// No pod starts with the Secret in the repository.
func TestKubernetesPlaceholderSecretIsRefused(t *testing.T) {
	secret := find(t, readManifests(t), "Secret", "rollcall")
	if len(secret.StringData) != 3 {
		t.Errorf("the Secret has %v", secret.StringData)
	}
	for key, value := range secret.StringData {
		if value != "" {
			t.Errorf("%s is not empty", key)
		}
	}
	p := newPod(t, "")
	out, err := p.caddy("validate", "--config", p.file, "--adapter", "caddyfile")
	if err == nil || !strings.Contains(out, "empty") {
		t.Errorf("want an error about an empty secret, got %v\n%s", err, out)
	}
}

// The probes reach only the health endpoint of the admin API.
func TestKubernetesProbe(t *testing.T) {
	p := newPod(t, strings.Repeat("0123456789abcdef", 4))
	e := &example{address: p.probe}
	for _, variable := range p.env[len(p.env)-3:] {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	e.run(t, p.home, p.home, p.file)
	key := strings.Repeat("0123456789abcdef", 4)
	site := ws.Site{URL: "http://" + p.http, Host: "portal.example.com", Key: key}
	ws.Poll(t, ws.Patience, func() error { // a pod waits for other pods first
		a, err := site.Do(http.MethodPost, "/message/allusers", "{}", "X-Api-Key", key)
		if err == nil && a.Header.Get("Rollcall-Complete") != "true" {
			err = fmt.Errorf("status %d: %v", a.Status, a.Header)
		}
		return err
	})
	site.Expect(t, "allusers", `{}`, `{"us-east-1":{"authenticated":0,"anonymous":0},"_total":{"authenticated":0,"anonymous":0}}`)

	probes := ws.Site{URL: "http://" + p.probe}
	a := probes.Request(t, http.MethodGet, "/rollcall/health", "")
	if a.Status != http.StatusOK || !strings.Contains(a.Body, `"data_center":"us-east-1","pod":"rollcall-0"`) {
		t.Errorf("status %d: %s", a.Status, a.Body)
	}
	for _, c := range []struct{ method, path string }{
		{http.MethodGet, "/config/"},
		{http.MethodGet, "/rollcall/hosts"},
		{http.MethodGet, "/"},
		{http.MethodPost, "/load"},
		{http.MethodPost, "/stop"},
		{http.MethodGet, "/rollcall/health/../../config/"},
		{http.MethodGet, "//config/"},
		{http.MethodPost, "/rollcall/health/../stop"},
	} {
		if a := probes.Request(t, c.method, c.path, "{}"); a.Status != http.StatusNotFound {
			t.Errorf("%s %s: status %d: %s", c.method, c.path, a.Status, a.Body)
		}
	}
	// All of these become the one allowed request.
	for _, c := range []struct{ method, path string }{
		{http.MethodPost, "/rollcall/health"},
		{http.MethodGet, "/config/../rollcall/health"},
		{http.MethodDelete, "/config/%2e%2e/rollcall/health"},
		{http.MethodGet, "/rollcall/health?x=/config/"},
	} {
		a := probes.Request(t, c.method, c.path, "{}")
		if a.Status != http.StatusOK || !strings.Contains(a.Body, `"status":"ok"`) {
			t.Errorf("%s %s: status %d: %s", c.method, c.path, a.Status, a.Body)
		}
	}
}
