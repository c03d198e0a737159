package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// connect2 asks for a websocket over HTTP/2 (RFC 8441) and returns the status. A stream that is
// reset is an error.
func connect2(t *testing.T, p *process) (string, error) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(p.site.URL, "http://"), ws.Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(ws.Patience))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(conn, conn)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, field := range [][2]string{
		{":method", "CONNECT"},
		{":protocol", "websocket"},
		{":scheme", "http"},
		{":authority", p.site.Host},
		{":path", "/message/socket"},
		{"sec-websocket-version", "13"},
	} {
		if err := enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			t.Fatal(err)
		}
	}
	err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	if err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return "", err
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status"), nil
		case *http2.RSTStreamFrame:
			return "", errors.New(frame.ErrCode.String())
		}
	}
}

func TestWebsocketOverHTTP2IsAnswered(t *testing.T) {
	t.Parallel()
	const both = "servers {\n protocols h1 h2c\n }"
	t.Run("switched on", func(t *testing.T) {
		t.Parallel()
		p := start(t, setup{globals: both, env: []string{"GODEBUG=http2xconnect=1"}})
		status, err := connect2(t, p)
		if err != nil || status != "501" {
			t.Errorf("status %q (%v), want 501", status, err)
		}
		ws.Poll(t, ws.Patience, func() error { // the operator sees a log line
			if log := p.log.String(); !strings.Contains(log, `"msg":"websocket handshake rejected"`) || !strings.Contains(log, "http1_only") {
				return fmt.Errorf("the log is: %s", log)
			}
			return nil
		})
		p.site.Dial(t).ExpectNothing(t)
	})
	t.Run("by default", func(t *testing.T) {
		t.Parallel()
		p := start(t, setup{globals: both})
		if status, err := connect2(t, p); err == nil && status != "501" {
			t.Errorf("status %q, want an error", status)
		}
		p.site.Dial(t).ExpectNothing(t)
	})
}
