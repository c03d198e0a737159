package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// start measures the cost of loading a guest and of making an instance.
func (b *bench) start() error {
	progress("loading")
	t := newTable("guest", "file, KB", "metered, KB", "load", "load, cached", "instance", "the same, bare wazero: load", "instance")
	for _, name := range []string{guestC, guestRust, guestAS, guestGo, guestGoJSON} {
		if err := b.startOf(t, name); err != nil {
			return fmt.Errorf("loading %s: %w", title[name], err)
		}
	}
	t.print("Loading", "In ms by the clock. A load checks the file, meters it and compiles it; cached, it finds the compiled code on disk, as after\n"+
		"a restart. An instance is made, initialised and configured.")
	return nil
}

func (b *bench) startOf(t *table, name string) error {
	var cold, cached, instance, bareLoad, bareInstance []float64
	for round := range b.rounds {
		cache := filepath.Join(b.dir, fmt.Sprintf("cache-%s-%d", name, round))
		for _, times := range []*[]float64{&cold, &cached} {
			var o *ours
			ms, err := since(func() (err error) {
				o, err = newOurs(b.ctx, b.guests[name], cache)
				return err
			})
			if err != nil {
				return err
			}
			*times = append(*times, ms)
			ms, err = since(func() error { return o.plugin.Try(b.ctx, host) })
			instance = append(instance, ms)
			if err != nil {
				return err
			}
			if err := o.close(); err != nil {
				return err
			}
		}
		if err := b.bareStart(name, &bareLoad, &bareInstance); err != nil {
			return err
		}
	}
	o, err := b.ours(name)
	if err != nil {
		return err
	}
	info := o.plugin.Info()
	best := func(times []float64) string {
		least := times[0]
		for _, ms := range times {
			least = min(least, ms)
		}
		return number(least)
	}
	t.add(title[name], strconv.Itoa(info.Size/1000), strconv.Itoa(info.MeteredSize/1000), best(cold), best(cached),
		best(instance), best(bareLoad), best(bareInstance))
	return nil
}

func (b *bench) bareStart(name string, load, instance *[]float64) error {
	var w *bare
	ms, err := since(func() (err error) {
		w, err = newBare(b.ctx, b.guests[name].wasm, false)
		return err
	})
	if err != nil {
		return err
	}
	*load = append(*load, ms)
	ms, err = since(func() error {
		_, err := w.instantiate(b.ctx)
		return err
	})
	*instance = append(*instance, ms)
	if err != nil {
		return err
	}
	return w.close(b.ctx)
}

// instances is the number of instances whose memory is measured.
const instances = 50

// memory measures the memory of an instance.
func (b *bench) memory() error {
	progress("memory")
	t := newTable("guest", "linear memory", "resident", "bare wazero, resident")
	for _, name := range []string{guestC, guestRust, guestAS, guestGo, guestGoJSON} {
		o, err := b.ours(name)
		if err != nil {
			return err
		}
		before, err := resident()
		if err != nil {
			return err
		}
		for i := range instances { // each host has its own instances
			if err := o.plugin.Try(b.ctx, fmt.Sprintf("host-%d.example.com", i)); err != nil {
				return err
			}
		}
		after, err := resident()
		if err != nil {
			return err
		}
		linear := int64(0)
		for _, report := range o.engine.Report() {
			for _, h := range report.Hosts {
				linear = max(linear, h.Memory)
			}
		}
		plain, err := b.bareMemory(name)
		if err != nil {
			return err
		}
		t.add(title[name], strconv.FormatInt(linear>>10, 10), strconv.Itoa((after-before)/instances), strconv.Itoa(plain))
	}
	t.print("Memory", fmt.Sprintf("KiB for each of %d instances, which have answered nothing yet.", instances))
	return nil
}

func (b *bench) bareMemory(name string) (kib int, err error) {
	w, err := newBare(b.ctx, b.guests[name].wasm, false)
	if err != nil {
		return 0, err
	}
	before, err := resident()
	if err != nil {
		return 0, err
	}
	for range instances {
		if _, err := w.instantiate(b.ctx); err != nil {
			return 0, err
		}
	}
	after, err := resident()
	if err != nil {
		return 0, err
	}
	return (after - before) / instances, w.close(b.ctx)
}

// resident returns the memory of this process in KiB, after all unused memory was returned.
func resident() (int, error) {
	debug.FreeOSMemory()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, fmt.Errorf("this needs Linux: %w", err)
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return 0, fmt.Errorf("unexpected /proc/self/statm: %q", statm)
	}
	pages, err := strconv.Atoi(fields[1])
	return pages * os.Getpagesize() >> 10, err
}
