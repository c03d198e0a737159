package presence

import "testing"

// Entries must be the number of users and of channels without users in the listing itself.
func TestEntriesOfAListing(t *testing.T) {
	w := salesRoom(t)
	h := w.host()
	id := h.Channels(PerUser)[len(h.Channels(PerUser))-1].Channel // a private channel
	for _, per := range []Per{PerUser, PerConnection} {
		for _, page := range []Page{
			{},
			{Prefix: "s"},
			{Prefix: "anonymous"},
			{Prefix: "ta"},
			{Prefix: PrivatePrefix},
			{Prefix: id},
			{Prefix: "none"},
			{After: "counted"},
			{After: id},
		} {
			list, _ := h.Page(page, per)
			if got, want := h.Entries(page, per), entriesIn(list); got != want {
				t.Errorf("%+v, per %d: %d entries, want %d", page, per, got, want)
			}
			merging := w.reg.Pods().Page(h.Name(), page, per)
			if got, want := w.reg.Pods().Entries(h.Name(), page, per), entriesIn(merging); got != want {
				t.Errorf("%+v, per %d, of several pods: %d entries, want %d", page, per, got, want)
			}
		}
	}
	if n := w.reg.Pods().Entries(HostName{}, Page{}, PerUser); n != 0 {
		t.Errorf("%d entries of no host", n)
	}
}

func entriesIn(list []Listing) (n int) {
	for i := range list {
		n += max(1, len(list[i].Users))
	}
	return n
}
