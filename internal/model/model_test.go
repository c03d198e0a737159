package model

import (
	"reflect"
	"testing"
)

var (
	a1 = Pod{"a", "1"}
	a2 = Pod{"a", "2"}
	b1 = Pod{"b", "1"}
)

func TestModelCountsAUserOnceInADataCenter(t *testing.T) {
	m := New([]Pod{a1, a2, b1})
	m.Connect("c1", a1, &User{ID: "u", Email: "old"})
	m.Connect("c2", a2, &User{ID: "u", Email: "new"})
	m.Connect("c3", a2, nil)
	m.Connect("c4", a1, &User{ID: "v", Email: "v"})
	newest, v := User{ID: "u", Email: "new"}, User{ID: "v", Email: "v"}
	tests := []struct {
		shape Shape
		want  map[string]DataCenter
	}{
		{Shape{}, map[string]DataCenter{"a": {2, 1, nil}, "b": {0, 0, nil}}},
		{Shape{Raw: true}, map[string]DataCenter{"a": {3, 1, nil}, "b": {0, 0, nil}}},
		{Shape{Include: true}, map[string]DataCenter{"a": {2, 1, []User{newest, v}}, "b": {0, 0, []User{}}}},
		{Shape{Include: true, Raw: true}, map[string]DataCenter{"a": {3, 1, []User{newest, newest, v}}, "b": {0, 0, []User{}}}},
	}
	for _, tt := range tests {
		if got := m.AllUsers(tt.shape); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%+v: got %+v, want %+v", tt.shape, got, tt.want)
		}
	}
}

func TestModelKnowsTheLatestAddressOfThosePodsThatHaveTheUser(t *testing.T) {
	m := New([]Pod{a1, a2, b1})
	steps := []struct {
		name string
		do   func()
		want []User // in data center a
	}{
		{"connect", func() { m.Connect("c1", a1, &User{ID: "u", Email: "1"}) }, []User{{ID: "u", Email: "1"}}},
		{"the same user elsewhere", func() { m.Connect("c2", a2, &User{ID: "u", Email: "2"}) }, []User{{ID: "u", Email: "2"}}},
		{"in another data center", func() { m.Connect("c3", b1, &User{ID: "u", Email: "3"}) }, []User{{ID: "u", Email: "2"}}},
		{"login again", func() { m.Authenticate("c1", User{ID: "u", Email: "4"}) }, []User{{ID: "u", Email: "4"}}},
		{"the pod with the latest loses the user", func() { m.Close("c1") }, []User{{ID: "u", Email: "2"}}},
		{"another user", func() { m.Authenticate("c2", User{ID: "v", Email: "5"}) }, []User{{ID: "v", Email: "5"}}},
		{"restart", func() { m.Restart(a2) }, []User{}},
	}
	for _, step := range steps {
		step.do()
		if got := m.AllUsers(Shape{Include: true})["a"].Users; !reflect.DeepEqual(got, step.want) {
			t.Errorf("%s: got %+v, want %+v", step.name, got, step.want)
		}
	}
}

func TestModelOfChannels(t *testing.T) {
	m := New([]Pod{a1, b1})
	u, v := User{ID: "u", Email: "u"}, User{ID: "v", Email: "v"}
	m.Connect("c1", a1, &u)
	m.Connect("c2", b1, &v)
	m.Connect("c3", b1, nil)
	for _, id := range []string{"c1", "c2", "c3"} {
		m.Conns[id].Channels["anonymousChat"] = true
	}
	m.Conns["c1"].Channels["room"] = true
	m.Conns["c2"].Channels["room"] = true
	want := map[string]any{
		"tab|c1": u, "tab|c2": v, "tab|c3": 1.0, "anonymousChat": 3.0, "room": []User{u, v},
	}
	if got := m.Users(func(Pod) bool { return true }); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	want = map[string]any{"tab|c1": u, "anonymousChat": 1.0, "room": []User{u}}
	if got := m.Users(func(p Pod) bool { return p == a1 }); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, n := m.Members("room"), m.Listeners("anonymousChat"); !reflect.DeepEqual(got, []User{u, v}) || n != 3 {
		t.Errorf("members %+v, %d listeners", got, n)
	}
}
