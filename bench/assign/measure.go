package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rollcall-gateway/rollcall/bench/server"
)

// figures are the results of one measurement.
type figures struct {
	rate, p50, p99 float64 // requests a second, and milliseconds
	cpu            float64 // microseconds of all pods, for each request
	late           float64 // percentage of requests that a pod has not confirmed in time
}

// users numbers the users, so that no request repeats another one.
var users atomic.Int64

// client sends requests to a pod over one connection. It is not net/http's, which would use as much
// CPU time as the pods.
type client struct {
	host string
	conn net.Conn
	in   *bufio.Reader
}

func dial(p *server.Process) (*client, error) {
	conn, err := net.Dial("tcp", p.Address)
	if err != nil {
		return nil, err
	}
	return &client{p.Host, conn, bufio.NewReader(conn)}, nil
}

// assign assigns one more user to one of a thousand channels, and reports whether all pods have
// confirmed it.
func (c *client) assign() (complete bool, err error) {
	n := users.Add(1)
	body := fmt.Sprintf(`{"users":[{"id":"00000000-0000-4000-8000-%012d","channels":[{"name":"room-%d"}]}]}`, n, n%1000)
	if _, err := fmt.Fprintf(c.conn, "POST /message/adduser HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		c.host, len(body), body); err != nil {
		return false, err
	}
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return false, err
	}
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusCreated {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	return answer.Header.Get("Rollcall-Complete") == "true", err
}

// awaitComplete returns when each pod completes a change, so all have found each other.
func awaitComplete(ctx context.Context, pods server.Group) error {
	for _, p := range pods {
		c, err := dial(p)
		if err != nil {
			return err
		}
		defer c.conn.Close()
		for done := 0; done < 2; {
			complete, err := c.assign()
			if err != nil {
				return err
			}
			if complete {
				done++
				continue
			}
			select {
			case <-ctx.Done():
				return errors.New("the pods do not find each other")
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return nil
}

// measure keeps that many requests under way, divided among the pods.
func measure(ctx context.Context, pods server.Group, flying int, each time.Duration) (figures, error) {
	took := make([][]time.Duration, flying)
	failed := make([]error, flying)
	before, err := pods.CPU()
	if err != nil {
		return figures{}, err
	}
	began := time.Now()
	var (
		all  sync.WaitGroup
		late atomic.Int64
	)
	for i := range flying {
		c, err := dial(pods[i%len(pods)])
		if err != nil {
			return figures{}, err
		}
		defer c.conn.Close()
		all.Go(func() {
			for time.Since(began) < each && ctx.Err() == nil && failed[i] == nil {
				start := time.Now()
				complete, err := c.assign()
				if failed[i] = err; !complete {
					late.Add(1)
				}
				took[i] = append(took[i], time.Since(start))
			}
		})
	}
	all.Wait()
	spent := time.Since(began)
	after, err := pods.CPU()
	if err := errors.Join(errors.Join(failed...), err, ctx.Err()); err != nil {
		return figures{}, err
	}
	times := slices.Concat(took...)
	slices.Sort(times)
	at := func(percent int) float64 { return times[(len(times)-1)*percent/100].Seconds() * 1000 }
	return figures{
		rate: float64(len(times)) / spent.Seconds(), p50: at(50), p99: at(99),
		cpu:  float64((after - before).Microseconds()) / float64(len(times)),
		late: 100 * float64(late.Load()) / float64(len(times)),
	}, nil
}

// syncTime returns the median time of a write of a page that is synced to a file in the folder.
func syncTime(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, "rollcall-bench-sync")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	times := make([]time.Duration, 200)
	page := make([]byte, os.Getpagesize())
	for i := range times {
		start := time.Now()
		if _, err := f.WriteAt(page, int64(i%8*len(page))); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}
