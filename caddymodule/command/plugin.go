// Package command is the command lines caddy rollcall and caddy rollcall-plugin. It needs no server
// in its process; caddy rollcall asks the admin endpoint of a running one.
package command

import (
	"errors"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/rollcall-gateway/rollcall/plugins/sdk"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "rollcall-plugin",
		Short: "Makes, checks and calls plugins of Rollcall",
		Long: `
Makes a project for a plugin of Rollcall, and checks, calls, tests and profiles
a plugin as the server would: with the same checks, limits and results. No
server is needed, and nothing is written except by new and profile.`,
		CobraFunc: Plugin,
	})
}

// Plugin adds the commands below rollcall-plugin.
func Plugin(cmd *cobra.Command) {
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	call := &cobra.Command{
		Use:   "call FILE HOOK",
		Short: "Calls one hook and prints its result as JSON",
		Long: `
Calls one hook of a plugin and prints the result as JSON. The plugin's log, and
the number of its steps, go to standard error. If the plugin fails, the command
prints the error and exits with status 1.`,
		Example: `  $ caddy rollcall-plugin call plugin.wasm classify --channel lobby-1
  $ caddy rollcall-plugin call plugin.wasm authorize --channel staff --user ada --email ada@example.com
  $ caddy rollcall-plugin call plugin.wasm message --channel sales --user ada < message.json
  $ caddy rollcall-plugin call plugin.wasm connect --user ada --claims '{"role":"host"}'
  $ caddy rollcall-plugin call plugin.wasm members --config config.json < answer.json
  $ caddy rollcall-plugin call plugin.wasm members --endpoint browsers --show email,info < answer.json
  $ caddy rollcall-plugin call plugin.wasm shape --endpoint allusers < answer.json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errWhichFile
			}
			return nil
		},
		RunE: runPluginCall,
	}
	pluginCallFlags(call)
	check := &cobra.Command{
		Use:   "check FILE",
		Short: "Checks that a plugin can be loaded, and describes it",
		Long: `
Loads a plugin as the server would and describes it: its size and hash,
functions, memory, imports, exports and hooks, the time of compiling, and the
steps of making an instance and of a sample call of each hook.

A plugin that breaks the contract, or fails in a sample call, is refused with
the reason, and the command exits with status 1.`,
		Example: `  $ caddy rollcall-plugin check plugin.wasm
  $ caddy rollcall-plugin check plugin.wasm --config config.json --memory 4MiB`,
		Args: oneArg(errWhichFile),
		RunE: runPluginCheck,
	}
	pluginFlags(check)
	test := &cobra.Command{
		Use:   "test FILE CASES.json",
		Short: "Makes the calls of a table and compares their results",
		Long: `
Makes the calls of a table, in order, and compares each result with the one
that the table wants. The calls share the plugin's store. The plugin's clock
begins at 2026-01-01 12:00 UTC and moves only by the "after" of a case.

For each case that differs, the command prints what differs, and exits with
status 1.`,
		Example: `  $ caddy rollcall-plugin test plugin.wasm cases.json`,
		RunE:    runPluginTest,
	}
	pluginFlags(test)
	profile := &cobra.Command{
		Use:   "profile FILE HOOK",
		Short: "Makes a call and prints the steps of each function",
		Long: `
Makes a call as the command call does, and prints the steps by function: its
own, and those with the functions that it called. It also writes a file of
folded stacks, from which flamegraph.pl or speedscope.app draw a flame graph.`,
		Example: `  $ caddy rollcall-plugin profile plugin.wasm classify --channel lobby-1
  $ caddy rollcall-plugin profile plugin.wasm members --folded out.folded < answer.json`,
		RunE: runPluginProfile,
	}
	pluginCallFlags(profile)
	profile.Flags().String("folded", "", "File for the folded stacks (default: the file's name with .folded)")
	create := &cobra.Command{
		Use:   "new --lang go|rust|assemblyscript|c [--hooks HOOK,HOOK] DIR",
		Short: "Makes a project for a plugin, with everything that building it needs",
		Long: `
Makes a complete project in a new or empty folder, and prints the next steps.
The name of the folder is the name of the project: lower-case letters, digits
and hyphens, beginning with a letter.`,
		Example: `  $ caddy rollcall-plugin new --lang go my-rules
  $ caddy rollcall-plugin new --lang rust --hooks message,members my-filter`,
		Args: oneArg(errors.New("no folder is given: write one, like my-rules")),
		RunE: runPluginNew,
	}
	create.Flags().StringP("lang", "l", "", "Language: go, rust, assemblyscript or c")
	create.Flags().StringSlice("hooks", sdk.DefaultHooks, "Hooks of the plugin, some of "+strings.Join(sdk.Hooks, ", "))
	cmd.AddCommand(create, check, call, test, profile)
}

var errWhichFile = errors.New("no file is given: write one, like plugin.wasm")

// oneArg returns err unless there is exactly one argument.
func oneArg(err error) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return err
		}
		return nil
	}
}
