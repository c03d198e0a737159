package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/rollcall-gateway/rollcall/caddymodule/operator"
)

// statusIncomplete is the status of a command whose answer may lack pods.
const statusIncomplete = 2

const statusText = `
Exits with status 1 if the request was refused or could not be made, and with
status 2 if not all pods have answered.`

// listCommands returns the commands that list what there is.
func listCommands() []*cobra.Command {
	hosts := &cobra.Command{
		Use:   "hosts [--address ADMIN] [--json]",
		Short: "Lists the hosts that have connections",
		Long: `
Lists the hosts that have connections on any pod, with the numbers of each pod:
connections, those with a user, users, channels, and the hidden ones of these.
` + statusText,
		Example: `  $ caddy rollcall hosts`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var a operator.Hosts
			err := list(cmd, "/rollcall/hosts?scope=all", &a, func(w io.Writer) error { return printHosts(w, &a) })
			return withTruth(cmd, err, &a.Truth)
		},
	}
	channels := &cobra.Command{
		Use:   "channels HOST [--prefix TEXT] [--address ADMIN] [--json]",
		Short: "Lists the active channels of a host",
		Long: `
Lists the active channels of a host on all pods, by name, with the number of
their users or, of anonymous channels, connections. Hidden channels are only
counted.
` + statusText,
		Example: `  $ caddy rollcall channels portal.example.com --prefix sales`,
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix, _ := cmd.Flags().GetString("prefix")
			query := pageQuery(cmd, args[0])
			query.Set("prefix", prefix)
			var a operator.ChannelList
			err := list(cmd, "/rollcall/channels?"+query.Encode(), &a, func(w io.Writer) error { return printChannels(w, &a) })
			return withTruth(cmd, err, &a.Truth)
		},
	}
	channels.Flags().String("prefix", "", "Begin of the names")
	users := &cobra.Command{
		Use:   "users HOST [CHANNEL] [--address ADMIN] [--json]",
		Short: "Lists the users of a host or of a channel",
		Long: `
Lists the users that are connected to a host, or listen to one of its channels,
on all pods: as the plugins of the site leave them for /message/users, but
without e-mail addresses; since when they are connected, and their connections.
` + statusText,
		Example: `  $ caddy rollcall users portal.example.com salesRoom`,
		RunE: func(cmd *cobra.Command, args []string) error {
			query := pageQuery(cmd, args[0])
			if len(args) > 1 {
				query.Set("channel", args[1])
			}
			var a operator.Users
			err := list(cmd, "/rollcall/users?"+query.Encode(), &a, func(w io.Writer) error { return printUsers(w, &a) })
			return withTruth(cmd, err, &a.Truth)
		},
	}
	pageFlags(channels)
	pageFlags(users)
	all := []*cobra.Command{hosts, channels, users}
	for _, cmd := range all {
		adminFlags(cmd)
		jsonFlag(cmd)
	}
	hostArg(channels, 1)
	hostArg(users, 2)
	return all
}

// pageFlags adds the flags that select a page.
func pageFlags(cmd *cobra.Command) {
	cmd.Flags().Int("limit", operator.DefaultPage, fmt.Sprintf("Entries of a page, 1 to %d", operator.MaxPage))
	cmd.Flags().String("after", "", "Last entry of the page before")
}

// pageQuery returns the query of a page of a host.
func pageQuery(cmd *cobra.Command, host string) url.Values {
	limit, _ := cmd.Flags().GetInt("limit")
	after, _ := cmd.Flags().GetString("after")
	query := url.Values{"host": {host}, "limit": {strconv.Itoa(limit)}}
	if after != "" {
		query.Set("after", after)
	}
	return query
}

// hostArg requires a host as the first of at most n arguments, and completes it with those that
// have connections.
func hostArg(cmd *cobra.Command, n int) {
	cmd.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return errors.New("no host is given: write one, like portal.example.com")
		case len(args) > n:
			return fmt.Errorf("%q is not expected: see --help", args[n])
		}
		return nil
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		var a operator.Hosts
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		body, err := askAdmin(cmd, "/rollcall/hosts?scope=all", nil)
		if err != nil || json.Unmarshal(body, &a) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names := make([]string, 0, len(a.Hosts))
		for _, h := range a.Hosts {
			names = append(names, h.Host)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// list asks the admin endpoint, and prints the answer.
func list(cmd *cobra.Command, uri string, to any, print func(io.Writer) error) error {
	body, err := askAdmin(cmd, uri, nil)
	if err != nil {
		return err
	}
	return printAdmin(cmd, body, to, print)
}

// withTruth returns err, or an error with statusIncomplete for an answer that may lack pods.
func withTruth(cmd *cobra.Command, err error, t *operator.Truth) error {
	if err != nil || t.Complete {
		return err
	}
	text := "the other pods are not known yet"
	if len(t.Missing) > 0 {
		text = "no answer from " + plain(strings.Join(t.Missing, ", "))
	}
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return statusIncomplete, errors.New(text) })(cmd, nil)
}

func printHosts(to io.Writer, a *operator.Hosts) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "HOST\tDATA CENTER\tPOD\tCONNECTIONS\tWITH USER\tUSERS\tCHANNELS\tHIDDEN")
	for _, h := range a.Hosts {
		for _, p := range h.Pods {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\n", plain(h.Host), plain(p.DataCenter), plain(p.Pod),
				p.Connections, p.Authenticated, p.Users, p.Channels, p.Hidden)
		}
	}
	return w.Flush()
}

func printChannels(to io.Writer, a *operator.ChannelList) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CHANNEL\tKIND\tCOUNT")
	for _, c := range a.Channels {
		fmt.Fprintf(w, "%s\t%s\t%d %s\n", plain(c.Channel), plain(c.Kind), c.Count, plain(c.Counts))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if a.Hidden > 0 {
		fmt.Fprintf(to, "\nhidden: %d\n", a.Hidden)
	}
	return printNext(to, a.Next)
}

func printUsers(to io.Writer, a *operator.Users) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "USER\tSINCE\tCONNECTION\tDATA CENTER\tPOD\tLAST SIGN OF LIFE")
	for _, u := range a.Users {
		for i, c := range u.Connections {
			user := ""
			if i == 0 {
				user = plain(userText(u.User))
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", user, plain(c.Since), plain(c.Connection), plain(c.DataCenter), plain(c.Pod), plain(c.LastSign))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if c := a.Channel; c != nil && len(a.Users) == 0 {
		fmt.Fprintf(to, "%s channel, %d %s\n", plain(c.Kind), c.Count, plain(c.Counts))
	}
	return printNext(to, a.Next)
}

// userText returns the ID of a user, or the object if plugins have made more of it.
func userText(object json.RawMessage) string {
	var u map[string]json.RawMessage
	var id string
	if json.Unmarshal(object, &u) == nil && len(u) == 1 && json.Unmarshal(u["id"], &id) == nil {
		return id
	}
	return string(object)
}

// printNext says how the next page is listed.
func printNext(to io.Writer, next string) error {
	if next == "" {
		return nil
	}
	_, err := fmt.Fprintf(to, "\nmore: --after %q\n", plain(next))
	return err
}
