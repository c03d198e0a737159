package plugins

// Report is the state of a loaded plugin.
type Report struct {
	Name      string       `json:"name"`
	Path      string       `json:"path"`
	SHA256    string       `json:"sha256"`
	Size      int          `json:"size"`
	Hooks     []string     `json:"hooks"`
	OnFailure string       `json:"on_failure"`
	Shared    bool         `json:"shared"`
	Hosts     []HostReport `json:"hosts"`
}

// HostReport is the state of a plugin for one host.
type HostReport struct {
	Host string `json:"host"`
	// Idle and Busy count instances.
	Idle int `json:"idle"`
	Busy int `json:"busy"`
	// Memory is the linear memory of all instances, in bytes.
	Memory int64 `json:"memory"`
	// Breaker is "closed", "open" or "half-open".
	Breaker string `json:"breaker"`
	// Failures counts failed calls since the plugin was first used for the host. LastFailure is the text of the latest.
	Failures    uint64 `json:"failures"`
	LastFailure string `json:"last_failure,omitempty"`
}
