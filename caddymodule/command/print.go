package command

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/rollcall-gateway/rollcall/internal/plural"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// printReport prints the pods as a table, and one line each about NATS and about ignored payloads.
func printReport(to io.Writer, r *cluster.Report) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DATA CENTER\tPOD\tSTATE\tHEARTBEAT\tROUND TRIP\tCONNECTIONS\tHOSTS")
	for _, p := range r.Pods {
		heartbeat, trip, state := "-", "-", plain(p.State)
		if p.State != "self" {
			heartbeat = fmt.Sprintf("%.1fs ago", p.Heartbeat)
		}
		if p.RoundTrip > 0 {
			trip = fmt.Sprintf("%.2f ms", p.RoundTrip)
		}
		if p.Conflict {
			state += ", name taken twice"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\n",
			plain(p.DataCenter), plain(p.Pod), state, heartbeat, trip, p.Connections, p.Hosts)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if r.Name == "" {
		_, err := fmt.Fprintln(to, "\nno cluster: this pod is alone")
		return err
	}
	if len(r.Crashed) > 0 {
		fmt.Fprintf(to, "\ncrashed, forget those that do not come back: %s\n", plain(strings.Join(r.Crashed, ", ")))
	}
	_, err := fmt.Fprintf(to, "\nnats: %s\nignored: malformed %d, oversized %d, forged %d, version %d, unknown %d, repeated %d\n", natsLine(r),
		r.Ignored.Malformed, r.Ignored.Oversized, r.Ignored.Forged, r.Ignored.Version, r.Ignored.Unknown, r.Ignored.Repeated)
	return err
}

// natsLine describes the state of NATS.
func natsLine(r *cluster.Report) string {
	b := &r.Bus
	parts := []string{"not connected"}
	if b.Connected {
		parts[0] = "connected"
	}
	switch {
	case b.Embedded:
		parts = append(parts, "server of this process, "+plural.Of(len(b.Routes), "route"))
		if len(b.Routes) == 0 && b.Errors > 0 { // a wrong secret or certificate, say
			parts = append(parts, "errors of rollcall.cluster.nats in the log")
		}
	case b.Server != "":
		parts = append(parts, "server "+plain(b.Server)+" at "+plain(b.URL))
	}
	parts = append(parts, "reconnected "+plural.Of(b.Reconnects, "time"), fmt.Sprintf("dropped %d", b.Dropped))
	if b.LastError != "" {
		parts = append(parts, "last error: "+plain(b.LastError))
	}
	return strings.Join(parts, ", ")
}

// printExplanation prints the connections of a user as a table, and the pods that did not answer.
func printExplanation(to io.Writer, e *cluster.Explanation) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	if len(e.Connections) > 0 {
		fmt.Fprintln(w, "DATA CENTER\tPOD\tCONNECTION\tEMAIL\tSINCE\tLAST SIGN OF LIFE\tCHANNELS")
	}
	for _, c := range e.Connections {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", plain(c.DataCenter), plain(c.Pod), plain(c.Connection), plain(c.Email),
			plain(c.Since), plain(c.LastSign), plain(strings.Join(c.Channels, " ")))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if e.Complete {
		return nil
	}
	missing := "the other pods are not known yet"
	if len(e.Missing) > 0 {
		missing = "no answer from " + plain(strings.Join(e.Missing, ", "))
	}
	_, err := fmt.Fprintln(to, missing)
	return err
}

// plain replaces characters that could move the cursor of a terminal: the texts come from clients
// and other pods.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsGraphic(c) {
			return c
		}
		return '?'
	}, s)
}
