package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rollcall-gateway/rollcall/bench/server"
	"github.com/rollcall-gateway/rollcall/internal/loopback"
)

// Goals of many sites, compared with Caddy without Rollcall.
const (
	mostTimes   = 1.3
	mostKBASite = 6
)

// manyFigures holds the figures of one configuration, one value per round.
type manyFigures struct {
	adapt             []float64 // ms of CPU
	start, startCPU   []float64 // ms on the clock, and of CPU
	reload, reloadCPU []float64
	heap              []float64 // KB
}

// manySites measures how long Caddy takes to start with very many sites, and to reload with one of
// them changed. The same binary runs the same sites, with Rollcall and with a respond in its place.
func (b *bench) manySites(ctx context.Context) error {
	t := newTable("sites", "", "adapt", "start", "start CPU", "reload", "reload CPU", "KB each")
	for _, n := range b.sites {
		var plain, with manyFigures
		for round := range b.rounds {
			for _, kind := range []struct {
				name string
				to   *manyFigures
			}{{"plain", &plain}, {rollcallName, &with}} {
				progress("%d sites, round %d: %s", n, round+1, kind.name)
				if err := b.manySitesRound(ctx, n, kind.name == rollcallName, kind.to); err != nil {
					return fmt.Errorf("%d sites, %s: %w", n, kind.name, err)
				}
			}
		}
		addManyRows(t, n, &plain, &with)
	}
	b.section("Many sites", "Each site has a host of its own and the two blocks of the [README](../README.md): Rollcall with an API key and a JWT key, "+
		"and `reverse_proxy`. Plain Caddy is the same binary with `respond 404` instead of `rollcall`. Times are in ms per 1,000 sites. "+
		"The configuration is JSON, made by `caddy adapt` before (its CPU is in the column adapt). The reload changes one site through the admin endpoint. "+
		"KB are live objects on the heap per site, after the reload.", t)
	return nil
}

func addManyRows(t *table, n int, plain, with *manyFigures) {
	columns := func(f *manyFigures) []float64 {
		all := [][]float64{f.adapt, f.start, f.startCPU, f.reload, f.reloadCPU, f.heap}
		return apply(all, func(values []float64) float64 { return median(values) })
	}
	row := func(label string, f *manyFigures) {
		values := columns(f)
		cells := append(make([]string, 0, 2+len(values)), thousands(n), label)
		for i, value := range values {
			if i < 5 {
				value *= 1000
			}
			cells = append(cells, number(value/float64(n)))
		}
		t.add(cells...)
	}
	row("plain Caddy", plain)
	row("with **Rollcall**", with)
	p, w := columns(plain), columns(with)
	cells := append(make([]string, 0, 9), thousands(n), "Rollcall compared with plain")
	for i := range 5 {
		cells = append(cells, ratio(w[i], p[i]))
	}
	more := (w[5] - p[5]) / float64(n)
	t.add(append(cells, number(more))...)
	t.goal(fmt.Sprintf("%s sites %s, %s", thousands(n),
		goal(max(w[2]/p[2], w[4]/p[4]), mostTimes, fmt.Sprintf("%.1f x CPU", mostTimes)),
		goal(more, mostKBASite, fmt.Sprintf("%d KB more", mostKBASite))))
}

// manySitesRound measures one start and one reload.
func (b *bench) manySitesRound(ctx context.Context, n int, rollcall bool, f *manyFigures) (err error) {
	dir, err := os.MkdirTemp(b.dir, "sites")
	if err != nil {
		return err
	}
	admin, err := loopback.Address()
	if err != nil {
		return err
	}
	address, err := loopback.Address()
	if err != nil {
		return err
	}
	config, cpu, err := b.adapt(ctx, dir, sitesCaddyfile(n, rollcall, admin, address))
	if err != nil {
		return err
	}
	f.adapt = append(f.adapt, millis(cpu))
	file := filepath.Join(dir, "caddy.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return err
	}
	began := time.Now()
	s, err := server.StartConfig(ctx, b.caddy, file, admin, address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	if err := s.AwaitConfig(ctx); err != nil {
		return err
	}
	took := time.Since(began)
	used, err := s.CPU()
	if err != nil {
		return err
	}
	f.start, f.startCPU = append(f.start, millis(took)), append(f.startCPU, millis(used))
	changed := bytes.Replace(config, []byte(upstream(n/2)), []byte(upstream(n)), 1)
	if bytes.Equal(config, changed) {
		return errors.New("no site changes with the reload")
	}
	// Collect, so that the garbage of the start is not part of the reload.
	if err := s.Collect(ctx); err != nil {
		return err
	}
	used, took, err = measure(s, func() error { return s.Load(ctx, changed) })
	if err != nil {
		return err
	}
	f.reload, f.reloadCPU = append(f.reload, millis(took)), append(f.reloadCPU, millis(used))
	heap, err := s.SettledHeap(ctx)
	if err != nil {
		return err
	}
	f.heap = append(f.heap, float64(heap)/1024)
	return checkSite(ctx, s, n-1, rollcall)
}

// adapt returns the JSON of a Caddyfile, and the CPU time for it.
func (b *bench) adapt(ctx context.Context, dir, caddyfile string) ([]byte, time.Duration, error) {
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(caddyfile), 0o600); err != nil {
		return nil, 0, err
	}
	cmd := exec.CommandContext(ctx, b.caddy, "adapt", "--config", file, "--adapter", "caddyfile")
	config, err := cmd.Output()
	if err != nil {
		return nil, 0, fmt.Errorf("adapting a Caddyfile: %w", err)
	}
	return config, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

func sitesCaddyfile(n int, rollcall bool, admin, address string) string {
	_, port, _ := strings.Cut(address, ":")
	var text strings.Builder
	fmt.Fprintf(&text, "{\n\tadmin %s\n\tpersist_config off\n\tdefault_bind 127.0.0.1\n\tlog {\n\t\tlevel ERROR\n\t}\n}\n", admin)
	for i := range n {
		handler := "respond 404"
		if rollcall {
			handler = fmt.Sprintf("rollcall {\n\t\t\tapi_key %s\n\t\t\tjwt {\n\t\t\t\tkey %s\n\t\t\t}\n\t\t}", siteKey(i), siteSecret(i))
		}
		fmt.Fprintf(&text, "\nhttp://%s:%s {\n\thandle /message/* {\n\t\t%s\n\t}\n\thandle {\n\t\treverse_proxy %s\n\t}\n}\n",
			siteHost(i), port, handler, upstream(i))
	}
	return text.String()
}

// Parts of a site.
func siteHost(i int) string   { return fmt.Sprintf("site-%05d.example.com", i) }
func siteKey(i int) string    { return hexKey("key", i) }
func siteSecret(i int) string { return hexKey("secret", i) }
func upstream(i int) string   { return fmt.Sprintf("app-%05d.internal:3000", i) }

// hexKey returns a key of the form that openssl rand -hex 32 makes.
func hexKey(of string, i int) string {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, of, i)))
}

// checkSite asks one of the sites for its connections, to be sure that the measured configuration
// works.
func checkSite(ctx context.Context, s *server.Process, i int, rollcall bool) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.Address+"/message/users", strings.NewReader("{}"))
	if err != nil {
		return err
	}
	r.Host = siteHost(i)
	r.Header.Set("X-Api-Key", siteKey(i))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	wanted := http.StatusNotFound
	if rollcall {
		wanted = http.StatusOK
	}
	if resp.StatusCode != wanted {
		return fmt.Errorf("%s answers %s to POST /message/users, and not %d", r.Host, resp.Status, wanted)
	}
	return nil
}
