package browser

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/test/internal/process"
)

// toasts is what the lines of the page about events need.
const toasts = `import { useEffect } from "react";
import { usePresence } from "rollcall-client/react";
const toast = (text) => logged.push(text);
export default function Toasts() {
`

// checkGuide makes the project of docs/clients.md from the files that the page shows, lets Vite
// serve it for development, and does what the page says. The page of the package's README is beside
// it.
func checkGuide(t *testing.T, d demo, browser context.Context, installed string) {
	project := newProject(t, installed, "testdata/vite", "react", "react-dom", "vite", "@vitejs/plugin-react")
	config := snippets(t, "docs/clients.md", "js")[0]
	if !strings.Contains(config, `"http://localhost:8080"`) {
		t.Fatal("the page configures another server than http://localhost:8080")
	}
	for name, text := range map[string]string{
		"vite.config.js": strings.Replace(config, "http://localhost:8080", d.url, 1),
		"src/App.jsx":    snippets(t, "docs/clients.md", "jsx")[0],
		"src/page.js":    snippets(t, "clients/js/README.md", "js")[0],
		"src/Readme.jsx": snippets(t, "clients/js/README.md", "jsx")[0],
		"src/Toasts.jsx": toasts + snippets(t, "docs/clients.md", "jsx")[1] + "return null;\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(project, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, port, _ := net.SplitHostPort(loopback.AddressFor(t))
	at := "http://localhost:" + port
	vite := filepath.Join(packages(t), "vite/bin/vite.js")
	cmd := exec.Command("node", vite, "--host", "localhost", "--port", port, "--strictPort")
	cmd.Dir = project
	process.Start(t, cmd, func() error {
		resp, err := http.Get(at)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})

	shows := func(p page, want ...string) {
		t.Helper()
		p.waitFor(strings.Join(want, ", "), fmt.Sprintf(
			`[...document.querySelectorAll("li")].map((li) => li.textContent).sort().join() === %q`, strings.Join(want, ",")))
	}
	ada, grace := openTab(t, browser, at+"/?user=ada"), openTab(t, browser, at+"/?user=grace")
	for _, p := range []page{ada, grace} {
		shows(p, "a***@example.com", "g***@example.com")
	}
	ada.waitFor("the user", `document.body.textContent.includes("You are ada.")`)
	grace.run(chromedp.SendKeys("input", "hello"))
	grace.run(chromedp.Click("button"))
	for _, p := range []page{ada, grace} {
		shows(p, "a***@example.com", "g***@example.com", "grace: hello")
	}
	grace.waitFor("the field to be empty", `document.querySelector("input").value === ""`)
	grace.close()
	shows(ada, "a***@example.com", "grace: hello")

	readme := openTab(t, browser, at+"/readme.html")
	readme.waitFor("the page of the README", `globalThis.logged?.includes("2 ada,joan") && logged.includes("ada hello")`)
	readme.waitFor("its hooks", `document.querySelector("ul")?.textContent === "adajoan" && document.querySelector("p").textContent === "open"`)
	readme.run(chromedp.Click("button"))
	readme.waitFor("a message", `document.querySelector("pre").textContent.endsWith("hello")`)
	openTab(t, browser, at+"/?user=grace")
	readme.waitFor("an event", `logged.includes("grace is here")`)
}
