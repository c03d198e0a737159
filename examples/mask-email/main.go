// Command mask-email is a Rollcall plugin that masks e-mail addresses: ada@example.com is shown as a***@example.com.
//
// Its options:
//
//	config {
//		keep   2                     # letters that stay, default 1; never all of them
//		except example.com my.org    # addresses at these domains are shown as they are
//		remove                       # takes the field away instead
//	}
package main

import (
	"errors"
	"strings"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/members"
)

// The options.
var (
	keep   int64
	except []string
	remove bool
)

func init() {
	rollcall.Configure(configure)
	members.Handle(mask)
}

func configure(c *rollcall.Config) error {
	keep = c.Int("keep", 1)
	except = c.Strings("except")
	remove = c.Bool("remove", false)
	if keep < 0 {
		return errors.New("config: keep: want a number of letters, 0 or more")
	}
	return nil
}

func mask(_ rollcall.Endpoint, m *members.Member) {
	address := m.Email()
	if address == "" && !remove {
		return
	}
	at := strings.LastIndexByte(address, '@')
	if at >= 0 && isExcept(address[at+1:]) {
		return
	}
	if remove {
		m.Delete("email")
		return
	}
	if at < 0 {
		m.Set("email", "***")
		return
	}
	m.Set("email", address[:kept(address[:at])], "***", address[at:])
}

func isExcept(domain string) bool {
	for _, d := range except {
		if strings.EqualFold(d, domain) {
			return true
		}
	}
	return false
}

// kept returns how many bytes stay of what is before the @: the first letters, but never all of them.
func kept(local string) (end int) {
	letters := int64(0)
	for end = range local {
		if letters == keep {
			break
		}
		letters++
	}
	return end
}

func main() {} // never runs: Rollcall calls the hook
