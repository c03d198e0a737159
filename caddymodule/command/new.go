package command

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rollcall-gateway/rollcall/plugins/sdk"
)

// runPluginNew makes a project for a plugin.
func runPluginNew(cmd *cobra.Command, args []string) error {
	lang, err := cmd.Flags().GetString("lang")
	if err != nil {
		return err
	}
	if lang == "" {
		return fmt.Errorf("no language is given: add --lang and one of %s", strings.Join(sdk.Languages(), ", "))
	}
	hooks, err := cmd.Flags().GetStringSlice("hooks")
	if err != nil {
		return err
	}
	dir := args[0]
	absolute, err := filepath.Abs(dir) // "." has a name, too
	if err != nil {
		return err
	}
	name := filepath.Base(absolute)
	if err := sdk.New(lang, dir, name, hooks...); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), `Made %[1]s. Next:

  make -C %[1]s
  caddy rollcall-plugin check %[2]s
  caddy rollcall-plugin test %[2]s %[5]s

Then write this into the rollcall block of a site, and reload Caddy:

  plugin %[2]s {
      name %[3]s
  }

%[4]s says what the plugin does and where to change it.
`, dir, filepath.Join(dir, "plugin.wasm"), name, filepath.Join(dir, "README.md"), filepath.Join(dir, "cases.json"))
	return nil
}
