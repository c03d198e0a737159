package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-gateway/rollcall/internal/plural"
	"github.com/rollcall-gateway/rollcall/plugins"
)

// casesFile is a table of calls with the results that they must have. The calls are made in order,
// and share the plugin's store.
type casesFile struct {
	Config json.RawMessage   `json:"config"` // config block of the plugin
	Cases  []json.RawMessage `json:"cases"`
}

// pluginCase is one line of the table.
type pluginCase struct {
	hookCall
	Name      string          `json:"name"`
	After     string          `json:"after"` // time that passes before the calls, like 1m
	Times     int             `json:"times"` // number of equal calls; default 1
	Want      json.RawMessage `json:"want"`
	WantError string          `json:"want_error"` // reason of a failure, as in metrics

	after time.Duration
}

// casesStart is the time of the plugin's clock at the first case. It moves by "after" alone, so
// that a table has the same results at any hour.
var casesStart = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// runPluginTest makes the calls of a file of cases and compares their results.
func runPluginTest(cmd *cobra.Command, args []string) error {
	if len(args) != 2 {
		return errors.New("two files are needed: the plugin and the cases, like plugin.wasm cases.json")
	}
	config, cases, err := readCases(args[1])
	if err != nil {
		return fmt.Errorf("%s: %w", args[1], err)
	}
	t := &pluginTrial{spec: plugins.Spec{Path: args[0]}}
	if err := t.readFlags(cmd); err != nil {
		return err
	}
	if config != nil {
		if t.spec.Config != nil {
			return fmt.Errorf("--config and the config in %s contradict each other: leave one out", args[1])
		}
		t.spec.Config = config
	}
	var passed atomic.Int64 // time since casesStart
	now := func() time.Time { return casesStart.Add(time.Duration(passed.Load())) }
	if err := t.load(cmd, plugins.EngineConfig{Now: now}); err != nil {
		return err
	}
	defer t.close()
	failed := 0
	for i, c := range cases {
		passed.Add(int64(c.after))
		differences := c.compare(cmd.Context(), t)
		if len(differences) == 0 {
			continue
		}
		failed++
		fmt.Fprintf(cmd.OutOrStdout(), "FAIL %s\n\t%s\n", c.title(i), strings.Join(differences, "\n\t"))
	}
	if failed > 0 {
		return fmt.Errorf("%d of %s failed", failed, plural.Of(len(cases), "case"))
	}
	fmt.Fprintf(cmd.OutOrStdout(), "ok: %s passed\n", plural.Of(len(cases), "case"))
	return nil
}

// readCases reads and checks a file of cases.
func readCases(file string) (config json.RawMessage, cases []*pluginCase, err error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	var f casesFile
	if err := decodeStrictly(raw, &f); err != nil {
		return nil, nil, fmt.Errorf("%w: write {\"cases\": [...]} and perhaps config", err)
	}
	if len(f.Cases) == 0 {
		return nil, nil, errors.New("there is no case: write {\"cases\": [{\"hook\": ..., \"want\": ...}]}")
	}
	for i, raw := range f.Cases {
		c := &pluginCase{Times: 1}
		err := decodeStrictly(raw, c)
		if err == nil {
			err = c.checkCase()
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", c.title(i), err)
		}
		cases = append(cases, c)
	}
	return f.Config, cases, nil
}

func decodeStrictly(raw []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return fmt.Errorf("line %d: %w", 1+bytes.Count(raw[:syntax.Offset], []byte("\n")), err)
		}
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}

// title names the case, the index of which is i.
func (c *pluginCase) title(i int) string {
	if c.Name == "" {
		return fmt.Sprintf("case %d", i+1)
	}
	return fmt.Sprintf("case %d (%s)", i+1, c.Name)
}

// compact removes white space from what plugins get in compact form.
func (c *pluginCase) compact() error {
	texts := []*json.RawMessage{&c.Claims, &c.Message}
	if c.User != nil {
		texts = append(texts, &c.User.Info)
	}
	for _, text := range texts {
		if *text == nil {
			continue
		}
		var b bytes.Buffer
		if err := json.Compact(&b, *text); err != nil {
			return err
		}
		*text = b.Bytes()
	}
	return nil
}

func (c *pluginCase) checkCase() (err error) {
	if err := c.compact(); err != nil {
		return err
	}
	if err := c.check(func(key string) string { return `"` + key + `"` }); err != nil {
		return err
	}
	if c.After != "" {
		if c.after, err = time.ParseDuration(c.After); err != nil || c.after < 0 {
			return fmt.Errorf("\"after\" %q is not a duration like 30s or 1m", c.After)
		}
	}
	switch {
	case c.Times < 1 || c.Times > 100_000:
		return fmt.Errorf("\"times\" %d is out of range, want 1 to 100000", c.Times)
	case (c.Want == nil) == (c.WantError == ""):
		return errors.New("one of \"want\" and \"want_error\" is needed: the result, or the reason of the failure")
	case c.decides() && c.Want != nil && !isObject(c.Want):
		return errors.New("\"want\" must be an object with the keys that matter, as call prints them")
	case c.readsAnswer() && c.Answer == nil:
		return errors.New("\"answer\" is missing: the answer that the hook changes")
	case c.hook == plugins.HookMessage && !isObject(c.Message):
		return errors.New("\"message\" must be a JSON object")
	}
	return nil
}

// compare makes the calls. It returns how the first result that differs from the wanted one does
// so.
func (c *pluginCase) compare(ctx context.Context, t *pluginTrial) []string {
	if err := c.supported(t); err != nil {
		return []string{"the plugin " + err.Error()}
	}
	for i := range c.Times {
		if differences := c.compareOnce(ctx, t); len(differences) > 0 {
			if c.Times > 1 {
				differences = append([]string{fmt.Sprintf("at call %d of %d:", i+1, c.Times)}, differences...)
			}
			return differences
		}
	}
	return nil
}

func (c *pluginCase) compareOnce(ctx context.Context, t *pluginTrial) []string {
	got, err := c.run(ctx, t)
	if failure, ok := errors.AsType[*plugins.Error](err); ok && string(failure.Reason) == c.WantError {
		return nil
	}
	switch {
	case err != nil && c.WantError != "":
		return []string{fmt.Sprintf("want the failure %s, got %v", c.WantError, err)}
	case err != nil:
		return []string{err.Error()}
	case c.WantError != "":
		return []string{fmt.Sprintf("want the failure %s, got %s", c.WantError, shortened(got))}
	}
	var have, want any
	if err := json.Unmarshal(got, &have); err != nil {
		return []string{"the result is not JSON: " + err.Error()}
	}
	_ = json.Unmarshal(c.Want, &want) // it was decoded once
	if c.decides() {
		return differencesIn(have, want)
	}
	return differences("", have, want)
}

// differencesIn compares the members of a decision that want names.
func differencesIn(have, want any) (list []string) {
	result, _ := have.(map[string]any)
	for _, key := range sortedKeys(want.(map[string]any)) {
		list = append(list, differences("."+key, result[key], want.(map[string]any)[key])...)
	}
	return list
}
