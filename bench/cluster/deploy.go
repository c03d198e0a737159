package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
)

// deployment is ten pods. The first one sends the queries.
type deployment struct {
	*pod
	beside   []*pod   // pods in this process too
	children []*child // pods in other processes
}

// child is a pod in its own process. It ends with its standard input, at the latest when this
// process ends.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	ready *bufio.Reader
}

// deploy starts all pods and waits until they have found each other. The first one is in this
// process, the others are in their own processes or in this one too.
func deploy(ctx context.Context, together bool) (_ *deployment, err error) {
	var addresses [2][]string
	for i := range 2 * pods {
		address, err := loopback.Address()
		if err != nil {
			return nil, err
		}
		addresses[i%2] = append(addresses[i%2], address)
	}
	d := &deployment{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.pod, err = startPod(0, addresses); err != nil {
		return nil, err
	}
	for number := 1; number < pods; number++ {
		if together {
			p, err := startPod(number, addresses)
			if err != nil {
				return nil, err
			}
			d.beside = append(d.beside, p)
			continue
		}
		c, err := startChild(ctx, number, addresses)
		if err != nil {
			return nil, err
		}
		d.children = append(d.children, c)
	}
	for i, c := range d.children {
		if line, err := c.ready.ReadString('\n'); err != nil {
			return nil, fmt.Errorf("pod %d did not start: %q, %w", i+1, line, err)
		}
	}
	if err := d.awaitPods(ctx); err != nil {
		return nil, err
	}
	return d, d.check(ctx)
}

func startChild(ctx context.Context, number int, addresses [2][]string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	routes := strings.Join(addresses[0], ",") + ";" + strings.Join(addresses[1], ",")
	cmd := exec.CommandContext(ctx, self, "-pod", strconv.Itoa(number), "-routes", routes)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &child{cmd, in, bufio.NewReader(out)}, cmd.Start()
}

// serve runs a child: it reports that it is ready, and ends with its standard input.
func serve(ctx context.Context, number int, routes string) error {
	first, second, _ := strings.Cut(routes, ";")
	addresses := [2][]string{strings.Split(first, ","), strings.Split(second, ",")}
	if number >= pods || len(addresses[0]) != pods || len(addresses[1]) != pods {
		return errors.New("-pod and -routes are for this program itself")
	}
	p, err := startPod(number, addresses)
	if err != nil {
		return err
	}
	if err := p.awaitPods(ctx); err != nil {
		return errors.Join(err, p.close())
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, p.close())
}

func (d *deployment) close() error {
	var errs []error
	for _, c := range d.children {
		errs = append(errs, c.stdin.Close())
	}
	for _, c := range d.children {
		errs = append(errs, c.cmd.Wait())
	}
	for _, p := range d.beside {
		errs = append(errs, p.close())
	}
	if d.pod != nil {
		errs = append(errs, d.pod.close())
	}
	return errors.Join(errs...)
}
