package message

const (
	tooManyIDs  = "too many IDs of runs"
	tooManyRuns = "too many runs"
	badAge      = "an age out of range"
	badStanding = "an unknown standing of a run"
)

func (e *encoder) ids(ids []uint64) {
	if len(ids) > MaxRunIDs {
		e.fail(tooManyIDs)
	}
	e.length(len(ids))
	for _, id := range ids {
		e.fixed(id)
	}
}

func (d *decoder) ids() []uint64 {
	ids := list(d, leastID, d.fixed)
	if len(ids) > MaxRunIDs {
		d.fail(tooManyIDs)
	}
	return ids
}

func (e *encoder) runs(m *Runs) {
	if !m.List && (m.Heard != 0 || m.Missed != 0 || len(m.IDs) > 0) {
		e.fail("sums without a list")
	}
	e.flags(m.List)
	if m.List {
		e.fixed(m.Heard)
		e.fixed(m.Missed)
		e.ids(m.IDs)
	}
	if len(m.Runs) > MaxRuns {
		e.fail(tooManyRuns)
	}
	e.length(len(m.Runs))
	for i := range m.Runs {
		e.run(&m.Runs[i])
	}
}

func (d *decoder) runs() *Runs {
	m := &Runs{List: d.flags(1) != 0}
	if m.List {
		m.Heard, m.Missed, m.IDs = d.fixed(), d.fixed(), d.ids()
	}
	if m.Runs = list(d, leastRun, d.run); len(m.Runs) > MaxRuns {
		d.fail(tooManyRuns)
	}
	return m
}

func (e *encoder) run(r *Run) {
	if r.Standing < Heard || r.Standing > Forgotten {
		e.fail(badStanding)
	}
	if r.old() {
		e.fail(badAge)
	}
	e.name(r.DataCenter)
	e.name(r.Pod)
	e.incarnation(r.Incarnation)
	e.uvarint(r.Seq)
	e.fixed(r.Sites)
	e.uvarint(r.Age)
	e.byte(byte(r.Standing))
	e.uvarint(r.Tenure.Since)
	e.uvarint(r.Tenure.Left)
	e.uvarint(r.Tenure.Back)
}

// old reports whether an age of the run is above MaxAge.
func (r *Run) old() bool { return max(r.Age, r.Tenure.Since, r.Tenure.Left, r.Tenure.Back) > MaxAge }

func (d *decoder) run() Run {
	r := Run{
		DataCenter: d.name(), Pod: d.name(), Incarnation: d.incarnation(),
		Seq: d.uvarint(), Sites: d.fixed(), Age: d.uvarint(), Standing: Standing(d.byte()),
		Tenure: Tenure{Since: d.uvarint(), Left: d.uvarint(), Back: d.uvarint()},
	}
	if r.Standing < Heard || r.Standing > Forgotten {
		d.fail(badStanding)
	}
	if r.old() {
		d.fail(badAge)
	}
	return r
}
