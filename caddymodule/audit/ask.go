package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// askEvery is the time between two questions to a pod.
	askEvery = 200 * time.Millisecond
	// deferral is the time from an answer to its judgment: by then, pings have shown which
	// connections were open, and other pods have said whether they are cut off.
	deferral = 3 * time.Second
	// maxAnswer is the maximum size of an answer in bytes.
	maxAnswer = 64 << 20
)

// askInTurn asks a pod until the context ends: for all users, and in between for one channel after
// the other.
func (a *Audit) askInTurn(ctx context.Context, pod int) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		channel := ""
		if i%2 == 1 {
			channel = a.channels[i/2%len(a.channels)]
		}
		asked := time.Now()
		a.mu.Lock()
		a.pods[pod].sound.pending = asked
		a.mu.Unlock()
		got, err := a.ask(ctx, pod, channel)
		if ctx.Err() != nil {
			return
		}
		a.note(pod, asked, got, err)
	}
}

// note records an answer, to be judged later.
func (a *Audit) note(pod int, asked time.Time, got *answer, err error) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	p := &a.pods[pod]
	p.sound.pending = time.Time{}
	if err != nil || !got.isComplete {
		p.sound.add(asked, now)
	}
	step := time.Duration(0)
	if !p.lastAsked.IsZero() {
		step = asked.Sub(p.lastAsked)
	}
	p.lastAsked = asked
	switch {
	case err != nil:
		p.counts.Answers.None++
		p.counts.SilentSeconds += step.Seconds()
		p.err = err
		return
	case got.isComplete:
		p.counts.Answers.Complete++
	default:
		p.counts.Answers.Incomplete++
		p.counts.IncompleteSeconds += step.Seconds()
	}
	a.answers = append(a.answers, got)
}

// ask asks a pod for all users, or for those in a channel.
func (a *Audit) ask(ctx context.Context, pod int, channel string) (*answer, error) {
	endpoint, body := "/allusers", `{"includeUsers":true,"dedupeUsers":false}`
	if channel != "" {
		endpoint, body = "/users", fmt.Sprintf(`{"channel":%q,"scope":"all","dedupeUsers":false}`, channel)
	}
	url := strings.TrimSuffix(a.Pods[pod].URL, "/") + a.Prefix + endpoint
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Host = a.Host
	r.Header.Set("Content-Type", "application/json")
	if a.APIKey != "" {
		r.Header.Set("X-Api-Key", a.APIKey)
	}
	got := &answer{pod: pod, channel: channel, asked: time.Now()}
	resp, err := a.pods[pod].http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	got.answered = time.Now()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		return nil, fmt.Errorf("%s: status %s: %.200q", endpoint, resp.Status, raw)
	}
	got.isComplete = resp.Header.Get("Rollcall-Complete") == "true"
	got.listed, err = a.parse(raw, channel)
	return got, err
}

// parse returns the users of this audit in an answer. Others are counted as strangers.
func (a *Audit) parse(raw []byte, channel string) (map[place]int, error) {
	lists := make(map[string][]person)
	var err error
	if channel != "" {
		err = json.Unmarshal(raw, &lists)
		if list, ok := lists[channel]; ok {
			lists = map[string][]person{"": list}
		}
	} else {
		var dcs map[string]struct {
			Authenticated json.RawMessage `json:"authenticated"`
		}
		err = json.Unmarshal(raw, &dcs)
		for name, dc := range dcs {
			if name == "_total" {
				continue
			}
			var list []person
			if err == nil {
				err = json.Unmarshal(dc.Authenticated, &list)
			}
			lists[name] = list
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the answer is not as it should be: %w", err)
	}
	listed := make(map[place]int)
	for dc, list := range lists {
		for _, p := range list {
			if strings.HasPrefix(p.ID, a.idPrefix()) {
				listed[place{dc, p.ID}]++
			}
		}
	}
	return listed, nil
}

// judge judges the answers that are old enough.
func (a *Audit) judge(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	rest := a.answers[:0]
	for _, got := range a.answers {
		if now.Sub(got.answered) < deferral {
			rest = append(rest, got)
			continue
		}
		a.judgeOne(got)
	}
	clear(a.answers[len(rest):])
	a.answers = rest
}

func (a *Audit) judgeOne(got *answer) {
	p := &a.pods[got.pod]
	v := a.stays.judge(a.Pods, got, func(pod int) bool { return a.pods[pod].sound.isDoubtful(got.asked, got.answered) })
	if len(v.wrong) > 0 {
		p.counts.Answers.Wrong++
		for _, text := range v.wrong {
			a.find(got.asked, got.pod, text)
		}
	}
	if got.channel != "" {
		return // counted with the connections
	}
	if !p.lastListed.IsZero() {
		// For longer the pod gave no answers, which are counted as such.
		step := min(got.asked.Sub(p.lastListed), time.Second).Seconds()
		p.counts.GhostSeconds += float64(v.ghosts) * step
		p.counts.MissingSeconds += float64(v.absent) * step
	}
	p.lastListed = got.asked
}

// find keeps a finding, up to a number of them.
func (a *Audit) find(at time.Time, pod int, text string) {
	const most = 20
	if len(a.findings) < most {
		a.findings = append(a.findings, Finding{At: at, Pod: a.Pods[pod].Name, Text: text})
	}
}
