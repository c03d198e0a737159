package cluster

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestViewFollowsFrames(t *testing.T) {
	const snapshot = `{"type":"joined","seq":4,"members":[{"id":"u","email":"1"}],"count":1}`
	tests := []struct {
		name   string
		frames []string
		want   string // members, or part of the error
	}{
		{"snapshot", []string{snapshot}, "u<1>"},
		{"joined", []string{snapshot, `{"type":"presence","seq":5,"joined":[{"id":"v"}],"count":2}`}, "u<1> v<>"},
		{"left", []string{snapshot, `{"type":"presence","seq":5,"left":[{"id":"u"}],"count":0}`}, ""},
		{"updated", []string{snapshot, `{"type":"presence","seq":5,"updated":[{"id":"u","email":"2"}],"count":1}`}, "u<2>"},
		{
			"again",
			[]string{snapshot, `{"type":"presence","seq":5,"joined":[{"id":"v"}],"count":2}`, `{"type":"joined","seq":0,"members":[],"count":0}`},
			"",
		},
		{"a gap", []string{snapshot, `{"type":"presence","seq":6,"joined":[{"id":"v"}],"count":2}`}, "!frame 6 comes after frame 4"},
		{"twice", []string{snapshot, `{"type":"presence","seq":5,"joined":[{"id":"u"}],"count":1}`}, "!u joined and was there"},
		{"a stranger left", []string{snapshot, `{"type":"presence","seq":5,"left":[{"id":"v"}],"count":1}`}, "!v left and was not"},
		{"a stranger changed", []string{snapshot, `{"type":"presence","seq":5,"updated":[{"id":"v"}],"count":1}`}, "!v was updated"},
		{"a wrong count", []string{snapshot, `{"type":"presence","seq":5,"joined":[{"id":"v"}],"count":1}`}, "!there are 1, the list has 2"},
		{"no snapshot", []string{`{"type":"presence","seq":5,"joined":[{"id":"v"}],"count":1}`}, "!before the answer"},
		{"no number", []string{`{"type":"joined","members":[],"count":0}`}, "!no seq"},
		{
			"double in a snapshot",
			[]string{`{"type":"joined","seq":4,"members":[{"id":"u"},{"id":"u"}],"count":2}`},
			"!in a snapshot twice",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var v View
			for _, text := range tt.frames {
				var f frame
				if err := json.Unmarshal([]byte(text), &f); err != nil {
					t.Fatal(err)
				}
				v.apply(&f)
			}
			users, err := v.Members()
			if want, wrong := strings.CutPrefix(tt.want, "!"); wrong {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want an error with %q", err, want)
				}
				return
			}
			var got []string
			for _, u := range users {
				got = append(got, u.ID+"<"+u.Email+">")
			}
			if text := strings.Join(got, " "); err != nil || text != tt.want {
				t.Errorf("got %q (%v), want %q", text, err, tt.want)
			}
		})
	}
}

func TestViewCountsComingAndGoing(t *testing.T) {
	var v View
	for _, text := range []string{
		`{"type":"joined","seq":0,"members":[],"count":0}`,
		`{"type":"presence","seq":1,"joined":[{"id":"u"}],"count":1}`,
		`{"type":"presence","seq":2,"left":[{"id":"u"}],"count":0}`,
		`{"type":"presence","seq":3,"joined":[{"id":"u"},{"id":"v"}],"count":2}`,
	} {
		var f frame
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			t.Fatal(err)
		}
		v.apply(&f)
	}
	if joined, left, _ := v.Since(time.Time{}, "u"); joined != 2 || left != 1 {
		t.Errorf("u joined %d times and left %d times", joined, left)
	}
	if joined, left, _ := v.Since(time.Now().Add(time.Hour), "u"); joined != 0 || left != 0 {
		t.Errorf("u joined %d times and left %d times in the future", joined, left)
	}
	events, err := v.Events()
	if count, _ := v.Count(); err != nil || count != 2 || len(events) != 5 {
		t.Errorf("count %d, events %+v (%v)", count, events, err)
	}
}
