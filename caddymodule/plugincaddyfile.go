package caddymodule

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// UnmarshalCaddyfile sets up the plugin from Caddyfile tokens. Syntax:
//
//	plugin <file> {
//	    name <name>
//	    config {
//	        <word> [<text>...]
//	        <word> {
//	            ...
//	        }
//	    }
//	    on_failure deny | pass
//	    sha256     <hash>
//	    watch
//	    shared
//	    memory           <size>
//	    file             <size>
//	    document         <size>
//	    instances        <number>
//	    init_budget      <steps>
//	    classify_budget  <steps>
//	    members_budget   <steps>
//	    shape_budget     <steps>
//	    classify_timeout <duration>
//	    shape_timeout    <duration>
//	}
func (c *PluginConfig) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if err := firstArgument(d, &c.Path); err != nil {
		return err
	}
	return block(d, options{
		"name":             one(&c.Name),
		"config":           func(d *caddyfile.Dispenser) error { return unmarshalConfig(d, &c.Config) },
		"on_failure":       one(&c.OnFailure),
		"sha256":           one(&c.SHA256),
		"watch":            alone(&c.Watch),
		"shared":           alone(&c.Shared),
		"memory":           size(&c.Memory),
		"file":             size(&c.File),
		"document":         size(&c.Document),
		"instances":        number(&c.Instances),
		"init_budget":      steps(&c.InitBudget),
		"classify_budget":  steps(&c.ClassifyBudget),
		"members_budget":   steps(&c.MembersBudget),
		"shape_budget":     steps(&c.ShapeBudget),
		"classify_timeout": timeout(&c.ClassifyTimeout),
		"shape_timeout":    timeout(&c.ShapeTimeout),
	})
}

// alone reads a word without arguments.
func alone(to *bool) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		if err := noArgument(d, "remove it"); err != nil {
			return err
		}
		*to = true
		return noBlock(d)
	}
}

// steps reads a number that may end in k, M or G: thousands, millions, thousands of millions.
func steps(to *int64) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		var text string
		if err := one(&text)(d); err != nil {
			return err
		}
		digits, unit := text, int64(1)
		if text != "" {
			if i := strings.IndexByte("kMG", text[len(text)-1]); i >= 0 {
				digits, unit = text[:len(text)-1], []int64{1e3, 1e6, 1e9}[i]
			}
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || n < 1 || int64(n) > math.MaxInt64/unit {
			return d.Errf("%q is not a number of steps like 200k, 50M or 1G", text)
		}
		*to = int64(n) * unit
		return nil
	}
}

// unmarshalConfig makes JSON of a block: a word alone is true, with one argument a text, with several an array of texts,
// and with a block an object.
func unmarshalConfig(d *caddyfile.Dispenser, to *json.RawMessage) error {
	if err := noArgument(d, "write options in a block, each on a line of its own"); err != nil {
		return err
	}
	object, _, err := unmarshalObject(d)
	*to = object
	return err
}

// maxConfigDepth bounds the blocks in each other.
const maxConfigDepth = 64

// unmarshalObject reads the block that belongs to the current token, and reports whether it has one.
func unmarshalObject(d *caddyfile.Dispenser) (object []byte, found bool, err error) {
	object = []byte{'{'}
	seen := make(map[string]bool)
	nesting, before := d.Nesting(), d.Token()
	if nesting > maxConfigDepth {
		return nil, false, d.Errf("more than %d blocks are in each other", maxConfigDepth)
	}
	for d.NextBlock(nesting) {
		found = true
		word := d.Val()
		if seen[word] {
			return nil, true, d.Errf("%s is there already: write it once, with all its arguments", word)
		}
		seen[word] = true
		if len(object) > 1 {
			object = append(object, ',')
		}
		object = append(appendJSON(object, word), ':')

		args := d.RemainingArgs()
		inner, block, err := unmarshalObject(d)
		switch {
		case err != nil:
			return nil, true, err
		case block && len(args) > 0:
			return nil, true, d.Errf("%s has arguments and a block: write one of them", word)
		case block:
			object = append(object, inner...)
		case len(args) == 0:
			object = append(object, "true"...)
		case len(args) == 1:
			object = appendJSON(object, args[0])
		default:
			object = appendJSON(object, args)
		}
	}
	// An empty block is passed over.
	after := d.Token()
	found = found || after.Text != before.Text || after.Line != before.Line
	return append(object, '}'), found, nil
}

// appendJSON appends texts, which always have a JSON form.
func appendJSON(b []byte, v any) []byte {
	text, _ := json.Marshal(v)
	return append(b, text...)
}
