package main

import (
	"encoding/json"
	"strings"
	"testing"
)

const (
	one = `{"id":"00000000-0000-4000-8000-000000000001","email":"first.last.00000001@portal.example.com"}`
	two = `{"id":"00000000-0000-4000-8000-000000000002","email":"first.last.00000002@portal.example.com"}`
)

func TestReportsBecomeTheAnswers(t *testing.T) {
	ada, grace := userOf(1), userOf(2)
	s := newState([]*socket{
		{id: "a", user: &ada, channels: []string{"anonymous-lobby", "room"}},
		{id: "b", user: &ada, channels: []string{"room"}},
		{id: "c", user: &grace, channels: []string{"room"}},
		{id: "d", channels: []string{"anonymous-lobby"}},
	}, 7)
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var reported state
	if err := json.Unmarshal(text, &reported); err != nil {
		t.Fatal(err)
	}
	m := newModel([]state{reported, {}})
	body := `{"anonymous-lobby":2,"room":[` + two + `,` + one + `],"tab|a":` + one + `,"tab|b":` + one + `,"tab|c":` + two + `,"tab|d":1}`
	if err := compareUsers([]byte(body), m, podOf(0)); err != nil {
		t.Error(err)
	}
	if err := compareUsers([]byte(`{}`), m, podOf(1)); err != nil {
		t.Error(err)
	}
	all := `{"soak":{"authenticated":[` + one + `,` + two + `],"authenticatedCount":2,"anonymous":1},"_total":{"authenticated":2,"anonymous":1}}`
	if err := compareAllUsers([]byte(all), m); err != nil {
		t.Error(err)
	}
	if n := reported.listeners(); len(reported.Conns) != 4 || reported.Messages != 7 || n["room"] != 3 || n["anonymous-lobby"] != 2 {
		t.Errorf("%+v", reported)
	}
}

func TestEveryDifferenceIsSeen(t *testing.T) {
	ada := userOf(1)
	m := newModel([]state{newState([]*socket{{id: "a", user: &ada, channels: []string{"room"}}}, 0)})
	for name, body := range map[string]string{
		"a channel is missing":      `{"tab|a":` + one + `}`,
		"a channel is too many":     `{"room":[` + one + `],"tab|a":` + one + `,"tab|b":1}`,
		"a user is listed twice":    `{"room":[` + one + `,` + one + `],"tab|a":` + one + `}`,
		"a user is missing":         `{"room":[],"tab|a":` + one + `}`,
		"another address":           `{"room":[` + strings.Replace(one, "first", "last", 1) + `],"tab|a":` + one + `}`,
		"an anonymous private user": `{"room":[` + one + `],"tab|a":1}`,
	} {
		if err := compareUsers([]byte(body), m, podOf(0)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, body := range map[string]string{
		"a count too high":  `{"soak":{"authenticated":[` + one + `],"authenticatedCount":2,"anonymous":0},"_total":{"authenticated":2,"anonymous":0}}`,
		"an anonymous user": `{"soak":{"authenticated":[` + one + `],"authenticatedCount":1,"anonymous":1},"_total":{"authenticated":1,"anonymous":1}}`,
		"a user twice": `{"soak":{"authenticated":[` + one + `,` + one + `],"authenticatedCount":2,"anonymous":0},` +
			`"_total":{"authenticated":2,"anonymous":0}}`,
		"another user":  `{"soak":{"authenticated":[` + strings.ReplaceAll(one, "1", "2") + `],"authenticatedCount":1,"anonymous":0},"_total":{"authenticated":1,"anonymous":0}}`,
		"another total": `{"soak":{"authenticated":[` + one + `],"authenticatedCount":1,"anonymous":0},"_total":{"authenticated":0,"anonymous":0}}`,
	} {
		if err := compareAllUsers([]byte(body), m); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestMemoryThatGrowsIsNotFlat(t *testing.T) {
	for name, test := range map[string]struct {
		held  []int
		fails bool
	}{
		"too few to say":  {[]int{1 << 20, 9 << 20, 9 << 20}, false},
		"flat":            {[]int{50 << 20, 100 << 20, 101 << 20, 99 << 20, 104 << 20, 100 << 20, 102 << 20}, false},
		"growing":         {[]int{90 << 20, 100 << 20, 103 << 20, 106 << 20, 109 << 20, 112 << 20, 115 << 20}, true},
		"one large value": {[]int{100 << 20, 100 << 20, 300 << 20, 100 << 20, 100 << 20, 100 << 20, 100 << 20}, false},
	} {
		if err := flat(test.held); (err != nil) != test.fails {
			t.Errorf("%s: %v", name, err)
		}
	}
}
