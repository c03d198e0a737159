package browser

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/test/internal/process"
)

// TestPageOfThePluginTutorial opens the page in the first Caddyfile of docs/plugins.md. Its script
// must join the channel that the rest of the tutorial lists; test/docs runs the rest.
func TestPageOfThePluginTutorial(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs/plugins.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindSubmatch(text)
	url := regexp.MustCompile("`(http://localhost:8080/[^`]*)` in a browser").FindSubmatch(text)
	if block == nil || url == nil {
		t.Fatal("docs/plugins.md has no Caddyfile, or no address to open")
	}
	_, port, _ := net.SplitHostPort(loopback.AddressFor(t))
	local := func(text []byte) string { return strings.ReplaceAll(string(text), "localhost:8080", "localhost:"+port) }
	dir := t.TempDir()
	file := filepath.Join(dir, "Caddyfile")
	config := "{\n\tadmin off\n\tpersist_config off\n}\n" + local(block[1])
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Getenv("ROLLCALL_CADDY"), "run", "--config", file, "--adapter", "caddyfile")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), process.Home(dir)...)
	process.Start(t, cmd, func() error {
		resp, err := http.Get("http://localhost:" + port + "/")
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	ctx, cancel := chromedp.NewContext(newBrowser(t))
	t.Cleanup(cancel)
	p := page{t, ctx}
	if err := chromedp.Do(ctx); err != nil { // without a timeout, which would end the tab
		t.Fatal(err)
	}
	p.run(chromedp.Navigate(local(url[1])))
	testkit.Eventually(t, "Ada to be listed", func() bool {
		resp, err := http.Post("http://localhost:"+port+"/message/users", "application/json",
			strings.NewReader(`{"apiKey": "demo-key", "channel": "salesRoom"}`))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		return err == nil && string(answer) == `{"salesRoom":[{"id":"ada","email":"ada@example.com"}]}`
	})
}
