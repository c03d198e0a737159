package main

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Subjects of plain NATS. A query is the size of the wanted reply, in decimal digits.
const (
	subjectAll = "plain.all"
	subjectOne = "plain.one." // followed by the number of a pod
)

// plain is a NATS server in this process, and a client in it that replies.
type plain struct {
	server *server.Server
	client *nats.Conn
	inbox  *nats.Subscription // receives replies to subjectAll
}

// startPlain starts a server with one route between two pods, like the bus of a deployment.
func startPlain(number int, addresses []string) (*plain, error) {
	name, port, err := net.SplitHostPort(addresses[number])
	if err != nil {
		return nil, err
	}
	p := &plain{}
	opts := &server.Options{
		ServerName: fmt.Sprintf("plain-%d", number), Host: "127.0.0.1", Port: server.RANDOM_PORT,
		NoSigs: true, NoLog: true, NoSystemAccount: true,
		Cluster: server.ClusterOpts{
			Name: "plain", Host: name, PoolSize: 1, Compression: server.CompressionOpts{Mode: server.CompressionOff},
		},
	}
	if opts.Cluster.Port, err = strconv.Atoi(port); err != nil {
		return nil, err
	}
	for _, address := range others(addresses, number) {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats-route", Host: address})
	}
	if p.server, err = server.NewServer(opts); err != nil {
		return nil, err
	}
	p.server.Start()
	if !p.server.ReadyForConnections(10 * time.Second) {
		p.close()
		return nil, fmt.Errorf("plain NATS does not listen on %s", addresses[number])
	}
	if err := p.subscribe(number); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *plain) subscribe(number int) (err error) {
	if p.client, err = nats.Connect("", nats.InProcessServer(p.server)); err != nil {
		return err
	}
	for _, subject := range []string{subjectAll, subjectOne + strconv.Itoa(number)} {
		if number == 0 {
			break // the pod that sends queries
		}
		if _, err := p.client.Subscribe(subject, reply); err != nil {
			return err
		}
	}
	if p.inbox, err = p.client.SubscribeSync(nats.NewInbox()); err != nil {
		return err
	}
	return p.client.Flush()
}

// reply replies in chunks as large as a payload of a deployment may be.
func reply(m *nats.Msg) {
	const chunk = 512 << 10
	size, err := strconv.Atoi(string(m.Data))
	if err != nil {
		return
	}
	for ; size > 0; size -= chunk {
		_ = m.Respond(make([]byte, min(size, chunk))) // the querying pod sees that it is missing
	}
}

// routes returns the number of other pods.
func (p *plain) routes() int { return p.server.NumRoutes() }

// one sends a query to one other pod and waits for the reply.
func (p *plain) one(number, size int) error {
	m, err := p.client.Request(subjectOne+strconv.Itoa(number), []byte(strconv.Itoa(size)), time.Second)
	if err == nil && len(m.Data) != size {
		err = fmt.Errorf("a reply of %d bytes", len(m.Data))
	}
	return err
}

// all sends a query to all other pods and waits for all replies.
func (p *plain) all(size int) error {
	if err := p.client.PublishRequest(subjectAll, p.inbox.Subject, []byte(strconv.Itoa(size))); err != nil {
		return err
	}
	for left := size * (pods - 1); left > 0; {
		m, err := p.inbox.NextMsg(time.Second)
		if err != nil {
			return fmt.Errorf("%d bytes of replies are missing: %w", left, err)
		}
		left -= len(m.Data)
	}
	return nil
}

func (p *plain) close() {
	if p.client != nil {
		p.client.Close()
	}
	p.server.Shutdown()
	p.server.WaitForShutdown()
}
