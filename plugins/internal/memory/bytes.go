package memory

// Charge charges n bytes that are not the memory of an instance. It returns false, and charges
// nothing, if the budget has no room.
func (b *Budget) Charge(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

// Add charges n bytes even if the budget has no room. A negative n returns bytes.
func (b *Budget) Add(n int64) { b.used.Add(n) }

// HasRoom reports whether n bytes could be charged now.
func (b *Budget) HasRoom(n int64) bool { return b.used.Load()+n <= b.limit }
