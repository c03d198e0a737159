package cluster

// Explanation is why a user is listed: the response of /rollcall/explain, as JSON.
type Explanation struct {
	Host        string                `json:"host"`
	User        string                `json:"user"`
	Complete    bool                  `json:"complete"`
	Missing     []string              `json:"missing"` // pods that did not reply, as DC/POD
	Connections []ExplainedConnection `json:"connections"`
}

// ExplainedConnection is one connection of the user. Times have the format of RFC 3339.
type ExplainedConnection struct {
	DataCenter string   `json:"data_center"`
	Pod        string   `json:"pod"`
	Connection string   `json:"connection"`
	Email      string   `json:"email"`
	Since      string   `json:"since"`
	LastSign   string   `json:"last_sign_of_life"` // time of the last bytes from the client
	Channels   []string `json:"channels"`
}

// Total is the name of the sum over all data centers in an answer. No data center can have this
// name.
const Total = "_total"
