package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rollcall-gateway/rollcall/internal/plural"
	"github.com/rollcall-gateway/rollcall/plugins"
)

// profileShown is the number of functions that profile prints.
const profileShown = 30

// runPluginProfile makes a call as runPluginCall does, and prints the steps of each function.
func runPluginProfile(cmd *cobra.Command, args []string) error {
	profile := plugins.NewProfile()
	return callOnce(cmd, args, profile, func(*pluginTrial, *hookCall, []byte) error {
		// First the file: "profile | head" ends the process while it prints.
		if err := writeFolded(cmd, profile, args[0]); err != nil {
			return err
		}
		functions := profile.Functions()
		printProfile(cmd.OutOrStdout(), functions)
		if !functions[0].Named {
			fmt.Fprintln(cmd.ErrOrStderr(), "The file has no names of functions: build it without the options that strip them, like -s or --strip-all.")
		}
		return nil
	})
}

func printProfile(to io.Writer, functions []plugins.FunctionSteps) {
	var total int64
	for _, f := range functions {
		total += f.Own
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "own steps\t%\twith callees\t%\tcalls\t  function\n")
	for i, f := range functions {
		if i == profileShown {
			_ = w.Flush()
			fmt.Fprintf(to, "and %s\n", plural.Of(len(functions)-i, "more function"))
			break
		}
		fmt.Fprintf(w, "%d\t%.1f\t%d\t%.1f\t%d\t  %s\n", f.Own, share(f.Own, total), f.Total, share(f.Total, total), f.Calls, f.Name)
	}
	_ = w.Flush()
}

func share(part, of int64) float64 { return 100 * float64(part) / float64(max(of, 1)) }

// writeFolded writes the stacks into the file of the flag, by default one named after the plugin in
// the working directory.
func writeFolded(cmd *cobra.Command, profile *plugins.Profile, plugin string) error {
	name, err := cmd.Flags().GetString("folded")
	if err != nil {
		return err
	}
	if name == "" {
		name = strings.TrimSuffix(filepath.Base(plugin), ".wasm") + ".folded"
	}
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("--folded: %w", err)
	}
	if err := errors.Join(profile.WriteFolded(f), f.Close()); err != nil {
		return fmt.Errorf("--folded: %w", err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Wrote %s for a flame graph.\n", name)
	return nil
}
