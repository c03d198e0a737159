package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/plugins"
)

// pluginCallFlags adds the flags of the hooks.
func pluginCallFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.String("channel", "", "classify, authorize, message: name of the channel")
	f.String("kind", "authenticated", "classify, authorize, message: kind by the site's own rules, authenticated, anonymous or granted")
	f.String("user", "", "authorize, connect, message: id of the user (default: an anonymous connection)")
	f.String("email", "", "authorize, connect, message: e-mail address of the user")
	f.String("info", "", "connect: info of the user as JSON")
	f.String("claims", "", "connect: payload of the token as JSON")
	f.String("connection", pluginhost.SampleConnection, "connect, message: ID of the connection")
	f.Bool("backend", false, "message: it comes from the backend")
	f.String("endpoint", "users", "members, shape: users, allusers or, members alone, browsers and events, or, shape alone, channels")
	f.StringSlice("show", []string{"info", "status"}, "members for browsers: keys that the site shows in addition to id")
	f.String("request", "{}", "members, shape: body of the request as JSON, without apiKey")
	pluginFlags(cmd)
}

// runPluginCall loads the plugin and calls the hook that the second argument names.
func runPluginCall(cmd *cobra.Command, args []string) error {
	return callOnce(cmd, args, nil, func(t *pluginTrial, c *hookCall, result []byte) error {
		fmt.Fprintf(cmd.ErrOrStderr(), "steps: %s\n", c.stepsOf(t))
		return printAnswer(cmd, result)
	})
}

// callOnce makes the call that the flags describe, and passes its result to use. It fails if the
// call does. The profile may be nil.
func callOnce(
	cmd *cobra.Command, args []string, profile *plugins.Profile, use func(t *pluginTrial, c *hookCall, result []byte) error,
) error {
	if len(args) != 2 {
		return errors.New("no hook is given: add one after the file, " + hookChoice)
	}
	c, err := readCallFlags(cmd, args[1])
	if err != nil {
		return err
	}
	t, err := openTrial(cmd, args[0], profile)
	if err != nil {
		return err
	}
	defer t.close()
	if err := c.supported(t); err != nil {
		return fmt.Errorf("%s %w", args[0], err)
	}
	if err := c.readInput(cmd); err != nil {
		return err
	}
	result, err := c.run(cmd.Context(), t)
	if bad, ok := errors.AsType[*answerError](err); ok {
		return fmt.Errorf("the answer on standard input: %w", bad.error)
	}
	if err != nil {
		return err
	}
	return use(t, c, result)
}

// readInput reads the message or the answer that the hook gets from standard input.
func (c *hookCall) readInput(cmd *cobra.Command) error {
	if c.hook != plugins.HookMessage && !c.readsAnswer() {
		return nil
	}
	input, err := io.ReadAll(cmd.InOrStdin())
	if err != nil {
		return fmt.Errorf("reading standard input: %w", err)
	}
	switch {
	case c.hook != plugins.HookMessage:
		c.Answer = input
	case !isObject(input):
		return errors.New("the message on standard input is not a JSON object")
	default:
		c.Message = bytes.TrimSpace(input)
	}
	if c.hook == plugins.HookShape && !json.Valid(input) {
		return errors.New("the answer on standard input is not JSON")
	}
	return nil
}

// isObject reports whether raw is a JSON object.
func isObject(raw []byte) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) > 0 && raw[0] == '{' && json.Valid(raw)
}

// readCallFlags returns the call of a hook with the arguments in the flags.
func readCallFlags(cmd *cobra.Command, hook string) (*hookCall, error) {
	f := cmd.Flags()
	c := &hookCall{Hook: hook}
	c.Channel, _ = f.GetString("channel")
	c.Kind, _ = f.GetString("kind")
	c.Connection, _ = f.GetString("connection")
	c.Backend, _ = f.GetBool("backend")
	c.Endpoint, _ = f.GetString("endpoint")
	c.Show, _ = f.GetStringSlice("show")
	id, _ := f.GetString("user")
	email, _ := f.GetString("email")
	info, err := jsonArgument(cmd, "info")
	if err != nil {
		return nil, err
	}
	switch {
	case id != "":
		c.User = &callUser{ID: id, Email: email, Info: info}
	case email != "" || info != nil:
		return nil, errors.New("--email needs --user: a user without an id is an anonymous connection")
	}
	if c.Claims, err = jsonArgument(cmd, "claims"); err != nil {
		return nil, err
	}
	if c.Request, err = jsonArgument(cmd, "request"); err != nil {
		return nil, err
	}
	if err := c.check(func(key string) string { return "--" + key }); err != nil {
		return nil, err
	}
	return c, nil
}

func jsonArgument(cmd *cobra.Command, name string) (json.RawMessage, error) {
	text, _ := cmd.Flags().GetString(name)
	if text == "" {
		return nil, nil
	}
	if !json.Valid([]byte(text)) {
		return nil, fmt.Errorf("--%s %q: not JSON", name, text)
	}
	var compact bytes.Buffer
	_ = json.Compact(&compact, []byte(text)) // it is valid
	return compact.Bytes(), nil
}

// printAnswer prints a plugin's JSON value on one line, with runes escaped that could move the
// cursor of a terminal.
func printAnswer(cmd *cobra.Command, answer []byte) error {
	var line bytes.Buffer
	if err := json.Compact(&line, answer); err != nil {
		return fmt.Errorf("the answer of the plugin: %w", err)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", escapeControls(line.String()))
	return err
}

// escapeControls escapes runes that could move the cursor of a terminal, as JSON strings do.
func escapeControls(text string) string {
	var out []byte
	for _, r := range text {
		if unicode.IsGraphic(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			out = fmt.Appendf(out, `\u%04x`, unit)
		}
	}
	return string(out)
}
