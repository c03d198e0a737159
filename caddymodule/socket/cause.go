package socket

// Reason says in a word why a connection ended. Reasons are few and fixed: they label metrics.
type Reason string

// Why connections end.
const (
	ReasonClient      Reason = "client"       // the peer closed
	ReasonReset       Reason = "reset"        // the network connection broke
	ReasonSilent      Reason = "silent"       // nothing came for as long as Limits.Silence
	ReasonSlow        Reason = "slow"         // the queue ran over, or a write was not taken in time
	ReasonTooLarge    Reason = "too_large"    // a message over Limits.Frame
	ReasonUnfinished  Reason = "unfinished"   // a message took longer than messageTimeout, or Limits.Unfinished was full
	ReasonProtocol    Reason = "protocol"     // not RFC 6455
	ReasonRateLimited Reason = "rate_limited" // kept sending frames faster than allowed
	ReasonToken       Reason = "token"        // the token expired
	ReasonOrigin      Reason = "origin"       // another site's page
	ReasonLimit       Reason = "limit"        // the host is full
	ReasonHost        Reason = "host_removed" // the host left the configuration
	ReasonDrain       Reason = "drain"        // the server stops
	ReasonPanic       Reason = "panic"        // a bug of ours
)

// Cause is why a connection ended.
type Cause struct {
	Reason Reason
	Code   int // of the close frame, 0 without one
}
