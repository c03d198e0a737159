package browser

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// TestConsoleOfACrowd opens the console of a pod with 5,000 connections in 500 channels. Its lists
// stay as short as with few, and the page does not grow while it is open.
func TestConsoleOfACrowd(t *testing.T) {
	const channels = 500
	const conns = 5100 // a plugin that is busy refuses some
	d := startDemo(t, false)
	url := "ws" + strings.TrimPrefix(d.url, "http") + "/message/socket"
	c := openConsole(t, newBrowser(t), d.url)
	var all sync.WaitGroup
	for worker := range 20 {
		all.Go(func() {
			for i := worker; i < conns; i += 20 {
				conn, resp := ws.Open(t, ws.Request{URL: url})
				if conn == nil {
					t.Errorf("connection %d: status %s", i, resp.Status)
					return
				}
				if err := conn.WriteMessage(1, fmt.Appendf(nil, `{"type":"join","channel":"lobby-%d"}`, i%channels)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	if all.Wait(); t.Failed() {
		return
	}
	c.waitFor("5,000 connections", `/\b5,\d{3}\b/.test(main.innerText)`)
	heap := func() int { return get(c.page, chromedp.Evaluate[int](`performance.memory.usedJSHeapSize / 1024 | 0`)) }
	for _, view := range []struct{ name, address, text string }{
		{"channels", "#/host/localhost", "lobby-0"},
		{"one channel", "#/host/localhost/channel/lobby-7", "lobby-7"},
	} {
		began := time.Now()
		c.show(view.address)
		c.has(view.text)
		t.Attr(strings.ReplaceAll(view.name, " ", "-"), time.Since(began).Round(time.Millisecond).String())
		if rows := get(c.page, chromedp.Evaluate[int](`document.querySelectorAll("tbody tr").length`)); rows > 51 { // and one of the pod
			t.Errorf("%s: %d rows", view.name, rows)
		}
	}
	c.show("#/host/localhost")
	elements := `document.querySelectorAll("*").length`
	before, atFirst := get(c.page, chromedp.Evaluate[int](elements)), heap()
	for range 5 { // each is another snapshot
		c.run(chromedp.Evaluate[chromedp.Void](`window.shown = main.innerText`))
		for range 10 {
			ws.Open(t, ws.Request{URL: url})
		}
		c.waitFor("another snapshot", `main.innerText !== shown`)
	}
	if after := get(c.page, chromedp.Evaluate[int](elements)); after > before+10 {
		t.Errorf("the page has grown from %d to %d elements", before, after)
	}
	t.Attr("heap", fmt.Sprintf("%d KiB, then %d KiB", atFirst, heap()))
}
