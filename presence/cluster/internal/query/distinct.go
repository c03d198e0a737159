package query

// run is sorted hashes of one pod.
type run struct {
	hashes []uint64
	more   func() []uint64 // next part; nil if there is none
}

// fill gets the next part if no hash is left. It returns false at the end.
func (r *run) fill() bool {
	if len(r.hashes) == 0 && r.more != nil {
		r.hashes = r.more()
	}
	return len(r.hashes) > 0
}

// countDistinct counts the different hashes of runs, of which each has one at least. It merges
// them, so no more than one part of each is in memory.
func countDistinct(runs []run) (n int) {
	for i := len(runs)/2 - 1; i >= 0; i-- {
		sink(runs, i)
	}
	var last uint64
	for len(runs) > 0 {
		first := &runs[0]
		if h := first.hashes[0]; n == 0 || h != last {
			n, last = n+1, h
		}
		if first.hashes = first.hashes[1:]; !first.fill() {
			end := len(runs) - 1
			runs[0], runs[end] = runs[end], run{}
			runs = runs[:end]
		}
		sink(runs, 0)
	}
	return n
}

// sink restores the order of a heap in which only the run at i can be out of place.
func sink(runs []run, i int) {
	for {
		least := 2*i + 1
		if least >= len(runs) {
			return
		}
		if right := least + 1; right < len(runs) && runs[right].hashes[0] < runs[least].hashes[0] {
			least = right
		}
		if runs[i].hashes[0] <= runs[least].hashes[0] {
			return
		}
		runs[i], runs[least] = runs[least], runs[i]
		i = least
	}
}
