package command

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/rollcall-gateway/rollcall/internal/version"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// versionCommand returns the command that says which release this is.
func versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version [--json]",
		Short: "Shows the version of Rollcall",
		Long: `
Shows the versions of Rollcall, of the Caddy and the Go that it is built with,
and of what pods say to each other: pods with other bus versions do not form a
cluster.`,
		Example: `  $ caddy rollcall version --json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			simple, _ := caddy.Version()
			v := versions{version.Rollcall, simple, runtime.Version(), message.Version}
			if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(v)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "Rollcall %s, Caddy %s, %s, bus version %d\n", v.Rollcall, v.Caddy, v.Go, v.Bus)
			return err
		},
	}
	cmd.Flags().Bool("json", false, "Print an object")
	return cmd
}

// versions is the output of the command as JSON.
type versions struct {
	Rollcall string `json:"rollcall"` // semantic version without v, such as 1.0.0
	Caddy    string `json:"caddy"`    // as Caddy gives it, such as v2.11.9
	Go       string `json:"go"`       // such as go1.26.8
	Bus      int    `json:"bus"`
}
