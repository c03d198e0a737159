package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// overlaps returns the texts of the page that cover one another or are cut off by the window. Texts
// that overflow hides do not count.
const overlaps = `(() => {
	const shown = [];
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n; (n = walker.nextNode());) {
		if (!n.data.trim() || n.parentElement.closest('script, noscript, option, .sr') || !n.parentElement.checkVisibility()) continue;
		const range = document.createRange();
		range.selectNodeContents(n);
		for (let { left, right, top, bottom } of range.getClientRects()) {
			for (let e = n.parentElement; e && e !== document.body; e = e.parentElement) {
				if (getComputedStyle(e).overflow === 'visible') continue;
				const clip = e.getBoundingClientRect();
				left = Math.max(left, clip.left); right = Math.min(right, clip.right);
				top = Math.max(top, clip.top); bottom = Math.min(bottom, clip.bottom);
			}
			if (right - left > 1 && bottom - top > 1) shown.push({ n, text: n.data.trim().slice(0, 40), left, right, top, bottom, bar: !!n.parentElement.closest('.bar') });
		}
	}
	const found = [];
	for (const [i, a] of shown.entries()) {
		if (a.left < 0 || a.right > innerWidth) found.push(a.text + ' is outside of the window');
		for (const b of shown.slice(i + 1)) {
			if (a.n === b.n || a.bar || b.bar) continue; // the bar stays where it is when the page is scrolled
			const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
			const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
			if (width > 2 && height > 4) found.push(a.text + ' covers ' + b.text);
		}
	}
	return found.join('\n');
})()`

// TestDemoFitsAPhone uses the longest names everywhere: they must neither cover others nor widen
// the page.
func TestDemoFitsAPhone(t *testing.T) {
	d := startDemo(t, false)
	browser := newBrowser(t)
	name := strings.Repeat("averyverylongname", 3)
	joined := []string{"room-of-26-characters-long", "anonymous-" + strings.Repeat("room", 50), strings.Repeat("W", 255), "salesRoom"}
	p := open(t, browser, d.url+"/#name="+name+"&join="+strings.Join(joined, ","))
	visitor := open(t, browser, d.url+"/?visitor#join="+strings.Join(joined, ","))
	p.waitForMembers("salesRoom", name)
	visitor.waitFor("the refusal", `document.querySelector('[data-testid="channel-salesRoom"]').dataset.kind === 'refused'`)
	p.run(chromedp.SendKeys(`[data-testid="say-salesRoom"]`, strings.Repeat("endless", 30)))
	p.click("send-salesRoom")
	p.waitFor("the line", `document.querySelector('[data-testid="lines-salesRoom"] .said')`)

	for who, page := range map[string]page{"user": p, "visitor": visitor} {
		for _, width := range []int64{1440, 390, 320} {
			for _, scheme := range []string{"light", "dark"} {
				page.run(chromedp.EmulateViewport(width, 844))
				prefer(page, scheme)
				at := fmt.Sprintf("%s, %d pixels, %s", who, width, scheme)
				if found := get(page, chromedp.Evaluate[string](overlaps)); found != "" {
					t.Errorf("%s:\n%s", at, found)
				}
				if wide := get(page, chromedp.Evaluate[int](`document.documentElement.scrollWidth - innerWidth`)); wide > 0 {
					t.Errorf("%s: the page is %d pixels too wide", at, wide)
				}
				keep(t, page, fmt.Sprintf("phone-%s-%d-%s.png", who, width, scheme), chromedp.FullScreenshot(100))
			}
		}
	}
}

// prefer sets the color scheme of the system: light or dark.
func prefer(p page, scheme string) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// keep writes a picture of the page if ROLLCALL_SCREENSHOTS names a folder.
func keep(t *testing.T, p page, name string, picture chromedp.Action[[]byte]) {
	t.Helper()
	if os.Getenv("ROLLCALL_SCREENSHOTS") != "" {
		save(t, name, get(p, picture))
	}
}

func save(t *testing.T, name string, picture []byte) {
	t.Helper()
	if dir := os.Getenv("ROLLCALL_SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name), picture, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPicture makes the moving picture of the README, docs/images/demo.png, with the address of
// make run: Ada's page while Grace comes, talks and goes.
func TestPicture(t *testing.T) {
	d := startDemo(t, false)
	const address = "http://localhost:8080"
	browser := newBrowser(t, chromedp.Flag("host-resolver-rules", "MAP localhost:8080 "+strings.TrimPrefix(d.url, "http://")))
	ada := open(t, browser, address+"/#name=Ada&join=salesRoom")
	ada.run(chromedp.EmulateViewport(1240, 760))
	var stills []still
	take := func(lasts time.Duration, members ...string) {
		t.Helper()
		ada.waitForMembers("salesRoom", members...)
		ada.waitFor("the answer", fmt.Sprintf(
			`JSON.parse(document.querySelector('[data-testid=users-answer]').textContent).salesRoom.length === %d`, len(members)))
		ada.waitFor("new entries to lose their color", `document.getAnimations().length === 0`)
		ada.run(chromedp.Evaluate[chromedp.Void](`scrollTo(0, document.querySelector('[data-testid=channel-salesRoom]').getBoundingClientRect().top + scrollY - 218)`))
		stills = append(stills, still{get(ada, chromedp.CaptureScreenshot()), lasts})
	}
	say := func(p page, text string) {
		t.Helper()
		p.run(chromedp.SendKeys(`[data-testid="say-salesRoom"]`, text))
		p.click("send-salesRoom")
		ada.waitFor("the line", fmt.Sprintf(
			`[...document.querySelectorAll('[data-testid="lines-salesRoom"] .said')].at(-1).textContent.endsWith(%q)`, text))
	}

	take(1500*time.Millisecond, "ada")
	grace := open(t, browser, address+"/#name=Grace&join=salesRoom")
	take(1500*time.Millisecond, "ada", "grace")
	say(grace, "Is the new price list out?")
	take(1500*time.Millisecond, "ada", "grace")
	say(ada, "Since this morning")
	take(2*time.Second, "ada", "grace")
	grace.close()
	take(2*time.Second, "ada")

	commands := get(ada, chromedp.Evaluate[string](`[...document.querySelectorAll('.command')].map((e) => e.textContent).join('\n')`))
	if n := strings.Count(commands, address+"/message/"); n != 2 {
		t.Errorf("the page shows the commands %q, want two of %s", commands, address)
	}
	moving := animate(t, stills)
	if most := 300_000; len(moving) > most {
		t.Errorf("the picture has %d bytes, want at most %d", len(moving), most)
	}
	save(t, "demo.png", moving)
}
