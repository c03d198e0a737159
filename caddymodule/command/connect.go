package command

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/spf13/cobra"
)

// connectCommand returns the client for the terminal.
func connectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "connect URL [--token TOKEN] [--join CHANNEL]",
		Short: "Connects as a client, prints frames and sends typed lines",
		Long: `
Opens a websocket as a browser does, and prints each frame that arrives. A typed
line is sent as a frame: an object of JSON, like {"type":"join","channel":"lobby"}.
The end of the input closes the connection. A path is only needed if the site
has another prefix than /message.

The token is also read from the environment variable ROLLCALL_TOKEN, where other
users of this machine do not see it.

Exits with status 1 if the connection is refused, or the server closes it.`,
		Example: `  $ caddy rollcall connect http://localhost:8080 --join lobby`,
		Args:    oneArg(errors.New("no URL is given: write one, like https://portal.example.com")),
		RunE:    runConnect,
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.String("token", "", "Token of the user (default: ROLLCALL_TOKEN)")
	f.StringArray("join", nil, "Channel to join; once for each")
	f.String("origin", "", "Header Origin, as a page of that site sends it")
	return cmd
}

// socketURL returns the URL of the websocket of a site.
func socketURL(text string) (string, error) {
	u, err := url.Parse(text)
	scheme := map[string]string{"http": "ws", "ws": "ws", "https": "wss", "wss": "wss"}
	if err != nil || u.Host == "" || scheme[u.Scheme] == "" {
		return "", fmt.Errorf("%q is no URL of a site: write one, like https://portal.example.com", plain(text))
	}
	u.Scheme = scheme[u.Scheme]
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/message/socket"
	}
	return u.String(), nil
}

func runConnect(cmd *cobra.Command, args []string) error {
	address, err := socketURL(args[0])
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(cmd)
	defer stop()
	header := http.Header{}
	token, _ := cmd.Flags().GetString("token")
	if token = cmp.Or(token, os.Getenv("ROLLCALL_TOKEN")); token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	if origin, _ := cmd.Flags().GetString("origin"); origin != "" {
		header.Set("Origin", origin)
	}
	dialer := websocket.Dialer{HandshakeTimeout: 10 * time.Second, Subprotocols: []string{"rollcall.v1"}, Proxy: http.ProxyFromEnvironment}
	conn, resp, err := dialer.DialContext(ctx, address, header)
	if err != nil {
		return refusedHandshake(address, resp, err)
	}
	defer conn.Close()
	context.AfterFunc(ctx, func() { closeGently(conn) })
	joins, _ := cmd.Flags().GetStringArray("join")
	for _, channel := range joins {
		if err := conn.WriteJSON(map[string]string{"type": "join", "channel": channel, "presence": "list"}); err != nil {
			return fmt.Errorf("joining %s: %w", plain(channel), err)
		}
	}
	go sendLines(conn, cmd.InOrStdin()) // ends with the input, or with the process
	return printFrames(cmd.OutOrStdout(), conn)
}

// refusedHandshake returns an error with what the server says.
func refusedHandshake(address string, resp *http.Response, err error) error {
	if resp == nil {
		return fmt.Errorf("connecting to %s: %w", plain(address), err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	var p struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}
	if json.Unmarshal(body, &p) == nil && p.Code != "" {
		return fmt.Errorf("connecting to %s: %s: %s (%s)", plain(address), resp.Status, plain(p.Detail), plain(p.Code))
	}
	return fmt.Errorf("connecting to %s: %s", plain(address), resp.Status)
}

// sendLines sends each line as a frame, and closes the connection at the end.
func sendLines(conn *websocket.Conn, from io.Reader) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20) // bytes of a line
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" && conn.WriteMessage(websocket.TextMessage, []byte(line)) != nil {
			return // printFrames has the reason
		}
	}
	closeGently(conn)
}

// closeGently asks the server to close the connection after the frames on their way, within 5 s.
func closeGently(conn *websocket.Conn) {
	deadline := time.Now().Add(5 * time.Second)
	_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), deadline)
	_ = conn.SetReadDeadline(deadline)
}

// printFrames prints frames until the connection ends. It returns an error unless this client has
// closed it.
func printFrames(to io.Writer, conn *websocket.Conn) error {
	for {
		_, frame, err := conn.ReadMessage()
		if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
			if closed.Code == websocket.CloseNormalClosure {
				return nil
			}
			return fmt.Errorf("the server closed the connection: %d %s", closed.Code, plain(closed.Text))
		}
		if err != nil {
			return fmt.Errorf("the connection is lost: %w", err)
		}
		if _, err := fmt.Fprintln(to, plain(string(frame))); err != nil {
			return err
		}
	}
}
