package cluster

// Explanation says why a user is listed: it is the answer of /rollcall/explain, as JSON.
type Explanation struct {
	Host        string                `json:"host"`
	User        string                `json:"user"`
	Complete    bool                  `json:"complete"`
	Missing     []string              `json:"missing"` // pods that did not answer, as DC/POD
	Connections []ExplainedConnection `json:"connections"`
}

// ExplainedConnection is one connection of the user. Times are as in RFC 3339.
type ExplainedConnection struct {
	DataCenter string   `json:"data_center"`
	Pod        string   `json:"pod"`
	Connection string   `json:"connection"`
	Email      string   `json:"email"`
	Since      string   `json:"since"`
	LastSign   string   `json:"last_sign_of_life"` // when anything last came from the client
	Channels   []string `json:"channels"`
}

// Total is the name of the sum over all data centers in an answer, so no data center can have it.
const Total = "_total"
