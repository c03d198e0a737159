package token

import (
	"testing"
)

// A token can be bound to the host of the login by its issuer and its audience.
func TestTokensOfAHost(t *testing.T) {
	tests := []struct {
		name      string
		issuer    string
		audiences []string
		claims    fields
		host      string
		want      error
	}{
		{name: "audience", audiences: []string{Host}, claims: fields{"aud": "a.example"}, host: "a.example"},
		{name: "audience of another host", audiences: []string{Host}, claims: fields{"aud": "a.example"}, host: "b.example", want: ErrInvalid},
		{name: "audience of several hosts", audiences: []string{Host}, claims: fields{"aud": []string{"a.example", "b.example"}}, host: "b.example"},
		{name: "the option as audience", audiences: []string{Host}, claims: fields{"aud": Host}, host: "a.example", want: ErrInvalid},
		{name: "no audience", audiences: []string{Host}, claims: fields{"aud": nil}, host: "a.example", want: ErrInvalid},
		{name: "one of two audiences", audiences: []string{"all", Host}, claims: fields{"aud": "all"}, host: "b.example"},
		{name: "the other of two audiences", audiences: []string{"all", Host}, claims: fields{"aud": "b.example"}, host: "b.example"},
		{name: "none of two audiences", audiences: []string{"all", Host}, claims: fields{"aud": "a.example"}, host: "b.example", want: ErrInvalid},
		{name: "issuer", issuer: "https://" + Host + "/login", claims: fields{"iss": "https://a.example/login"}, host: "a.example"},
		{
			name: "issuer of another host", issuer: "https://" + Host + "/login",
			claims: fields{"iss": "https://a.example/login"}, host: "b.example", want: ErrInvalid,
		},
		{name: "no issuer", issuer: Host, claims: fields{"iss": nil}, host: "a.example", want: ErrInvalid},
		{
			name: "issuer and audience, of which one is of another host", issuer: Host, audiences: []string{Host},
			claims: fields{"iss": "a.example", "aud": "b.example"}, host: "a.example", want: ErrInvalid,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := mustNew(t, Config{Secret: testSecret, Issuer: tt.issuer, Audiences: tt.audiences})
			raw := sign(t, "HS256", testSecret, goodClaims(tt.claims), nil)
			_, err := v.Verify(t.Context(), raw, tt.host)
			if (err == nil) != (tt.want == nil) {
				t.Errorf("Verify: %v, want %v", err, tt.want)
			}
			if tt.want != nil {
				checkSilent(t, err, raw)
			}
		})
	}
}
