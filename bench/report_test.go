package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPictureIsXMLWithAllBars(t *testing.T) {
	p := newPanel("less < more & more")
	p.add("**ours**", 1)
	p.add("theirs", 4)
	p.add("not measured", median(nil))
	picture := string(drawPanels([]*panel{p, newPanel("empty")}))
	d := xml.NewDecoder(strings.NewReader(picture))
	rects := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %s", err, picture)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "rect" {
			rects++
		}
	}
	if rects != 3 { // the background and two bars
		t.Errorf("%d rectangles in %s", rects, picture)
	}
}

func TestReportHasWhatItIncludesOneLevelLower(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other.md")
	if err := os.WriteFile(other, []byte("# Cluster\n\nA text.\n\n## A host\n\nA table.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var r report
	if err := r.include("Ten pods", other); err != nil {
		t.Fatal(err)
	}
	if err := r.write(dir, options{}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, reportFile))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(text), "\n## Ten pods\n\nA text.\n\n### A host\n\nA table.\n") {
		t.Errorf("the report is %s", text)
	}
	if _, err := os.Stat(filepath.Join(dir, plotFile)); err != nil {
		t.Error(err)
	}
}

func TestReportNamesTheVersionsThatAreMeasured(t *testing.T) {
	head := new(report).head(options{})
	lock, err := peerFiles.ReadFile("peers/package.json")
	if err != nil {
		t.Fatal(err)
	}
	var packages struct{ Dependencies map[string]string }
	if err := json.Unmarshal(lock, &packages); err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	centrifuge := regexp.MustCompile(`centrifugal/centrifuge v(\S+)`).FindSubmatch(module)
	versions := append(slices.Collect(maps.Values(packages.Dependencies)), string(centrifuge[1]))
	if len(versions) != 5 {
		t.Errorf("three peers and two adapters have versions, not %q", versions)
	}
	for _, version := range versions {
		if !strings.Contains(head, version) {
			t.Errorf("no version %s in %s", version, head)
		}
	}
}

func TestOptions(t *testing.T) {
	for name, test := range map[string]struct {
		args  string
		conns int // the first size
		fails bool
	}{
		"all defaults":              {"", 10_000, false},
		"quick":                     {"-quick", 2000, false},
		"quick, one of them chosen": {"-conns 5,6 --quick", 5, false},
		"no number":                 {"-conns x", 0, true},
		"a message too small":       {"-sizes 10", 0, true},
		"an argument":               {"quick", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := parseOptions(strings.Fields(test.args))
			if (err != nil) != test.fails || !test.fails && o.conns[0] != test.conns {
				t.Errorf("%v, %v", o.conns, err)
			}
		})
	}
}

func TestCommandLeavesOutPlaces(t *testing.T) {
	o, err := parseOptions(strings.Fields("-caddy /a/caddy -rounds 2 --output=/b -cluster /c -tenants /d -assign /e -quick"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := o.command(), "go run -C bench . -rounds 2 -quick"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestMessagesHaveTheirSizeAndOneMark(t *testing.T) {
	for _, size := range []int{50, 100, 1024} {
		if m := message(size); len(m) != size || strings.Count(m, "~") != 1 {
			t.Errorf("a message of %d bytes is %s", size, m)
		}
	}
}
