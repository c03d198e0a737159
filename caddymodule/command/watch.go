package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-gateway/rollcall/caddymodule/operator"
)

// watchCommand returns the command that prints changes.
func watchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch HOST [--prefix TEXT] [--interval TIME] [--for TIME] [--address ADMIN] [--json]",
		Short: "Prints how the channels of a host change",
		Long: fmt.Sprintf(`
Asks again and again for the first %d channels of a host, and prints a line for
each channel whose number has changed, until Ctrl-C. A channel that ends has the
number 0. The first lines are those of all channels. With --json, each line is an
object: time, channel, kind, count, before.
`, operator.MaxPage) + statusText,
		Example: `  $ caddy rollcall watch portal.example.com`,
		RunE:    runWatch,
	}
	hostArg(cmd, 1)
	cmd.Flags().String("prefix", "", "Begin of the names")
	cmd.Flags().Duration("interval", time.Second, "Time between two questions, at least 100ms")
	cmd.Flags().Duration("for", 0, "Time until it ends; 0 is until Ctrl-C")
	adminFlags(cmd)
	cmd.Flags().Bool("json", false, "Print an object for each change")
	return cmd
}

// change is one line of the command as JSON.
type change struct {
	Time    string `json:"time"` // RFC 3339 with milliseconds
	Channel string `json:"channel"`
	Kind    string `json:"kind"`
	Count   int    `json:"count"`
	Before  int    `json:"before"`
}

func runWatch(cmd *cobra.Command, args []string) error {
	interval, _ := cmd.Flags().GetDuration("interval")
	if interval < 100*time.Millisecond {
		return errors.New("--interval: write a time from 100ms on")
	}
	ctx, stop := untilSignal(cmd)
	defer stop()
	if d, _ := cmd.Flags().GetDuration("for"); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	prefix, _ := cmd.Flags().GetString("prefix")
	query := url.Values{"host": {args[0]}, "prefix": {prefix}, "limit": {strconv.Itoa(operator.MaxPage)}}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	known := make(map[string]operator.Channel)
	for {
		body, err := askAdmin(cmd, "/rollcall/channels?"+query.Encode(), nil)
		if err != nil {
			return err
		}
		var a operator.ChannelList
		if err := decodeAdmin(body, &a); err != nil {
			return err
		}
		asJSON, _ := cmd.Flags().GetBool("json")
		if err := printChanges(cmd.OutOrStdout(), asJSON, changes(known, a.Channels, time.Now())); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return withTruth(cmd, nil, &a.Truth)
		case <-tick.C:
		}
	}
}

// changes returns how channels differ from the known ones, by name, and makes them the known ones.
func changes(known map[string]operator.Channel, now []operator.Channel, at time.Time) (list []change) {
	text := operator.RFC3339(at.UnixMilli())
	gone := maps.Clone(known)
	for _, c := range now {
		before := known[c.Channel]
		delete(gone, c.Channel)
		known[c.Channel] = c
		if c.Count != before.Count || c.Kind != before.Kind {
			list = append(list, change{text, c.Channel, c.Kind, c.Count, before.Count})
		}
	}
	for name, c := range gone {
		delete(known, name)
		list = append(list, change{text, name, c.Kind, 0, c.Count})
	}
	slices.SortFunc(list, func(a, b change) int { return strings.Compare(a.Channel, b.Channel) })
	return list
}

func printChanges(to io.Writer, asJSON bool, list []change) error {
	for _, c := range list {
		var err error
		if asJSON {
			err = json.NewEncoder(to).Encode(c)
		} else {
			_, err = fmt.Fprintf(to, "%s  %-13s  %6d (%+d)  %s\n", c.Time, plain(c.Kind), c.Count, c.Count-c.Before, plain(c.Channel))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
