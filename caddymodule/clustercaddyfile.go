package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// unmarshalCluster sets up the cluster from its block in the global option. Syntax:
//
//	cluster {
//	    listen        <host:port>
//	    routes        <host:port>...
//	    secret        <secret>
//	    tls {
//	        cert <file>
//	        key  <file>
//	        ca   <file>
//	    }
//	    nats          <URL>...
//	    credentials   <file>
//	    name          <name>
//	    query_timeout <duration> [<duration>]
//	}
func (a *App) unmarshalCluster(d *caddyfile.Dispenser) error {
	c := new(ClusterConfig)
	a.Cluster = c
	return block(d, options{
		"listen":      one(&c.Listen),
		"routes":      several(&c.Routes),
		"secret":      one(&c.Secret),
		"tls":         c.unmarshalTLS,
		"nats":        several(&c.NATS),
		"credentials": one(&c.Credentials),
		"name":        one(&c.Name),
		"query_timeout": func(d *caddyfile.Dispenser) error {
			var local, remote string
			if err := oneOrTwo(d, &local, &remote); err != nil {
				return err
			}
			if err := duration(d, local, &c.QueryTimeout); err != nil || remote == "" {
				return err
			}
			return duration(d, remote, &c.RemoteQueryTimeout)
		},
	})
}

func (c *ClusterConfig) unmarshalTLS(d *caddyfile.Dispenser) error {
	c.TLS = new(ClusterTLS)
	return block(d, options{
		"cert": one(&c.TLS.Cert),
		"key":  one(&c.TLS.Key),
		"ca":   one(&c.TLS.CA),
	})
}
