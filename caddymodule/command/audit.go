package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/rollcall-gateway/rollcall/caddymodule/audit"
)

// Statuses of caddy rollcall audit.
const (
	statusWrong  = 1 // a complete answer was wrong
	statusFailed = 2 // there is no verdict: the audit could not begin, print or judge a pod
)

// auditCommand returns caddy rollcall audit.
func auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit --pod NAME=URL... --host HOST --config FILE",
		Short: "Checks from outside whether the pods say the truth",
		Long: `
Has users who connect, join channels, send messages and leave, on a site that
is for nothing else, and compares what each pod says with what they did: answers
about who is connected, presence frames, and messages. Prints a table at the
end, and at Ctrl-C.

Name each pod as Rollcall-Missing does, DC/POD, with the URL at which it is
reached directly, not through a load balancer. The configuration must have the
site's JWT secret and an API key in the clear; it is read on this machine alone.

Exits with status 1 if an answer that said complete was wrong. Otherwise it exits
with status 2 if the audit could not begin, if no user could join a channel on
some pod in all the time, or if the report could not be printed.`,
		Example: `  $ caddy rollcall audit --host audit.example.com --config Caddyfile \
      --pod us-east-1/web-1=http://10.0.0.1 --pod us-east-1/web-2=http://10.0.0.2`,
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return misused(cmd, fmt.Errorf("%q is not expected: write pods as --pod NAME=URL", args[0]))
	}
	cmd.SetFlagErrorFunc(misused)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return runAudit(cmd) })(cmd, args)
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArray("pod", nil, "A pod as DC/POD=URL; once for each")
	f.String("host", "", "Host of the site, with its port if it is not the usual one")
	f.String("config", "", "Configuration file with the site")
	f.String("adapter", "", "Adapter for the configuration file")
	f.Duration("duration", time.Minute, "Time until the table; 0 is until Ctrl-C")
	f.Int("users", 30, "Users that come and go, 1 to 1000")
	f.Int("channels", 3, "Channels that they join, 1 to 100")
	f.String("metrics", "", "Address for metrics, like localhost:9090")
	f.Bool("json", false, "Print the report as JSON")
	return cmd
}

// misused returns an error with the status of an audit that could not begin.
func misused(cmd *cobra.Command, err error) error {
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return statusFailed, err })(cmd, nil)
}

func runAudit(cmd *cobra.Command) (status int, err error) {
	o, err := auditOptions(cmd)
	if err != nil {
		return statusFailed, err
	}
	ctx, stop := untilSignal(cmd)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends the process
	if d, _ := cmd.Flags().GetDuration("duration"); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	a := audit.New(o)
	if address, _ := cmd.Flags().GetString("metrics"); address != "" {
		end, err := serveMetrics(address, a)
		if err != nil {
			return statusFailed, err
		}
		defer end()
	}
	if err := a.Run(ctx); err != nil {
		return statusFailed, err
	}
	r := a.Report()
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		err = json.NewEncoder(cmd.OutOrStdout()).Encode(r)
	} else {
		err = r.WriteTable(cmd.OutOrStdout())
	}
	return auditStatus(&r, err)
}

// auditStatus returns the status of an audit that has ended, and its reasons. printing is the error
// of printing the report. A wrong answer is a fault of the deployment whatever else happened, so
// its status goes first; nothing else may have it.
func auditStatus(r *audit.Report, printing error) (status int, err error) {
	var errs []error
	if printing != nil {
		status, errs = statusFailed, append(errs, fmt.Errorf("printing the report: %w", printing))
	}
	for _, p := range r.Pods {
		if !p.IsUnjudged() {
			continue
		}
		text := "no user joined a channel on " + p.Pod + ", so nothing was judged there"
		if p.Users.LastError != "" {
			text += ": " + plain(p.Users.LastError)
		}
		status, errs = statusFailed, append(errs, errors.New(text))
	}
	if n := r.Wrong(); n > 0 {
		status, errs = statusWrong, append(errs, fmt.Errorf("complete answers that are wrong: %d", n))
	}
	return status, errors.Join(errs...)
}

// auditOptions reads the flags and the configuration.
func auditOptions(cmd *cobra.Command) (audit.Options, error) {
	f := cmd.Flags()
	texts, _ := f.GetStringArray("pod")
	host, _ := f.GetString("host")
	config, _ := f.GetString("config")
	adapter, _ := f.GetString("adapter")
	users, _ := f.GetInt("users")
	channels, _ := f.GetInt("channels")
	duration, _ := f.GetDuration("duration")
	const maxUsers, maxChannels, maxPods = 1000, 100, 100
	switch {
	case len(texts) == 0 || host == "" || config == "":
		return audit.Options{}, errors.New("a flag is missing: write --pod, --host and --config")
	case len(texts) > maxPods:
		return audit.Options{}, fmt.Errorf("%d pods are too many: at most %d", len(texts), maxPods)
	case users < 1 || users > maxUsers:
		return audit.Options{}, fmt.Errorf("--users %d: write 1 to %d", users, maxUsers)
	case channels < 1 || channels > maxChannels:
		return audit.Options{}, fmt.Errorf("--channels %d: write 1 to %d", channels, maxChannels)
	case duration < 0:
		return audit.Options{}, fmt.Errorf("--duration %s: write a time like 1m, or 0 for no end", duration)
	}
	pods, err := auditPods(texts)
	if err != nil {
		return audit.Options{}, err
	}
	site, err := readAuditSite(config, adapter, host)
	if err != nil {
		return audit.Options{}, fmt.Errorf("%s: %w", config, err)
	}
	return audit.Options{
		Pods: pods, Host: host, Prefix: site.prefix, APIKey: site.apiKey, Token: site.token, Grace: site.grace, Users: users, Channels: channels,
	}, nil
}

// auditPods parses the flags of pods.
func auditPods(texts []string) ([]audit.Pod, error) {
	var pods []audit.Pod
	for _, text := range texts {
		name, address, _ := strings.Cut(text, "=")
		dc, pod, _ := strings.Cut(name, "/")
		u, err := url.Parse(address)
		if dc == "" || pod == "" || err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("--pod %q: write DC/POD=URL, like us-east-1/web-1=http://10.0.0.1", text)
		}
		for _, p := range pods {
			if p.Name == name {
				return nil, fmt.Errorf("--pod: %s is there twice", name)
			}
		}
		pods = append(pods, audit.Pod{Name: name, URL: address})
	}
	return pods, nil
}

// serveMetrics serves /metrics until end is called.
func serveMetrics(address string, a *audit.Audit) (end func(), err error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		r := a.Report()
		_ = r.WriteMetrics(w) // the client has gone
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }() // ends with Close
	return func() { _ = server.Close() }, nil
}
