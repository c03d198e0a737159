package cluster

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/model"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// Kept is how long a pod keeps an answer. If only one client asks, and repeats a question only
// after this time, it gets a new answer.
const Kept = 100 * time.Millisecond

// Asker keeps asking one pod all kinds of questions, and judges each answer. Nothing else may ask
// that pod meanwhile, except through [Asker.Aside].
type Asker struct {
	Pod     Pod
	Site    ws.Site
	History *History
	Outlook *Outlook
	// Pace is the time between two questions.
	Pace time.Duration
	// Longest is the maximum time of an answer; 0 for no limit.
	Longest time.Duration
	// Margin is how long before the request a connection must be open to be in the answer for sure,
	// and how long before it a connection that was closed may still be in it.
	Margin time.Duration

	stop chan struct{}
	end  sync.Once // closes stop
	done sync.WaitGroup

	// asking is held while it asks; it guards last, when each shape was answered.
	asking sync.Mutex
	last   [len(model.Shapes)]time.Time

	// mu guards the fields below.
	mu       sync.Mutex
	findings []error
	answers  []answered
}

// answered is an answer with its judgment.
type answered struct {
	asked    time.Time
	complete bool
	wrong    bool
}

// Start starts to ask, until Stop is called.
func (k *Asker) Start() {
	k.stop = make(chan struct{})
	k.done.Go(k.run)
}

// Stop stops asking and returns the errors of answers.
func (k *Asker) Stop() error {
	k.end.Do(func() { close(k.stop) })
	k.done.Wait()
	return errors.Join(k.findings...)
}

// Since returns the number of answers to questions that were asked after a time, and how many of
// them were complete.
func (k *Asker) Since(begin time.Time) (all, complete int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range k.answers {
		if a.asked.After(begin) {
			all++
			if a.complete {
				complete++
			}
		}
	}
	return all, complete
}

// Doubtful returns the time since begin in which there was no complete answer: that between each
// question and the one before, where its answer was incomplete or did not come.
func (k *Asker) Doubtful(begin time.Time) (sum time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := begin
	for _, a := range k.answers {
		if a.asked.Before(begin) {
			continue
		}
		if step := a.asked.Sub(last); !a.complete || step > time.Second {
			sum += step
		}
		last = a.asked
	}
	return sum
}

// Wrong returns when the questions with wrong answers were asked, in order.
func (k *Asker) Wrong() []time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	var times []time.Time
	for _, a := range k.answers {
		if a.wrong {
			times = append(times, a.asked)
		}
	}
	return times
}

// Aside lets the test itself ask the pod, so that the asker does not get answers that were made for
// the test.
func (k *Asker) Aside(ask func()) {
	k.asking.Lock()
	defer k.asking.Unlock()
	ask()
	for i := range k.last {
		k.last[i] = time.Now()
	}
}

func (k *Asker) run() {
	tick := time.NewTicker(k.Pace)
	defer tick.Stop()
	for i := 0; ; {
		select {
		case <-k.stop:
			return
		case <-tick.C:
		}
		if k.askIfFresh(i) {
			i = (i + 1) % len(model.Shapes)
		}
	}
}

// askIfFresh asks if the pod has no kept answer.
func (k *Asker) askIfFresh(shape int) bool {
	k.asking.Lock()
	defer k.asking.Unlock()
	if time.Since(k.last[shape]) <= Kept {
		return false
	}
	k.ask(model.Shapes[shape])
	k.last[shape] = time.Now()
	return true
}

func (k *Asker) ask(s Shape) {
	asked := time.Now()
	a, err := AllUsers(k.Site, s)
	took := time.Since(asked)
	switch {
	case errors.Is(err, ErrNoAnswer) && k.Outlook.silent(k.Pod, asked, time.Now()):
		return
	case err != nil:
		err = fmt.Errorf("asking %s at %s: %w", k.Pod, asked.Format(clock), err)
	case k.Longest > 0 && took > k.Longest:
		err = fmt.Errorf("the answer of %s at %s took %s", k.Pod, asked.Format(clock), took)
	default:
		a.Asked = a.Asked.Add(-k.Margin)
		err = k.History.Check(k.Pod, a, k.Outlook)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answers = append(k.answers, answered{asked, a.Complete, err != nil})
	const enough = 5
	if err != nil && len(k.findings) < enough {
		k.findings = append(k.findings, err)
	}
}
