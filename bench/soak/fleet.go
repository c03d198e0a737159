package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"

	"github.com/rollcall-gateway/rollcall/bench/server"
)

// crew is the process of a worker.
type crew struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startCrews starts a worker for each pod, each with its share of the sockets, and returns when all
// are connected.
func (o *options) startCrews(ctx context.Context, pods []*server.Process, shares []int) (crews []*crew, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	for i, p := range pods {
		cmd := exec.CommandContext(ctx, self, "-worker", strconv.Itoa(i), "-workers", strconv.Itoa(len(pods)),
			"-address", p.Address, "-share", strconv.Itoa(shares[i]), "-sockets", strconv.Itoa(o.sockets),
			"-minute", o.minute.String(), "-churn", strconv.Itoa(o.churn), "-messages", strconv.Itoa(o.messages))
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return crews, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return crews, err
		}
		if err := cmd.Start(); err != nil {
			return crews, err
		}
		crews = append(crews, &crew{cmd, in, bufio.NewReader(out)})
	}
	for _, c := range crews {
		if _, err := c.hear(); err != nil {
			return crews, err
		}
	}
	return crews, nil
}

// tell sends a command to all workers and returns their answers.
func tell(crews []*crew, command string) ([]answer, error) {
	for _, c := range crews {
		if _, err := io.WriteString(c.in, command+"\n"); err != nil {
			return nil, fmt.Errorf("a worker is gone: %w", err)
		}
	}
	answers := make([]answer, len(crews))
	for i, c := range crews {
		var err error
		if answers[i], err = c.hear(); err != nil {
			return nil, fmt.Errorf("%s: %w", command, err)
		}
	}
	return answers, nil
}

func (c *crew) hear() (answer, error) {
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return answer{}, fmt.Errorf("a worker is gone: %w", err)
	}
	var a answer
	return a, json.Unmarshal(line, &a)
}

// dismiss ends the workers, which closes their connections.
func dismiss(crews []*crew) error {
	var errs []error
	for _, c := range crews {
		errs = append(errs, c.in.Close())
	}
	for _, c := range crews {
		if err := c.cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("a worker: %w", err))
		}
	}
	return errors.Join(errs...)
}
