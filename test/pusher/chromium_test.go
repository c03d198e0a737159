package pusher

import (
	"context"
	"encoding/json"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// newPage opens a page of the backend in a headless Chromium of its own.
func newPage(t *testing.T, backend string) script {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("Chromium is not installed: run make deps")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // tests run as root
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-component-update", true),
		chromedp.WSURLReadTimeout(60*time.Second),
	)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // without a timeout, which would end the tab
		t.Fatalf("starting Chromium: %v", err)
	}
	if _, err := chromedp.Run(ctx, chromedp.Navigate(backend+"/page")); err != nil {
		t.Fatal(err)
	}
	return script{t, func(expression string) (string, error) {
		value, err := chromedp.Run(ctx, chromedp.Evaluate[json.RawMessage]("("+expression+") ?? null"))
		return string(value), err
	}}
}
