// A backend in Go. README.md says how to run it.
package main

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

type user struct{ id, email string }

// login believes whoever asks. Take the user from your session instead.
func login(r *http.Request) (user, bool) {
	id := r.URL.Query().Get("user")
	return user{id, id + "@example.com"}, id != ""
}

func hash(key []byte, content string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(content))
	return mac.Sum(nil)
}

func sign(u user) string {
	encode := base64.RawURLEncoding.EncodeToString
	now := time.Now().Unix()
	claims, _ := json.Marshal(map[string]any{"sub": u.id, "email": u.email, "iat": now, "exp": now + 3600})
	content := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(claims)
	return content + "." + encode(hash([]byte(os.Getenv("ROLLCALL_JWT_SECRET")), content))
}

func ask(endpoint string, fields map[string]any) (string, error) {
	body, err := json.Marshal(fields)
	if err != nil {
		return "", err
	}
	url := cmp.Or(os.Getenv("ROLLCALL_URL"), "http://localhost:8080") + "/message/" + endpoint
	r, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Api-Key", os.Getenv("ROLLCALL_API_KEY"))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= 400 {
		err = fmt.Errorf("%s: %s", endpoint, text)
	}
	return string(text), err
}

func isFromRollcall(h http.Header, body []byte) bool {
	sent, err := strconv.ParseInt(h.Get("Webhook-Timestamp"), 10, 64)
	if err != nil || time.Since(time.Unix(sent, 0)).Abs() > 5*time.Minute {
		return false
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(os.Getenv("ROLLCALL_EVENTS_SECRET"), "whsec_"))
	if err != nil {
		return false
	}
	want := "v1," + base64.StdEncoding.EncodeToString(hash(key, fmt.Sprintf("%s.%d.%s", h.Get("Webhook-Id"), sent, body)))
	for signature := range strings.FieldsSeq(h.Get("Webhook-Signature")) {
		if hmac.Equal([]byte(signature), []byte(want)) {
			return true
		}
	}
	return false
}

func webhook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil || !isFromRollcall(r.Header, body) {
		http.Error(w, "not from Rollcall", http.StatusUnauthorized)
		return
	}
	var sent struct {
		Events []struct {
			Type, Channel string
			User          struct{ ID string }
		}
	}
	if err := json.Unmarshal(body, &sent); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, e := range sent.Events {
		fmt.Println(e.Type, e.Channel, e.User.ID)
	}
	w.WriteHeader(http.StatusNoContent)
}

// forUser answers with the text that respond returns for a user.
func forUser(status int, respond func(user, *http.Request) (string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		u, ok := login(r)
		if !ok {
			http.Error(w, "log in first", http.StatusUnauthorized)
			return
		}
		text, err := respond(u, r)
		if err != nil {
			log.Print(err)
			http.Error(w, "", http.StatusInternalServerError)
			return
		}
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	}
}

func main() {
	http.HandleFunc("POST /webhook", webhook)
	http.HandleFunc("GET /api/token", forUser(http.StatusOK, func(u user, _ *http.Request) (string, error) {
		return sign(u), nil
	}))
	http.HandleFunc("GET /api/online", forUser(http.StatusOK, func(_ user, r *http.Request) (string, error) {
		return ask("users", map[string]any{"channel": r.URL.Query().Get("channel")})
	}))
	http.HandleFunc("POST /api/send", forUser(http.StatusCreated, func(u user, r *http.Request) (string, error) {
		var wish struct{ Channel, Text string }
		if err := json.NewDecoder(r.Body).Decode(&wish); err != nil {
			return "", err
		}
		return ask("sendmessage", map[string]any{
			"channels": []string{wish.Channel},
			"message":  map[string]string{"user": u.id, "text": wish.Text},
		})
	}))
	log.Fatal(http.ListenAndServe("localhost:"+cmp.Or(os.Getenv("PORT"), "3000"), nil))
}
