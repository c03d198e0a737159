package browser

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
)

// Without a fragment, the demo opens in company; the panel of the backend sends, assigns and
// disconnects.
func TestDemoOpensInCompany(t *testing.T) {
	d := startDemo(t, false)
	browser := newBrowser(t)
	p := open(t, browser, d.url+"/")
	p.waitForMembers("salesRoom", "ada", "dot", "pip")
	p.waitFor("the names and marks", `[...document.querySelectorAll('[data-testid="members-salesRoom"] .name')]
		.map((e) => e.textContent).join() === 'Ada Lovelace,Dotbot,Pipbot'`)
	p.waitFor("the portraits", `[...document.querySelectorAll('[data-testid="members-salesRoom"] img')].filter((e) => e.complete && e.naturalWidth).length === 3`)
	p.waitFor("the welcome", `document.querySelector('[data-testid="lines-salesRoom"] [data-from="pip"]').textContent.includes('Hello Ada Lovelace')`)
	p.run(chromedp.SendKeys(`[data-testid="say-salesRoom"]`, "who are you?"))
	p.click("send-salesRoom")
	p.waitFor("an answer", `document.querySelector('[data-testid="lines-salesRoom"] [data-from="dot"]')`)

	// Another tab of the browser brings no bots of its own. It gets the welcome of those that are
	// there.
	second := open(t, browser, d.url+"/?second")
	second.waitForMembers("salesRoom", "ada", "dot", "pip")
	grace := open(t, browser, d.url+"/?third#name=Grace&join=salesRoom")
	grace.waitFor("one welcome", `[...document.querySelectorAll('[data-testid="lines-salesRoom"] .said')].filter((e) => e.textContent.includes('Hello Grace Hopper')).length === 1`)
	p.waitForMembers("salesRoom", "ada", "dot", "grace", "pip")

	for _, to := range []struct{ option, seen string }{
		{"channel salesRoom", `document.querySelector('[data-testid="lines-salesRoom"] [data-from=""]').textContent.includes('to channel salesRoom')`},
		{"this tab", `document.querySelector('[data-testid=log]').textContent.includes('the backend says: to this tab')`},
		{"user Ada Lovelace", `document.querySelector('[data-testid=log]').textContent.includes('the backend says: to user Ada Lovelace')`},
	} {
		p.choose("act-to", to.option)
		p.run(chromedp.SendKeys(`[data-testid="act-text"]`, "to "+to.option))
		p.click("act-send")
		p.waitFor("the line to "+to.option, to.seen)
	}

	p.click("act-assign")
	p.waitForMembers("boardRoom", "ada")
	second.waitForMembers("boardRoom", "ada")
	p.waitFor("the way back", `document.querySelector('[data-testid=act-assign]').textContent.startsWith('Take')`)
	p.click("act-assign")
	second.waitFor("the end of the assignment", `!document.querySelector('[data-testid="channel-boardRoom"]')`)

	p.choose("act-who", "Grace Hopper")
	p.click("act-kick")
	grace.waitFor("the end of the connection", `document.querySelector('[data-testid=state]').dataset.state === 'closed'`)
	p.waitForMembers("salesRoom", "ada", "dot", "pip")

	p.click("bots")
	p.waitFor("the bots of the other tab", `document.querySelector('[data-testid=bots]').getAttribute('aria-pressed') === 'false'`)
	second.close()
	p.waitForMembers("salesRoom", "ada")
}

// choose picks an option of a select by its text.
func (p page) choose(id, option string) {
	p.t.Helper()
	p.waitFor("the option "+option, fmt.Sprintf(`(() => {
		const select = document.querySelector('[data-testid=%q]');
		const option = [...select.options].find((o) => o.text === %q);
		if (!option) return false;
		select.value = option.value;
		return true;
	})()`, id, option))
}

// Sixty members fit: the channel has columns and scrolls. On a phone, its head stacks and the panel
// of the backend is folded.
func TestDemoFitsSixtyMembers(t *testing.T) {
	d := startDemo(t, false)
	browser := newBrowser(t)
	p := open(t, browser, d.url+"/")
	p.run(chromedp.Evaluate[chromedp.Void](`void Promise.all([import('/message/client.js'), import('/token.js')]).then(([{ Rollcall }, { person, sign }]) => {
		for (let i = 0; i < 60; i++) new Rollcall({ getToken: () => sign(person('Member Number ' + i)) }).join('salesRoom');
	})`))
	p.waitFor("all of them", `document.querySelectorAll('[data-testid="members-salesRoom"] [data-user]').length === 63`)
	for _, width := range []int64{1440, 390, 320} {
		for _, scheme := range []string{"light", "dark"} {
			p.run(chromedp.EmulateViewport(width, 1000))
			prefer(p, scheme)
			at := fmt.Sprintf("%d pixels, %s", width, scheme)
			if found := get(p, chromedp.Evaluate[string](overlaps)); found != "" {
				t.Errorf("%s:\n%s", at, found)
			}
			if wide := get(p, chromedp.Evaluate[int](`document.documentElement.scrollWidth - innerWidth`)); wide > 0 {
				t.Errorf("%s: the page is %d pixels too wide", at, wide)
			}
			if tall := get(p, chromedp.Evaluate[int](`document.querySelector('[data-testid="members-salesRoom"]').offsetHeight`)); tall > 450 {
				t.Errorf("%s: the members are %d pixels high", at, tall)
			}
			keep(t, p, fmt.Sprintf("sixty-%d-%s.png", width, scheme), chromedp.FullScreenshot(100))
		}
	}
	p.run(chromedp.EmulateViewport(390, 844))
	p.run(chromedp.Reload())
	p.waitFor("the page again", `document.querySelector('[data-testid=state]').dataset.state === 'open'`)
	if get(p, chromedp.Evaluate[bool](`document.getElementById('backend').open`)) {
		t.Error("the panel of the backend is not folded on a phone")
	}
	keep(t, p, "folded-390.png", chromedp.FullScreenshot(100))
}
