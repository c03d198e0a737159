package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/rollcall-gateway/rollcall/caddymodule/operator"
)

// actCommands returns the commands that do something to connections.
func actCommands() []*cobra.Command {
	send := &cobra.Command{
		Use:   "send HOST MESSAGE --channel CHANNEL --user ID [--address ADMIN] [--json]",
		Short: "Sends a message as the backend does",
		Long: `
Sends a message, an object of JSON, to all listeners of channels, and to all
connections of users. Both flags can be given several times. Plugins may refuse
the message.
` + statusText,
		Example: `  $ caddy rollcall send portal.example.com '{"text":"closing at six"}' --channel salesRoom`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 || !json.Valid([]byte(args[1])) {
				return errors.New(`no message is given: write an object of JSON, like '{"text":"hello"}'`)
			}
			body := map[string]any{"message": json.RawMessage(args[1])}
			addTargets(cmd, body, "channel", "channels")
			addTargets(cmd, body, "user", "users")
			return act(cmd, "sendmessage", args[0], body, "the message is sent")
		},
	}
	disconnect := &cobra.Command{
		Use:   "disconnect HOST --user ID | --connection ID | --channel CHANNEL [--reason TEXT] [--reconnect]",
		Short: "Closes connections",
		Long: `
Closes connections on all pods: those of users, those with an ID, or all that
listen to a channel. Clients come back only with --reconnect. Prints the number
of the connections.
` + statusText,
		Example: `  $ caddy rollcall disconnect portal.example.com --user ada --reason "please log in again"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{}
			addTargets(cmd, body, "user", "users")
			addTargets(cmd, body, "connection", "connections")
			if channel, _ := cmd.Flags().GetString("channel"); channel != "" {
				body["channel"] = channel
			}
			if reason, _ := cmd.Flags().GetString("reason"); reason != "" {
				body["reason"] = reason
			}
			body["reconnect"], _ = cmd.Flags().GetBool("reconnect")
			return act(cmd, "disconnect", args[0], body, "disconnected")
		},
	}
	send.Flags().StringArray("channel", nil, "Channel that receives it; once for each")
	send.Flags().StringArray("user", nil, "ID of a user who receives it; once for each")
	f := disconnect.Flags()
	f.StringArray("user", nil, "ID of a user; once for each")
	f.StringArray("connection", nil, "ID of a connection; once for each")
	f.String("channel", "", "Channel of the connections")
	f.String("reason", "", "Text for the clients")
	f.Bool("reconnect", false, "Let the clients come back at once")
	hostArg(send, 2)
	hostArg(disconnect, 1)
	all := []*cobra.Command{send, disconnect}
	for _, cmd := range all {
		adminFlags(cmd)
		jsonFlag(cmd)
	}
	return all
}

// addTargets adds the values of a flag that can be given several times.
func addTargets(cmd *cobra.Command, body map[string]any, flag, key string) {
	if names, _ := cmd.Flags().GetStringArray(flag); len(names) > 0 {
		body[key] = names
	}
}

// act sends an action to the admin endpoint, and prints what was done with its number, if it has
// one.
func act(cmd *cobra.Command, action, host string, body map[string]any, done string) error {
	request, err := json.Marshal(body)
	if err != nil {
		return err
	}
	answer, err := askAdmin(cmd, "/rollcall/"+action+"?"+url.Values{"host": {host}}.Encode(), bytes.NewReader(request))
	if err != nil {
		return err
	}
	var r operator.Result
	err = printAdmin(cmd, answer, &r, func(w io.Writer) error {
		var numbers struct {
			Disconnected *int `json:"disconnected"`
		}
		_ = json.Unmarshal(r.Answer, &numbers) // without a number, only the text is printed
		if n := numbers.Disconnected; n != nil {
			_, err := fmt.Fprintf(w, "%s: %d\n", done, *n)
			return err
		}
		_, err := fmt.Fprintln(w, done)
		return err
	})
	return withTruth(cmd, err, &r.Truth)
}
