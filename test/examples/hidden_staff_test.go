package examples

import (
	"testing"
)

func TestHiddenStaff(t *testing.T) {
	e := start(t, "hidden-staff")
	portal, office := e.site("portal.localhost"), e.site("office.localhost")
	for _, s := range []struct {
		id, email string
	}{
		{"ada", "ada@example.com"},
		{"admin", "root@example.com"},
		{"sam", "sam@Staff.Example"},
	} {
		login(t, portal, s.id, s.email, "room")
		login(t, office, s.id, s.email, "room")
	}

	portal.Expect(t, "users", ask("room"), `{"room":[{"id":"ada","email":"ada@example.com"}]}`)
	office.Expect(t, "users", ask("room"), `{"room":[
		{"id":"ada","email":"ada@example.com"},
		{"id":"admin","email":"root@example.com","staff":true},
		{"id":"sam","email":"sam@Staff.Example","staff":true}
	]}`)
	portal.Expect(t, "allusers", `{"includeUsers":true}`, `{
		"local": {"authenticated": [{"id":"ada","email":"ada@example.com"}], "authenticatedCount": 1, "anonymous": 0},
		"_total": {"authenticated": 1, "anonymous": 0}
	}`)
}

// The mark is a key of the plugin, so the site decides whether browsers see it.
func TestHiddenStaffForBrowsers(t *testing.T) {
	for show, want := range map[string][2]string{
		"":                           {`[{"id":"ada"}]`, `[{"id":"ada"},{"id":"sam"}]`},
		"members {\nshow staff\n}\n": {`[{"id":"ada"}]`, `[{"id":"ada"},{"id":"sam","staff":true}]`},
	} {
		e := start(t, "hidden-staff", "plugin ", show+"plugin ")
		for i, host := range []string{"portal.localhost", "office.localhost"} {
			s := e.site(host)
			login(t, s, "sam", "sam@staff.example", "room")
			awaitMembers(t, login(t, s, "ada", "ada@example.com"), want[i])
		}
	}
}

// A channel with only staff is listed, empty. The private channels of staff are not listed.
func TestHiddenStaffAlone(t *testing.T) {
	s := start(t, "hidden-staff").site("portal.localhost")
	sam := login(t, s, "sam", "sam@staff.example", "room")
	s.Expect(t, "users", `{}`, `{"room":[]}`)
	s.Expect(t, "users", ask(sam.Welcome.Channel), `{}`)
}
