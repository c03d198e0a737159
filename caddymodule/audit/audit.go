package audit

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what to audit.
type Options struct {
	Pods []Pod
	// Host is the host of the site, with a port if its URLs have one.
	Host string
	// Prefix is the path of the site's endpoints, like /message.
	Prefix string
	// APIKey opens the endpoints for backends. If empty, none is sent.
	APIKey string
	// Token returns a token for a user.
	Token func(user string) (string, error)
	// Grace is the site's grace period.
	Grace time.Duration
	// Users is the number of users that come and go, and Channels that of the channels that they
	// join. Both are at least 1.
	Users, Channels int
	// Pace is the mean time between two things that a user does. Default: 1 s.
	Pace time.Duration
}

// Pod is one pod, and how to reach it directly.
type Pod struct {
	// Name is DC/POD, as in the header Rollcall-Missing.
	Name string
	// URL is http or https with the pod's own address.
	URL string
	// Dial connects to the pod. If nil, TCP to the URL's host is used.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func (p Pod) dataCenter() string {
	dc, _, _ := strings.Cut(p.Name, "/")
	return dc
}

// Audit is one audit of a deployment.
type Audit struct {
	Options
	run      string // in the names of users and channels, so that two audits do not disturb each other
	channels []string
	sent     atomic.Uint64 // number of the last message
	stays    stays
	frames   *frames
	messages *messages

	// mu guards the fields below.
	mu       sync.Mutex
	pods     []podState
	answers  []*answer // not judged yet
	findings []Finding
	began    time.Time
	lasted   time.Duration // 0 while it runs
}

// podState is what the audit knows of a pod.
type podState struct {
	http     *http.Client
	watching sync.Once
	started  chan struct{} // closed when the watcher listens for the first time
	err      error         // latest failure
	sound    soundness
	counts   PodReport
	// lastAsked is when the latest question was asked, and lastListed the latest judged one for all
	// users.
	lastAsked, lastListed time.Time
}

// New returns an audit that has not begun.
func New(o Options) *Audit {
	if o.Pace <= 0 {
		o.Pace = time.Second
	}
	a := &Audit{
		Options: o, run: strings.ToLower(rand.Text()[:8]),
		frames: newFrames(len(o.Pods)), messages: newMessages(len(o.Pods)), pods: make([]podState, len(o.Pods)),
	}
	for i := range a.pods {
		t := &http.Transport{DialContext: o.Pods[i].Dial, TLSClientConfig: a.tls(), MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute}
		a.pods[i].http = &http.Client{Transport: t, Timeout: patience}
		a.pods[i].started = make(chan struct{})
	}
	for i := range o.Users {
		a.pods[a.home(i)].counts.Users.Home++
	}
	for i := range o.Channels {
		a.channels = append(a.channels, fmt.Sprintf("audit-%s-%d", a.run, i+1))
	}
	return a
}

// home returns the pod to which a user connects when all is well.
func (a *Audit) home(user int) (pod int) { return user % len(a.Pods) }

func (a *Audit) idPrefix() string { return "audit-" + a.run + "-" }

func (a *Audit) watcherID(pod int) string { return fmt.Sprintf("%swatcher-%d", a.idPrefix(), pod+1) }

// Run audits until the context ends, and then waits up to ten seconds for what is under way. It may
// be called once.
//
// It returns an error if the audit cannot begin, because a pod does not take a user, or does not
// answer, or has another name. What it finds is in [Audit.Report].
func (a *Audit) Run(ctx context.Context) error {
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer stopWatching()
	for i := range a.Pods {
		w := &watcher{a, i}
		watchers.Go(func() { w.live(watching) })
	}
	if err := a.await(ctx); err != nil {
		return err
	}
	a.mu.Lock()
	a.began = time.Now()
	a.mu.Unlock()
	var work, judging sync.WaitGroup
	judged, stopJudging := context.WithCancel(watching)
	judging.Go(func() { a.judgeInTurn(judged) })
	for i := range a.Pods {
		work.Go(func() { a.askInTurn(ctx, i) })
	}
	for i := range a.Users {
		u := &user{a, fmt.Sprintf("%s%d", a.idPrefix(), i+1), a.home(i), a.channels[i%len(a.channels)]}
		work.Go(func() { u.live(ctx) })
	}
	work.Wait()
	a.settle()
	stopJudging()
	judging.Wait()
	a.mu.Lock()
	a.lasted = time.Since(a.began)
	a.mu.Unlock()
	return nil
}

// await waits until each pod has a watcher, and lists it under its name.
func (a *Audit) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	for i := range a.pods {
		select {
		case <-a.pods[i].started:
		case <-ctx.Done():
			a.mu.Lock()
			defer a.mu.Unlock()
			return fmt.Errorf("%s: %w", a.Pods[i].Name, cmp.Or(a.pods[i].err, context.Cause(ctx)))
		}
		if err := a.checkName(ctx, i); err != nil {
			return fmt.Errorf("%s: %w", a.Pods[i].Name, err)
		}
	}
	return nil
}

// checkName returns an error if the pod does not answer, or is in another data center than its name
// says.
func (a *Audit) checkName(ctx context.Context, pod int) error {
	for {
		got, err := a.ask(ctx, pod, "")
		if err != nil {
			return err
		}
		for where := range got.listed {
			if where.user != a.watcherID(pod) {
				continue
			}
			if want := a.Pods[pod].dataCenter(); where.dc != want {
				return fmt.Errorf("the pod is in the data center %q: write its name as DC/POD, like Rollcall-Missing does", where.dc)
			}
			return nil
		}
		pause(ctx, askEvery)
		if ctx.Err() != nil {
			return errors.New("the pod does not list a user who is connected to it")
		}
	}
}

// judgeInTurn judges and counts until the context ends.
func (a *Audit) judgeInTurn(ctx context.Context) {
	for ctx.Err() == nil {
		now := time.Now()
		a.judge(now)
		a.frames.expire(now)
		a.messages.expire(now)
		pause(ctx, askEvery)
	}
}

// settle waits until nothing is expected any more.
func (a *Audit) settle() {
	for end := time.Now().Add(lost + late); time.Now().Before(end); <-time.After(askEvery) {
		now := time.Now()
		a.mu.Lock()
		waiting := len(a.answers)
		a.mu.Unlock()
		if waiting+a.frames.expire(now)+a.messages.expire(now) == 0 {
			return
		}
	}
}

// fail records the latest failure of a pod.
func (a *Audit) fail(pod int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pods[pod].err = err
}
