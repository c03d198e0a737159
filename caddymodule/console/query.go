package console

import (
	"net/url"
	"strings"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/presence"
)

// pageRows is the maximum number of rows of a view.
const pageRows = 50

// maxTags is the maximum number of channels that a row names: 50 rows of the longest names have 4
// MiB.
const maxTags = 20

// The views of the page.
const (
	viewHosts   = "hosts"
	viewHost    = "host"    // the channels of a host
	viewChannel = "channel" // the users of a channel
	viewUser    = "user"    // why a user is listed
	viewTraffic = "traffic"
	viewPlugins = "plugins"
	viewQueues  = "queues"
	viewCluster = "cluster"
)

// query says what the page shows.
type query struct {
	view    string
	host    presence.HostName
	channel string
	user    string
	filter  string // hosts: part of the name; channels: beginning of the name
	after   string // last row of the page before; "" for the first page
}

// readQuery reads what a stream is about.
func readQuery(values url.Values) (q query, p *problem.Problem) {
	q = query{
		view: values.Get("view"), channel: values.Get("channel"), user: values.Get("user"),
		filter: values.Get("filter"), after: values.Get("after"),
	}
	const longest = presence.MaxChannelName
	if len(q.filter) > longest || len(q.after) > longest {
		return q, problem.BadValue("filter and after have at most %d bytes", longest)
	}
	switch q.view {
	case viewHosts, viewTraffic:
		q.filter = strings.ToLower(q.filter)
		return q, nil
	case viewPlugins, viewQueues, viewCluster:
		return q, nil
	case viewHost, viewChannel, viewUser:
	default:
		return q, problem.BadValue("there is no such view")
	}
	var err error
	if q.host, err = presence.ParseHostName(values.Get("host")); err != nil {
		return q, problem.BadValue("host must be a domain name, like portal.example.com")
	}
	if q.view == viewChannel && presence.CheckChannel(q.channel) != nil {
		return q, problem.BadValue("channel is not the name of a channel")
	}
	if q.view == viewUser && presence.CheckUserID(q.user) != nil {
		return q, problem.BadValue("user is not a user ID")
	}
	return q, nil
}
