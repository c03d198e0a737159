// Command control lets the page of the cluster example end, pause and start pods: the script cannot
// be called from a browser.
//
//	control ADDRESS SCRIPT ORIGIN...
//
// It listens at ADDRESS, which has to be on loopback, and runs "SCRIPT ACTION POD" for POST
// /POD/ACTION from a page of one of the origins.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// patience is how long a pod may take to start.
const patience = 30 * time.Second

func main() {
	if len(os.Args) < 4 {
		log.Fatal("Usage: control ADDRESS SCRIPT ORIGIN...")
	}
	listener, err := listen(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: newHandler(listener.Addr(), os.Args[2], os.Args[3:]), ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.Serve(listener))
}

func listen(address string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	if addr, ok := listener.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
		return nil, errors.Join(fmt.Errorf("%s is not on loopback: everybody could end pods", address), listener.Close())
	}
	return listener, nil
}

// newHandler returns the handler of the control. Other sites cannot use it: their pages have
// another origin, and a name of theirs that leads to this address has another host.
func newHandler(addr net.Addr, script string, origins []string) http.Handler {
	_, port, _ := net.SplitHostPort(addr.String())
	var mu sync.Mutex // one command after the other
	mux := http.NewServeMux()
	mux.HandleFunc("OPTIONS /{pod}/{action}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Headers", "content-type")
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /{pod}/{action}", func(w http.ResponseWriter, r *http.Request) {
		pod, action := r.PathValue("pod"), r.PathValue("action")
		if !slices.Contains([]string{"kill", "stop", "pause", "resume", "start"}, action) || strings.HasPrefix(pod, "-") {
			http.Error(w, "There is no such action", http.StatusNotFound)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, script, action, pod) //nolint:gosec // one argument each, and the script checks the pod
		cmd.WaitDelay = time.Second                          // a started pod keeps what it inherits
		out, err := cmd.CombinedOutput()
		if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
			http.Error(w, strings.TrimSpace(string(out)), http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if !slices.Contains(origins, origin) || r.Host != net.JoinHostPort("localhost", port) {
			http.Error(w, "Only the page of this cluster may do this", http.StatusForbidden)
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Vary", "Origin")
		mux.ServeHTTP(w, r)
	})
}
