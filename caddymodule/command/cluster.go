package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "rollcall",
		Short: "Shows who is connected to a running Rollcall, and acts",
		Long: `
Asks the admin endpoint of a running Caddy for hosts, channels and users, for
the pods of its cluster, or why a user is listed. Sends messages, closes
connections, and makes a cluster forget a pod that will not come back. Signs
tokens and connects for tests, and audits a deployment from outside.`,
		CobraFunc: Rollcall,
	})
}

// Rollcall adds the commands below rollcall.
func Rollcall(cmd *cobra.Command) {
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	show := &cobra.Command{
		Use:   "cluster [--address ADMIN] [--json]",
		Short: "Shows the pods of the cluster",
		Long: `
Shows the pods of the cluster, as one of them sees them: state, age of the last
heartbeat, round trip, connections and hosts; then the state of NATS, and the
numbers of ignored payloads.

Exits with status 1 if that pod is not ready, if a pod cannot be reached, or if
two processes have the same name. If a pod will not come back, forget it.`,
		Example: `  $ caddy rollcall cluster
  $ caddy rollcall cluster --address localhost:2020 --json`,
		Args: cobra.NoArgs,
		RunE: runCluster,
	}
	adminFlags(show)
	jsonFlag(show)
	forget := &cobra.Command{
		Use:   "forget DC/POD [--address ADMIN]",
		Short: "Forgets a pod that will not come back",
		Long: `
Tells all pods that a pod that cannot be reached will not come back, so that
answers are complete without it. Name it as Rollcall-Missing does: its data
center, a slash, and its name.

Make sure that it has ended: while it runs, cut off from the others, complete
answers would lack its connections. If it does come back, it joins as before.

A crashed pod that does not come back under its name counts for a day as one
that is not heard, unless it is forgotten.

Exits with status 1 if the pod is heard, or if no such pod is missing.`,
		Example: `  $ caddy rollcall cluster forget us-east-1/web-2`,
		Args:    cobra.ArbitraryArgs, // runForget says what is wrong with them
		RunE:    runForget,
	}
	adminFlags(forget)
	show.AddCommand(forget)
	explain := &cobra.Command{
		Use:   "explain --host HOST --user ID [--address ADMIN] [--json]",
		Short: "Shows why a user is listed",
		Long: `
Lists the connections of a user on all pods: pod, start, last sign of life of
the client, and channels.

Exits with status 1 if the user has no connection, or if not all pods have
answered.`,
		Example: `  $ caddy rollcall explain --host portal.example.com --user ada`,
		Args:    cobra.NoArgs,
		RunE:    runExplain,
	}
	explain.Flags().String("host", "", "Host of the site")
	explain.Flags().String("user", "", "ID of the user")
	adminFlags(explain)
	jsonFlag(explain)
	cmd.AddCommand(listCommands()...)
	cmd.AddCommand(actCommands()...)
	cmd.AddCommand(watchCommand(), tokenCommand(), connectCommand(), show, explain, versionCommand(), auditCommand())
}

// adminFlags adds the flags that find the admin endpoint, as in Caddy's own commands.
func adminFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.String("address", "", "Address of the admin endpoint (default: from --config, or Caddy's default)")
	f.String("config", "", "Configuration file to read the address from")
	f.String("adapter", "", "Adapter for the configuration file")
}

// jsonFlag adds the flag for the output.
func jsonFlag(cmd *cobra.Command) {
	cmd.Flags().Bool("json", false, "Print the answer of the admin endpoint as JSON")
}

// askAdmin returns the admin endpoint's answer to a GET request, or to a POST request if there is a
// body.
func askAdmin(cmd *cobra.Command, uri string, body io.Reader) ([]byte, error) {
	flags := make(map[string]string)
	for _, name := range []string{"address", "config", "adapter"} {
		flags[name], _ = cmd.Flags().GetString(name)
	}
	address, err := caddycmd.DetermineAdminAPIAddress(flags["address"], nil, flags["config"], flags["adapter"])
	if err != nil {
		return nil, fmt.Errorf("finding the admin endpoint: %w", err)
	}
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	resp, err := caddycmd.AdminAPIRequest(address, method, uri, nil, body)
	if refused := refusal(err); refused != "" {
		return nil, errors.New(refused)
	}
	if err != nil {
		return nil, fmt.Errorf("asking the admin endpoint at %s (start Caddy there, or write --address): %w", address, err)
	}
	defer resp.Body.Close()
	const limit = 64 << 20 // bytes; thousands of pods need far less
	answer, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", address, err)
	}
	return answer, nil
}

// refusal returns the admin endpoint's own words from an error of caddycmd.AdminAPIRequest, which
// ends with the status and the answer: HTTP 409: {"error":"..."}. It returns "" for other errors.
func refusal(err error) string {
	if err == nil {
		return ""
	}
	_, status, _ := strings.Cut(err.Error(), "HTTP ")
	_, answer, _ := strings.Cut(status, ": ")
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal([]byte(answer), &said) != nil {
		return ""
	}
	return plain(said.Error)
}

// printAdmin decodes an answer into to, and prints it with print, or as JSON.
func printAdmin(cmd *cobra.Command, body []byte, to any, print func(io.Writer) error) error {
	if err := decodeAdmin(body, to); err != nil {
		return err
	}
	if asJSON, _ := cmd.Flags().GetBool("json"); !asJSON {
		return print(cmd.OutOrStdout())
	}
	var out bytes.Buffer
	if err := json.Indent(&out, body, "", "  "); err != nil {
		return err
	}
	_, err := out.WriteTo(cmd.OutOrStdout())
	return err
}

// decodeAdmin decodes an answer of the admin endpoint.
func decodeAdmin(body []byte, to any) error {
	if err := json.Unmarshal(body, to); err != nil {
		return fmt.Errorf("the admin endpoint's answer is not Rollcall's: %w", err)
	}
	return nil
}

// untilSignal returns a context that ends with SIGINT or SIGTERM, for commands that run until then.
func untilSignal(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}

func runCluster(cmd *cobra.Command, _ []string) error {
	body, err := askAdmin(cmd, "/rollcall/cluster", nil)
	if err != nil {
		return err
	}
	var r cluster.Report
	if err := printAdmin(cmd, body, &r, func(w io.Writer) error { return printReport(w, &r) }); err != nil {
		return err
	}
	return unwell(&r)
}

// unwell returns an error for each problem of the cluster; nil if there is none.
func unwell(r *cluster.Report) error {
	var errs []error
	if !r.Ready {
		errs = append(errs, errors.New("this pod is not ready: it does not know the other pods yet"))
	}
	for _, p := range r.Pods {
		name := plain(p.DataCenter) + "/" + plain(p.Pod)
		if p.State == "unreachable" {
			errs = append(errs, fmt.Errorf("%s cannot be reached: start it, mend the network, or forget it if it has ended for good", name))
		}
		if p.Conflict {
			errs = append(errs, fmt.Errorf("%s is the name of two processes: give each its own pod", name))
		}
	}
	return errors.Join(errs...)
}

func runForget(cmd *cobra.Command, args []string) error {
	const write = "write DC/POD, as Rollcall-Missing and caddy rollcall cluster do"
	if len(args) != 1 {
		return fmt.Errorf("%d names are given: %s", len(args), write)
	}
	dc, pod, ok := strings.Cut(args[0], "/")
	if !ok || dc == "" || pod == "" {
		return fmt.Errorf("%q does not name a pod: %s", args[0], write)
	}
	request, err := json.Marshal(map[string]string{"data_center": dc, "pod": pod})
	if err != nil {
		return err
	}
	if _, err := askAdmin(cmd, "/rollcall/cluster/forget", bytes.NewReader(request)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s/%s is forgotten: answers no longer name it\n", plain(dc), plain(pod))
	return err
}

func runExplain(cmd *cobra.Command, _ []string) error {
	host, _ := cmd.Flags().GetString("host")
	user, _ := cmd.Flags().GetString("user")
	if host == "" || user == "" {
		return errors.New("a flag is missing: write --host and --user")
	}
	body, err := askAdmin(cmd, "/rollcall/explain?"+url.Values{"host": {host}, "user": {user}}.Encode(), nil)
	if err != nil {
		return err
	}
	var e cluster.Explanation
	if err := printAdmin(cmd, body, &e, func(w io.Writer) error { return printExplanation(w, &e) }); err != nil {
		return err
	}
	var errs []error
	if len(e.Connections) == 0 {
		errs = append(errs, fmt.Errorf("%s has no connection to %s", plain(e.User), plain(e.Host)))
	}
	if !e.Complete {
		errs = append(errs, errors.New("not all pods have answered"))
	}
	return errors.Join(errs...)
}
