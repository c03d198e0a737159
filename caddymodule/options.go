package caddymodule

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// options are the subdirectives of a block, each with a function that reads its arguments.
type options map[string]func(*caddyfile.Dispenser) error

// block reads the block of the current token. A subdirective may occur once, unless it is
// repeatable: of two, one would be lost silently.
func block(d *caddyfile.Dispenser, allowed options, repeatable ...string) error {
	if err := noArgument(d, "write options in a block, each on a line of its own"); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		read := allowed[name]
		if read == nil {
			return d.Errf("unknown subdirective %q: use one of %s", name, strings.Join(slices.Sorted(maps.Keys(allowed)), ", "))
		}
		if seen[name] && !slices.Contains(repeatable, name) {
			return d.Errf("%s is there already: write it once", name)
		}
		seen[name] = true
		empty := hasEmptyArg(*d)
		if err := read(d); err != nil {
			return err
		}
		if empty && name != "user" { // an empty ID is an anonymous request
			return d.Errf("%s has an empty argument: is its environment variable set?", name)
		}
	}
	return nil
}

// hasEmptyArg reports whether an argument of the current line is empty, as "{$NAME}" is if the
// variable is not set.
func hasEmptyArg(d caddyfile.Dispenser) bool { return slices.Contains(d.RemainingArgs(), "") }

// noArgument refuses an argument after the current token.
func noArgument(d *caddyfile.Dispenser, instead string) error {
	name := d.Val()
	if d.NextArg() {
		return d.Errf("unexpected argument %q after %s: %s", d.Val(), name, instead)
	}
	return nil
}

// arguments reads the arguments of an option, at most a number of them. Errors show no argument,
// because it may be a secret.
func arguments(d *caddyfile.Dispenser, most int) ([]string, error) {
	name := d.Val()
	args := d.RemainingArgs()
	switch {
	case len(args) == 0:
		return nil, missingArgument(d)
	case len(args) > most:
		return nil, d.Errf("%s has %d arguments, and takes %d at most: remove some, or put quotes around a text with spaces",
			name, len(args), most)
	}
	return args, nil
}

// missingArgument returns the error for an option without an argument. {$NAME} leaves no argument
// if the variable is not set.
func missingArgument(d *caddyfile.Dispenser) error {
	return d.Errf("%s has no argument: write one, or set its environment variable", d.Val())
}

// firstArgument reads the argument of an option that may also have a block.
func firstArgument(d *caddyfile.Dispenser, to *string) error {
	if !d.NextArg() {
		return missingArgument(d)
	}
	*to = d.Val()
	return nil
}

func one(to *string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		args, err := arguments(d, 1)
		if err != nil {
			return err
		}
		*to = args[0]
		return noBlock(d)
	}
}

func oneOrTwo(d *caddyfile.Dispenser, first, second *string) error {
	if err := oneOrTwoArguments(d, first, second); err != nil {
		return err
	}
	return noBlock(d)
}

func oneOrTwoArguments(d *caddyfile.Dispenser, first, second *string) error {
	args, err := arguments(d, 2)
	if err != nil {
		return err
	}
	*first = args[0]
	if len(args) == 2 {
		*second = args[1]
	}
	return nil
}

// several reads one or more arguments. In a list like "team-*, deal-*" the commas would become part
// of the patterns, which then fit other names. No error repeats an argument, because it may be a
// secret.
func several(to *[]string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		name := d.Val()
		var args []string
		comma := 0 // number of the last argument that ends with one
		for d.NextArg() {
			if comma > 0 {
				return d.Errf("%s: argument %d ends with a comma: separate arguments by spaces alone, or put quotes around this one", name, comma)
			}
			args = append(args, d.Val())
			if strings.HasSuffix(d.Val(), ",") && !d.Token().Quoted() {
				comma = len(args)
			}
		}
		if len(args) == 0 {
			return missingArgument(d)
		}
		*to = args
		return noBlock(d)
	}
}

func number(to *int) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		var text string
		if err := one(&text)(d); err != nil {
			return err
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return d.Errf("%q is not a number from 1", text)
		}
		*to = n
		return nil
	}
}

func size(to *int64) func(*caddyfile.Dispenser) error {
	return sizeUpTo(to, 1<<30, "1GiB like 64KiB")
}

// sizeUpTo reads a number of bytes. The hint names the maximum and an example.
func sizeUpTo(to *int64, most uint64, hint string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		var text string
		if err := one(&text)(d); err != nil {
			return err
		}
		n, err := humanize.ParseBytes(text)
		if err != nil || n < 1 || n > most {
			return d.Errf("%q is not a size up to %s", text, hint)
		}
		*to = int64(n)
		return nil
	}
}

func timeout(to *caddy.Duration) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		var text string
		if err := one(&text)(d); err != nil {
			return err
		}
		return duration(d, text, to)
	}
}

func duration(d *caddyfile.Dispenser, text string, to *caddy.Duration) error {
	v, err := caddy.ParseDuration(text)
	if err != nil || v <= 0 {
		return d.Errf("%q is not a duration like 25s", text)
	}
	*to = caddy.Duration(v)
	return nil
}

// alone reads an option without arguments.
func alone(to *bool) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		if err := noArgument(d, "remove it"); err != nil {
			return err
		}
		*to = true
		return noBlock(d)
	}
}

// steps reads a number that may end in k, M or G (10^3, 10^6, 10^9).
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

func noBlock(d *caddyfile.Dispenser) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		return d.Errf("unexpected block at %q", d.Val())
	}
	return nil
}
