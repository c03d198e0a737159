package presence

import "testing"

// The prefixes decide before the patterns of a site, but after the texts of own.
func TestSignedPatterns(t *testing.T) {
	everybody := Patterns{
		Own: []string{"private-own-"}, Authenticated: []string{"presence-x"}, Anonymous: []string{"*"}, Default: Anonymous, Signed: true,
	}
	withUsers := everybody
	withUsers.PrivateUsers = true
	granted := Class{Kind: Authenticated, Grant: true}
	counted := Class{Kind: Authenticated, Grant: true, CountOnly: true}
	for _, test := range []struct {
		channel         string
		want, withUsers Class
	}{
		{"private-x", counted, granted},
		{"private-encrypted-x", counted, granted},
		{"presence-x", granted, granted},
		{"presence-cache-x", granted, granted},
		{"private-own-ada", Class{Kind: Authenticated, Grant: true, OwnerAt: 12}, Class{Kind: Authenticated, Grant: true, OwnerAt: 12}},
		{"privateer", Class{Kind: Anonymous}, Class{Kind: Anonymous}},
		{"presence", Class{Kind: Anonymous}, Class{Kind: Anonymous}},
		{"cache-x", Class{Kind: Anonymous}, Class{Kind: Anonymous}},
	} {
		for name, p := range map[string]Patterns{"count": everybody, "users": withUsers} {
			want := test.want
			if p.PrivateUsers {
				want = test.withUsers
			}
			if got, err := p.Classify(HostName{}, test.channel); err != nil || got != want {
				t.Errorf("%s, %s: got %+v, want %+v, error %v", test.channel, name, got, want, err)
			}
		}
	}
}
