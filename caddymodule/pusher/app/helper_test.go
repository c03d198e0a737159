package app

import "testing"

// Key and secret of the specification's vectors.
const (
	vectorKey    = "278d425bdf160c739803"
	vectorSecret = "7ad3773142a6692b25b8"
)

// config returns a configuration with the app of the vectors, which has a second key, and with
// another app.
func config() (*Config, *App) {
	c := Defaults()
	c.Apps = []App{
		{ID: "3", Keys: []Key{{"new-key", []byte("new-secret-of-app-3")}, {vectorKey, []byte(vectorSecret)}}},
		{ID: "4", Keys: []Key{{"other-key", []byte("secret-of-the-other-app")}}},
	}
	return &c, &c.Apps[0]
}

func socketID(t testing.TB, text string) SocketID {
	t.Helper()
	id, err := ParseSocketID(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
