package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/rollcall-gateway/rollcall/caddymodule/answer"
	"github.com/rollcall-gateway/rollcall/internal/plural"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// pluginCallFlags adds the flags of the hooks.
func pluginCallFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.String("channel", "", "classify, authorize: name of the channel")
	f.String("kind", "authenticated", "classify, authorize: kind by the site's own rules, authenticated, anonymous or granted")
	f.String("user", "", "authorize: id of the user (default: an anonymous connection)")
	f.String("email", "", "authorize: e-mail address of the user")
	f.String("endpoint", "users", "members, shape: users, allusers or, members alone, browsers, or, shape alone, channels")
	f.StringSlice("show", []string{"info", "status"}, "members for browsers: keys that the site shows in addition to id")
	f.String("request", "{}", "members, shape: body of the request as JSON, without apiKey")
	pluginFlags(cmd)
}

// pluginCalls are the hooks, each with a function that calls it and prints its result.
var pluginCalls = []struct {
	hook plugins.Hook
	call func(*cobra.Command, *pluginTrial) error
}{
	{plugins.HookClassify, callClassify},
	{plugins.HookAuthorize, callAuthorize},
	{plugins.HookMembers, callMembers},
	{plugins.HookShape, callShape},
}

// runPluginCall loads the plugin and calls the hook that the second argument names.
func runPluginCall(cmd *cobra.Command, args []string) error {
	const choice = "classify, authorize, members or shape"
	if len(args) != 2 {
		return errors.New("no hook is given: add one after the file, " + choice)
	}
	for _, c := range pluginCalls {
		if c.hook.String() != args[1] {
			continue
		}
		t, err := openTrial(cmd, args[0])
		if err != nil {
			return err
		}
		defer t.close()
		if !t.plugin.Hooks().Has(c.hook) {
			return fmt.Errorf("%s has no hook %s: it exports %s", args[0], c.hook, hookList(t.plugin))
		}
		return c.call(cmd, t)
	}
	return fmt.Errorf("unknown hook %q: use %s", args[1], choice)
}

func callClassify(cmd *cobra.Command, t *pluginTrial) error {
	channel, site, err := channelFlags(cmd)
	if err != nil {
		return err
	}
	d, err := t.chain.Classify(t.host, channel, site)
	if err != nil {
		return err
	}
	result := struct {
		Kind      string `json:"kind"`    // final kind of the channel
		Opinion   bool   `json:"opinion"` // the plugin decided the kind
		Hidden    bool   `json:"hidden"`
		CountOnly bool   `json:"count_only"`
		Grant     bool   `json:"grant,omitempty"` // a login and a grant are needed
	}{d.Kind.String(), d.Kind != plugins.NoOpinion, d.Hidden, d.CountOnly, d.Grant || site == plugins.Granted}
	switch {
	case (d.CountOnly || result.Grant) && d.Kind != plugins.Denied: // as in the gateway: both mean authenticated
		result.Kind = plugins.Authenticated.String()
	case !result.Opinion:
		result.Kind = site.String()
	}
	printSteps(cmd, t.steps(plugins.HookClassify), t.spec.Limits.ClassifyBudget)
	return printJSON(cmd, result)
}

func callAuthorize(cmd *cobra.Command, t *pluginTrial) error {
	channel, site, err := channelFlags(cmd)
	if err != nil {
		return err
	}
	var user *plugins.User
	id, _ := cmd.Flags().GetString("user")
	email, _ := cmd.Flags().GetString("email")
	switch {
	case id != "":
		user = &plugins.User{ID: id, Email: email}
	case email != "":
		return errors.New("--email needs --user: a user without an id is an anonymous connection")
	}
	allowed, err := t.chain.Authorize(t.host, channel, site, user)
	if err != nil {
		return err
	}
	printSteps(cmd, t.steps(plugins.HookAuthorize), t.spec.Limits.ClassifyBudget)
	return printJSON(cmd, struct {
		Allowed bool `json:"allowed"`
	}{allowed})
}

func callMembers(cmd *cobra.Command, t *pluginTrial) error {
	endpoint, request, given, err := answerFlags(cmd)
	if err != nil {
		return err
	}
	if endpoint == plugins.EndpointChannels {
		return errors.New("--endpoint channels: this answer lists no users, so members is not called for it")
	}
	if endpoint == plugins.EndpointLive {
		return callLive(cmd, t, given)
	}
	through := answer.NewPlugins(cmd.Context(), t.chain, endpoint, t.host, func() []byte { return request })
	var out []byte
	var users int
	if endpoint == plugins.EndpointAllUsers {
		var dcs []answer.DataCenter
		if dcs, users, err = readDataCenters(given); err == nil {
			passDataCenters(through, dcs)
			out = slices.Concat(answer.AllUsers(dcs)...)
		}
	} else {
		var list []presence.Listing
		if list, users, err = readListings(given); err == nil {
			out = through.AppendListings(nil, list)
		}
	}
	if err != nil {
		return fmt.Errorf("the answer on standard input: %w", err)
	}
	if err := through.Err(); err != nil {
		return err
	}
	printMembersSteps(cmd, t, plugins.HookMembers, users)
	return printAnswer(cmd, out)
}

// callLive prints what browsers see of the users in an answer of /message/users.
func callLive(cmd *cobra.Command, t *pluginTrial, given []byte) error {
	if !t.plugin.Hooks().Has(plugins.HookMembersLive) {
		return errors.New("--endpoint browsers: the plugin does not export rollcall_members_live, so members is not called for browsers")
	}
	list, n, err := readListings(given)
	if err != nil {
		return fmt.Errorf("the answer on standard input: %w", err)
	}
	users := make([]plugins.User, 0, n)
	for _, l := range list {
		for _, u := range l.Users {
			users = append(users, plugins.User{ID: u.ID, Email: u.Email, Info: u.Info, Status: u.Status})
		}
	}
	show, _ := cmd.Flags().GetStringSlice("show")
	shown, err := t.chain.Show(plugins.EndpointLive, t.host, show, users)
	if err != nil {
		return err
	}
	printMembersSteps(cmd, t, plugins.HookMembersLive, n)
	return printAnswer(cmd, appendShown(nil, list, shown))
}

func printMembersSteps(cmd *cobra.Command, t *pluginTrial, h plugins.Hook, users int) {
	fmt.Fprintf(cmd.ErrOrStderr(), "steps: %d for %s, at most %d for each and 1000000 for a batch\n",
		t.steps(h), plural.Of(users, "user"), t.spec.Limits.MembersBudget)
}

func callShape(cmd *cobra.Command, t *pluginTrial) error {
	endpoint, request, answer, err := answerFlags(cmd)
	if err != nil {
		return err
	}
	switch {
	case endpoint == plugins.EndpointLive:
		return errors.New("--endpoint browsers: shape is not called for browsers")
	case !json.Valid(answer):
		return errors.New("the answer on standard input is not JSON")
	}
	out, err := t.chain.Shape(cmd.Context(), endpoint, t.host, request, answer)
	if err != nil {
		return err
	}
	printSteps(cmd, t.steps(plugins.HookShape), t.spec.Limits.ShapeBudget)
	return printAnswer(cmd, out)
}

func channelFlags(cmd *cobra.Command) (channel string, site plugins.Kind, err error) {
	channel, err = cmd.Flags().GetString("channel")
	if err != nil {
		return "", 0, err
	}
	if channel == "" {
		return "", 0, errors.New("no channel is given: add --channel NAME")
	}
	kind, _ := cmd.Flags().GetString("kind")
	switch kind {
	case plugins.Authenticated.String():
		return channel, plugins.Authenticated, nil
	case plugins.Anonymous.String():
		return channel, plugins.Anonymous, nil
	case plugins.Granted.String():
		return channel, plugins.Granted, nil
	}
	return "", 0, fmt.Errorf("--kind %q: use authenticated, anonymous or granted", kind)
}

// answerFlags returns the arguments of the hooks for answers. It reads the answer from standard
// input.
func answerFlags(cmd *cobra.Command) (e plugins.Endpoint, request, answer []byte, err error) {
	name, err := cmd.Flags().GetString("endpoint")
	if err != nil {
		return 0, nil, nil, err
	}
	switch name {
	case "users":
		e = plugins.EndpointUsers
	case "allusers":
		e = plugins.EndpointAllUsers
	case "channels":
		e = plugins.EndpointChannels
	case "browsers":
		e = plugins.EndpointLive
	default:
		return 0, nil, nil, fmt.Errorf("--endpoint %q: use users, allusers, channels or browsers", name)
	}
	text, _ := cmd.Flags().GetString("request")
	if !json.Valid([]byte(text)) {
		return 0, nil, nil, fmt.Errorf("--request %q: not JSON", text)
	}
	answer, err = io.ReadAll(cmd.InOrStdin())
	if err != nil {
		return 0, nil, nil, fmt.Errorf("reading the answer from standard input: %w", err)
	}
	return e, []byte(text), answer, nil
}

func printSteps(cmd *cobra.Command, used uint64, budget int64) {
	fmt.Fprintf(cmd.ErrOrStderr(), "steps: %d of %d\n", used, budget)
}

// printAnswer prints a plugin's JSON value on one line, with runes escaped that could move the
// cursor of a terminal.
func printAnswer(cmd *cobra.Command, answer []byte) error {
	var line bytes.Buffer
	if err := json.Compact(&line, answer); err != nil {
		return fmt.Errorf("the answer of the plugin: %w", err)
	}
	var out []byte
	for _, r := range line.String() {
		if unicode.IsGraphic(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) { // within a string: Compact leaves no white space elsewhere
			out = fmt.Appendf(out, `\u%04x`, unit)
		}
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", out)
	return err
}

func printJSON(cmd *cobra.Command, v any) error { return json.NewEncoder(cmd.OutOrStdout()).Encode(v) }
