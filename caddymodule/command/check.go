package command

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/internal/plural"
	"github.com/rollcall-gateway/rollcall/plugins"
)

// runPluginCheck loads a plugin, prints its properties, and calls each of its hooks once.
func runPluginCheck(cmd *cobra.Command, args []string) error {
	t, err := openTrial(cmd, args[0], nil)
	if err != nil {
		return err
	}
	defer t.close()
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	t.describe(w)
	for _, sample := range pluginhost.Samples {
		if !t.plugin.Hooks().Has(sample.Hook) {
			continue
		}
		if err := sample.Call(cmd.Context(), t.chain, t.host); err != nil {
			_ = w.Flush() // the error is what matters
			return fmt.Errorf("sample call: %w", err)
		}
		fmt.Fprintf(w, "%s\t%s of %d, %s\n", sample.Hook, plural.Of(t.steps(sample.Hook), "step"), sample.Budget(t.spec.Limits), sample.About)
	}
	return w.Flush()
}

// describe prints the properties of the file and of an instance.
func (t *pluginTrial) describe(w *tabwriter.Writer) {
	info := t.plugin.Info()
	fmt.Fprintf(w, "file\t%s\n", t.plugin.Path())
	fmt.Fprintf(w, "size\t%d bytes\n", info.Size)
	fmt.Fprintf(w, "sha256\t%s\n", t.plugin.Hash())
	fmt.Fprintf(w, "functions\t%d\n", info.Functions)
	fmt.Fprintf(w, "memory\t%s at the start, at most %s\n", kibibytes(info.MemoryMin), kibibytes(info.MemoryMax))
	fmt.Fprintf(w, "imports\t%s\n", column(info.Imports))
	fmt.Fprintf(w, "exports\t%s\n", column(info.Exports))
	fmt.Fprintf(w, "hooks\t%s\n", hookList(t.plugin))
	if len(info.Unknown) > 0 {
		fmt.Fprintf(w, "warning\tunknown exports, never called; misspelt?\n\t%s\n", column(info.Unknown))
	}
	fmt.Fprintf(w, "with steps counted\t%d bytes\n", info.MeteredSize)
	fmt.Fprintf(w, "checked and compiled in\t%s\n", t.loaded.Round(100*time.Microsecond))
	fmt.Fprintf(w, "new instance\t%s of %d\n", plural.Of(t.counters.Read().InitSteps, "step"), t.spec.Limits.InitBudget)
}

func hookList(p *plugins.Plugin) string { return strings.Join(p.Hooks().Names(), ", ") }

// column writes a list into the second column, one entry a line.
func column(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, "\n\t")
}

func kibibytes(n int64) string { return fmt.Sprintf("%d KiB", n>>10) }
