// Package notify tells services outside what happens to requests and jobs: signed webhooks, as Standard Webhooks has them
// (standardwebhooks.com). It tells; answers come back through the same door as everybody's votes (package gate).
//
// # From the transition to the message
//
// Package approvals puts a row into the outbox in the transaction of each transition, one for each live endpoint of the merchant that wants
// the type. A row holds ids alone. Senders (Run) claim rows that are due, in any number of processes on one database: a claim locks the
// endpoint for as long as it takes to choose, and leaves a lease on the row. The body is made in that transaction, from what is so then, and
// holds ids, numbers, states and an address (body.go): no text that people or agents wrote, so there is nothing in it to erase.
//
// # What receivers can rely on
//
//   - At least once. A sender that dies between the answer and our commit leaves the lease to run out, and the message is sent again under
//     the same webhook-id.
//   - The newest state, in order for each request and each job. Of several rows about one subject only one is sent, with the state of that
//     moment, and none while another about the same subject is under way. So a message that arrives never shows what was over when it was
//     made. Between subjects there is no order.
//   - What was sent once under an id is not changed for something else: a transition has a row of its own, and the row that stands for
//     several is one that was not tried before.
//
// # Where it may go
//
// To public addresses over https, and to the networks that the operator names (Networks), there over http too. The address is looked at
// when it is dialled, after the name was looked up. Redirects are failures, proxies of the environment are not used, and of an answer
// nothing is kept but its status. No error, row or entry of the record repeats what an endpoint said.
//
// # When it fails
//
// By the clock of Standard Webhooks (clock.go), ten attempts in some 76 hours; Retry-After is honoured. Then the message is dead, the endpoint
// is marked as failing until one arrives, and both are on record. An endpoint that answers 410 is switched off. An endpoint has few messages
// under way at a time, so that a slow one holds up no other.
package notify

import (
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/vault"
	"github.com/dtcgate/dtcgate/store"
)

// Config is everything Webhooks depend on.
type Config struct {
	DB        *store.DB
	Keys      *vault.Keys   // seal the secrets
	Networks  auth.Networks // private ones that endpoints may be in
	PublicURL string        // where people reach the server, such as https://gate.example.com; "": bodies hold no address
	OnError   func(error)   // hears what Run could not do; it is tried again. May be nil
}

// Webhooks keep endpoints and send what is in their outbox. They may be used concurrently.
type Webhooks struct {
	Config
	clients  clients
	jitter   func(time.Duration) time.Duration // spreads retries; replaced in tests
	look     time.Duration                     // how often is looked for what is due; replaced in tests
	attempts attempts
}

// New makes webhooks. It starts nothing.
func New(c Config) *Webhooks {
	return &Webhooks{Config: c, clients: newClients(c.Networks), jitter: spread, look: lookEvery}
}

// itself is the sender at work on its own account, as in a chain.
const itself = "notify"
