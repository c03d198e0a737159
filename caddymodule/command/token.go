package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/golang-jwt/jwt/v5"
	"github.com/spf13/cobra"
)

// tokenCommand returns the command that signs a token for a test.
func tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token --config FILE --host HOST --user ID",
		Short: "Signs a token for a test",
		Long: `
Prints a token with which a browser or caddy rollcall connect logs in as a user,
signed with the secret of the site in the configuration file. The file is read
on this machine, with the values of its placeholders from here: no server is
asked, and none gives a secret.

If the site verifies tokens with a public key or a key set, only the issuer can
sign them.

Exits with status 1 if it cannot sign.`,
		Example: `  $ caddy rollcall token --config Caddyfile --host portal.example.com --user ada`,
		Args:    cobra.NoArgs,
		RunE:    runToken,
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.String("config", "", "Configuration file with the site")
	f.String("adapter", "", "Adapter for the configuration file")
	f.String("host", "", "Host of the site")
	f.String("user", "", "ID of the user")
	f.String("email", "", "E-mail address of the user")
	f.String("claims", "", "Other claims, an object of JSON")
	f.Duration("valid", time.Hour, "Time until it expires")
	return cmd
}

func runToken(cmd *cobra.Command, _ []string) error {
	f := cmd.Flags()
	text := func(name string) string { v, _ := f.GetString(name); return v }
	host, user := text("host"), text("user")
	valid, _ := f.GetDuration("valid")
	switch {
	case text("config") == "" || host == "" || user == "":
		return errors.New("a flag is missing: write --config, --host and --user")
	case valid <= 0:
		return fmt.Errorf("--valid %s: write a time like 1h", valid)
	}
	claims := jwt.MapClaims{}
	if more := text("claims"); more != "" && json.Unmarshal([]byte(more), &claims) != nil {
		return errors.New(`--claims: write an object of JSON, like '{"info":{"name":"Ada"}}'`)
	}
	raw, _, _, err := caddycmd.LoadConfig(text("config"), text("adapter"))
	if err != nil {
		return err
	}
	c, err := findSite(raw, host)
	if err != nil {
		return fmt.Errorf("%s: %w", text("config"), err)
	}
	s, err := c.signer(host)
	if errors.Is(err, errNotSecret) {
		return fmt.Errorf("the site of %s verifies tokens with a public key: only the issuer can sign them", plain(host))
	}
	if err != nil {
		return fmt.Errorf("%s: the site of %s: %w", text("config"), plain(host), err)
	}
	if email := text("email"); email != "" {
		claims[s.emailClaim] = email
	}
	maps.Copy(claims, s.claims)
	claims[s.idClaim] = user
	signed, err := s.sign(claims, valid)
	if err != nil {
		return fmt.Errorf("signing the token: %w", err)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), signed)
	return err
}
