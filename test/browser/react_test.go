package browser

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// packages returns the folder with the npm packages of the tests.
func packages(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("ROLLCALL_BROWSER_NPM")
	if folder == "" {
		t.Fatal("ROLLCALL_BROWSER_NPM is not set: run make browser")
	}
	return filepath.Join(folder, "node_modules")
}

// bundle bundles a file of testdata with client.js, which it imports as "rollcall", and with npm
// packages, for development: React then runs each effect twice in strict mode.
func bundle(t *testing.T, file string) string {
	t.Helper()
	client, err := filepath.Abs(filepath.Join(root, "clients/js/rollcall.js"))
	if err != nil {
		t.Fatal(err)
	}
	var script, said bytes.Buffer
	cmd := exec.Command(os.Getenv("ROLLCALL_ESBUILD"), "--bundle", "--format=iife", "--jsx=automatic", "--external:/token.js",
		"--alias:rollcall="+client, `--define:process.env.NODE_ENV="development"`, filepath.Join("testdata", file))
	cmd.Env = append(os.Environ(), "NODE_PATH="+packages(t))
	cmd.Stdout, cmd.Stderr = &script, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("esbuild: %v\n%s", err, said.String())
	}
	return script.String()
}

// TestTwoComponentsOnOneChannel mounts, unmounts and mounts again: each component sees what it
// asked for, and one that leaves takes nothing from the other.
func TestTwoComponentsOnOneChannel(t *testing.T) {
	d := startDemo(t, false)
	p := openBlank(t, newBrowser(t), d.url)
	p.run(chromedp.Evaluate[chromedp.Void](bundle(t, "react.jsx") + "; void 0"))
	do := func(call string) { p.run(chromedp.Evaluate[chromedp.Void](`void ` + call)) }

	p.waitFor("both components", `text("members") === "ada" && text("count") === "1 0"`)
	if n := get(p, chromedp.Evaluate[int](`mounts()`)); n != 4 {
		t.Errorf("the effects of two components ran %d times, want 4: is strict mode on?", n)
	}
	do(`come("bob")`)
	p.waitFor("Bob in both", `text("members") === "ada,bob" && text("count") === "2 0"`)

	do(`show("count")`)
	p.waitFor("the list to be gone", `text("members") === undefined && rollcall.channels.get("salesRoom").presence === "count"`)
	do(`go("bob")`)
	p.waitFor("the count without Bob", `text("count") === "1 0"`)

	do(`show("members", "count")`)
	p.waitFor("the list again", `text("members") === "ada" && text("count") === "1 0"`)
	do(`show("members")`)
	p.waitFor("the count to be gone", `text("count") === undefined`)
	do(`come("carol")`)
	p.waitFor("Carol in the list", `text("members") === "ada,carol"`)

	do(`show()`)
	p.waitFor("the channel to be left", `rollcall.channels.size === 0 && rollcall.state === "open"`)
}
