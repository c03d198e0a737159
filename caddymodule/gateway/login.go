package gateway

import (
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Admit asks the plugins about a user that a protocol has checked, before [Session.SignIn] or
// [Session.Identify].
//
// It returns [site.ErrLoginRefused], or another error if a plugin has failed.
func (s *Session) Admit(user presence.User) (site.Login, error) {
	return s.tenant.site().Admit(s.tenant.name, s.conn.ID(), site.Login{User: &user})
}

// SignIn logs the connection in as an admitted user, and joins the channels that it is assigned to.
// It returns [presence.ErrClosed].
func (s *Session) SignIn(who site.Login) error { return s.setUser(who, false) }

// Identify is SignIn for the user of a membership: the connection is not signed in, see
// [presence.Conn.SignedIn].
func (s *Session) Identify(who site.Login) error { return s.setUser(who, true) }

func (s *Session) setUser(who site.Login, byMembership bool) error {
	err := s.logIn(who, byMembership)
	if err == nil {
		s.hub.Assignments.Joiner.JoinAssigned(s.conn)
	}
	return err
}

// logIn changes the user of the connection, and what follows from it.
func (s *Session) logIn(who site.Login, byMembership bool) error {
	of := s.tenant.site()
	before, _ := s.conn.User()
	asked := s.conn.Asked()
	var err error
	if byMembership {
		err = s.conn.Identify(*who.User, who.Grants)
	} else {
		err = s.conn.Authenticate(*who.User, who.Grants)
	}
	if err != nil {
		return err
	}
	s.setTokenIssued(who.Issued)
	if who.Issued != 0 {
		// A revocation that has not found the connection with this user is in the list by now.
		if err := of.CheckRevoked(s.tenant.name, who.User.ID, who.Issued); err != nil {
			s.Close(refusalOf(err), revokedReason, socket.ReasonDisconnected)
			return presence.ErrClosed
		}
	}
	if who.User.ID != before.ID {
		s.cancelWaitsOfOthers()
		s.watchGrants()
	} else {
		s.watchNewGrants(asked)
	}
	s.hub.Assignments.Joiner.LeaveUnassigned(s.conn)
	return nil
}
