package examples

import "testing"

const (
	ann = `{"id":"ann","email":"ann@acme.example"}`
	bob = `{"id":"bob","email":"bob@acme.test"}`
	dan = `{"id":"dan","email":"dan@globex.example"}`
	sue = `{"id":"sue","email":"sue@else.example"}`
)

func TestTeamTotalsByEmail(t *testing.T) {
	s := start(t, "team-totals").site("localhost")
	login(t, s, "ann", "ann@acme.example", "room", "standup")
	login(t, s, "ann", "ann@acme.example", "room")
	login(t, s, "bob", "bob@acme.test", "room")
	login(t, s, "dan", "dan@globex.example", "room")
	login(t, s, "sue", "sue@else.example")
	s.Dial(t).Join(t, "anonymous-1")

	s.Expect(t, "users", ask("room"), `{
		"teams": {
			"acme":   {"total": 2, "counted": 0, "channels": ["room"], "users": [`+ann+`,`+bob+`]},
			"globex": {"total": 1, "counted": 0, "channels": ["room"], "users": [`+dan+`]}
		},
		"total": 3, "counted": 0
	}`)
	s.Expect(t, "users", `{}`, `{
		"teams": {
			"guests": {"total": 0, "counted": 1, "channels": ["anonymous-1"], "users": []},
			"acme":   {"total": 2, "counted": 0, "channels": ["room", "standup"], "users": [`+ann+`,`+bob+`]},
			"globex": {"total": 1, "counted": 0, "channels": ["room"], "users": [`+dan+`]},
			"else.example": {"total": 1, "counted": 0, "channels": [], "users": [`+sue+`]}
		},
		"total": 4, "counted": 1
	}`)
	s.Expect(t, "allusers", `{}`,
		`{"local":{"authenticated":4,"anonymous":1},"_total":{"authenticated":4,"anonymous":1}}`)
}

func TestTeamTotalsByChannel(t *testing.T) {
	s := start(t, "team-totals", "team_from email", "team_from channel", `
				teams {
					acme acme.example acme.test
					globex globex.example
				}`, "").site("localhost")
	login(t, s, "ann", "ann@acme.example", "sales-emea", "sales-us", "it-1")
	login(t, s, "bob", "bob@acme.test", "sales-us", "room")

	s.Expect(t, "users", `{}`, `{
		"teams": {
			"it":     {"total": 1, "counted": 0, "channels": ["it-1"], "users": [`+ann+`]},
			"guests": {"total": 1, "counted": 0, "channels": ["room"], "users": [`+bob+`]},
			"sales":  {"total": 2, "counted": 0, "channels": ["sales-emea", "sales-us"], "users": [`+ann+`,`+bob+`]}
		},
		"total": 2, "counted": 0
	}`)
}
