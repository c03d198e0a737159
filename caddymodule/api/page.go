package api

import (
	"encoding/base64"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/presence"
)

// page returns the part of the channels that the request selects.
func (b values) page() (page presence.Page, p *problem.Problem) {
	if page.Prefix, p = b.text("prefix"); p != nil {
		return page, p
	}
	if isReplaced(page.Prefix) {
		return page, problem.BadValue("prefix has U+FFFD or half a surrogate pair, so no channel begins with it")
	}
	after, p := b.text("after")
	if p != nil {
		return page, p
	}
	if _, present := b["after"]; present {
		var ok bool
		if page.After, ok = decodeNext(after); !ok {
			return page, problem.BadValue("after must be the header Rollcall-Next of the page before, unchanged")
		}
	}
	if _, present := b["limit"]; present {
		if p := b.decode("limit", &page.Limit, "a whole number"); p != nil {
			return page, p
		}
		if page.Limit < 1 || page.Limit > presence.MaxPage {
			return page, problem.BadValue("limit must be from 1 to %d channels", presence.MaxPage)
		}
	}
	_, one := b["channel"]
	_, limited := b["limit"]
	if _, prefixed := b["prefix"]; one && (prefixed || limited || page.After != "") {
		return page, problem.BadValue("channel selects one channel: leave out channel, or prefix, limit and after")
	}
	return page, nil
}

// encodeNext returns the header Rollcall-Next for the After of the next page; "" for none.
func encodeNext(after string) string { return base64.RawURLEncoding.EncodeToString([]byte(after)) }

// decodeNext returns the After that encodeNext has encoded. It reports false for any other text.
func decodeNext(text string) (after string, ok bool) {
	name, err := base64.RawURLEncoding.DecodeString(text)
	after = string(name)
	// Encode it again: the decoder accepts line breaks and trailing bits.
	if err != nil || presence.CheckChannel(after) != nil || encodeNext(after) != text {
		return "", false
	}
	return after, true
}
