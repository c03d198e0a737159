package audit

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/rollcall-gateway/rollcall/internal/plural"
)

// Report is what an audit has found so far.
type Report struct {
	Began    time.Time   `json:"began"`
	Seconds  float64     `json:"seconds"`
	Pods     []PodReport `json:"pods"`
	Findings []Finding   `json:"findings"` // the first wrong answers
}

// PodReport is what the audit has found about one pod: its answers, and what its watcher received.
type PodReport struct {
	Pod     string       `json:"pod"`
	Users   UserCounts   `json:"users"`
	Answers AnswerCounts `json:"answers"`
	// IncompleteSeconds is the time in which its answers were incomplete, and SilentSeconds that in
	// which it gave none.
	IncompleteSeconds float64 `json:"incomplete_seconds"`
	SilentSeconds     float64 `json:"silent_seconds"`
	// GhostSeconds is the time for which its answers list connections that have ended, added up
	// over the connections, and MissingSeconds that for which they lack open ones. Both count
	// incomplete answers too.
	GhostSeconds   float64       `json:"ghost_seconds"`
	MissingSeconds float64       `json:"missing_seconds"`
	Frames         FrameCounts   `json:"frames"`
	Messages       MessageCounts `json:"messages"`
	LastError      string        `json:"last_error,omitempty"`
}

// UserCounts counts how the users who come and go fared on a pod. Its watcher is not one of them.
type UserCounts struct {
	// Home is the number of users who connect to this pod when all is well.
	Home int `json:"home"`
	// Joined is how often a user joined a channel. The others count how often one could not
	// connect, was refused, or was connected and could not join.
	Joined       uint64 `json:"joined"`
	NotConnected uint64 `json:"not_connected"`
	NotLoggedIn  uint64 `json:"not_logged_in"`
	NotJoined    uint64 `json:"not_joined"`
	LastError    string `json:"last_error,omitempty"` // latest of these failures
}

// AnswerCounts counts the answers of a pod. The wrong ones are complete.
type AnswerCounts struct {
	Complete   uint64 `json:"complete"`
	Incomplete uint64 `json:"incomplete"`
	None       uint64 `json:"none"`
	Wrong      uint64 `json:"wrong"`
}

// Finding is one difference between a complete answer and the truth.
type Finding struct {
	At   time.Time `json:"at"` // when the question was asked
	Pod  string    `json:"pod"`
	Text string    `json:"text"`
}

// Report returns what has been found so far.
func (a *Audit) Report() Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := Report{Began: a.began, Seconds: a.lasted.Seconds(), Findings: append([]Finding{}, a.findings...)}
	if a.lasted == 0 && !a.began.IsZero() {
		r.Seconds = time.Since(a.began).Seconds()
	}
	a.frames.mu.Lock()
	defer a.frames.mu.Unlock()
	a.messages.mu.Lock()
	defer a.messages.mu.Unlock()
	for i := range a.pods {
		p := a.pods[i].counts
		p.Pod, p.Frames, p.Messages = a.Pods[i].Name, a.frames.counts[i], a.messages.counts[i]
		if a.pods[i].err != nil {
			p.LastError = a.pods[i].err.Error()
		}
		r.Pods = append(r.Pods, p)
	}
	return r
}

// Wrong returns the number of wrong answers that said complete.
func (r *Report) Wrong() (n uint64) {
	for _, p := range r.Pods {
		n += p.Answers.Wrong
	}
	return n
}

// IsUnjudged reports whether no user has joined a channel on the pod, although it is the home of
// some: nobody came and went there, so that nothing about them could be wrong.
func (p *PodReport) IsUnjudged() bool { return p.Users.Home > 0 && p.Users.Joined == 0 }

// WriteTable writes the report for people.
func (r *Report) WriteTable(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "POD\tCOMPLETE\tWRONG\tINCOMPLETE\tNO ANSWER\tGHOSTS\tMISSING\tFRAMES\tLATE\tMISSING\tFALSE\tMESSAGES\tLATE\tLOST\tTWICE\tREORDERED")
	for _, p := range r.Pods {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d (%.1f s)\t%d (%.1f s)\t%.1f s\t%.1f s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n",
			graphic(p.Pod), p.Answers.Complete, p.Answers.Wrong, p.Answers.Incomplete, p.IncompleteSeconds, p.Answers.None, p.SilentSeconds,
			p.GhostSeconds, p.MissingSeconds, p.Frames.InTime+p.Frames.Late, p.Frames.Late, p.Frames.Missing, p.Frames.False,
			p.Messages.Delivered, p.Messages.Late, p.Messages.Lost, p.Messages.Duplicates, p.Messages.Reordered)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, f := range r.Findings {
		fmt.Fprintf(to, "%s %s: %s\n", f.At.Format("15:04:05.000"), graphic(f.Pod), graphic(f.Text))
	}
	for _, p := range r.Pods {
		switch u := p.Users; {
		case u.Home == 0:
			fmt.Fprintf(to, "%s: it is no user's home, because there are fewer users than pods\n", graphic(p.Pod))
		case u.NotConnected+u.NotLoggedIn+u.NotJoined > 0:
			fmt.Fprintf(to, "%s: users joined %s; failures to connect %d, to log in %d, to join %d; the last: %s\n",
				graphic(p.Pod), plural.Of(u.Joined, "time"), u.NotConnected, u.NotLoggedIn, u.NotJoined, graphic(u.LastError))
		}
	}
	const precision = 100 * time.Millisecond
	lasted := time.Duration(r.Seconds * float64(time.Second)).Round(precision)
	_, err := fmt.Fprintf(to, "%s: %s\n", lasted, r.summary())
	return err
}

func (r *Report) summary() string {
	var pods []string
	for _, p := range r.Pods {
		if p.IsUnjudged() {
			pods = append(pods, graphic(p.Pod))
		}
	}
	unjudged := ""
	if len(pods) > 0 {
		unjudged = "no user joined a channel on " + strings.Join(pods, ", ") + ", so nothing was judged there"
	}
	found := "no complete answer is wrong"
	switch n := r.Wrong(); {
	case n == 0 && unjudged != "":
		return unjudged // what else was found is no result of the whole
	case n == 1:
		found = "1 complete answer is wrong"
	case n > 1:
		found = strconv.FormatUint(n, 10) + " complete answers are wrong"
	}
	if unjudged != "" {
		found += "; " + unjudged
	}
	return found
}

// graphic replaces characters that could move the cursor of a terminal.
func graphic(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsGraphic(c) {
			return c
		}
		return '?'
	}, s)
}

// WriteMetrics writes the report as Prometheus reads it.
func (r *Report) WriteMetrics(to io.Writer) error {
	for _, m := range metrics {
		fmt.Fprintf(to, "# HELP %s %s\n# TYPE %s counter\n", m.name, m.help, m.name)
		for _, p := range r.Pods {
			for _, s := range m.samples(&p) {
				label := ""
				if s.result != "" {
					label = fmt.Sprintf(",result=%q", s.result)
				}
				fmt.Fprintf(to, "%s{pod=%q%s} %g\n", m.name, p.Pod, label, s.value)
			}
		}
	}
	return nil
}

// metric is a counter with the pod, and perhaps the result, as its labels.
type metric struct {
	name, help string
	samples    func(p *PodReport) []sample
}

type sample struct {
	result string
	value  float64
}

var metrics = []metric{
	{"rollcall_audit_joins_total", "Attempts of users to join a channel on the pod.", func(p *PodReport) []sample {
		return []sample{
			{"joined", float64(p.Users.Joined)},
			{"not_connected", float64(p.Users.NotConnected)},
			{"not_logged_in", float64(p.Users.NotLoggedIn)},
			{"not_joined", float64(p.Users.NotJoined)},
		}
	}},
	{"rollcall_audit_answers_total", "Answers of the pod.", func(p *PodReport) []sample {
		return []sample{
			{"complete", float64(p.Answers.Complete)},
			{"incomplete", float64(p.Answers.Incomplete)},
			{"none", float64(p.Answers.None)},
		}
	}},
	{"rollcall_audit_wrong_answers_total", "Complete answers that were wrong.", func(p *PodReport) []sample {
		return []sample{{"", float64(p.Answers.Wrong)}}
	}},
	{"rollcall_audit_incomplete_seconds_total", "Time in which the pod's answers were incomplete.", func(p *PodReport) []sample {
		return []sample{{"", p.IncompleteSeconds}}
	}},
	{"rollcall_audit_silent_seconds_total", "Time in which the pod gave no answer.", func(p *PodReport) []sample {
		return []sample{{"", p.SilentSeconds}}
	}},
	{"rollcall_audit_ghost_seconds_total", "Time for which ended connections were listed.", func(p *PodReport) []sample {
		return []sample{{"", p.GhostSeconds}}
	}},
	{"rollcall_audit_missing_seconds_total", "Time for which open connections were not listed.", func(p *PodReport) []sample {
		return []sample{{"", p.MissingSeconds}}
	}},
	{"rollcall_audit_frames_total", "Changes for the watcher on the pod.", func(p *PodReport) []sample {
		f := p.Frames
		return []sample{{"in_time", float64(f.InTime)}, {"late", float64(f.Late)}, {"missing", float64(f.Missing)}, {"false", float64(f.False)}}
	}},
	{"rollcall_audit_messages_total", "Messages for the watcher on the pod.", func(p *PodReport) []sample {
		m := p.Messages
		return []sample{
			{"in_time", float64(m.Delivered - m.Late)},
			{"late", float64(m.Late)},
			{"lost", float64(m.Lost)},
			{"duplicate", float64(m.Duplicates)},
			{"reordered", float64(m.Reordered)},
		}
	}},
}
