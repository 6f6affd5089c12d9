// Package policytest has a policy for tests that are about something else: whoever has a key with the profile admin may do what its scopes
// say, and nobody is asked unless the key or the tool wants it.
package policytest

import (
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/store"
)

// Open is that policy.
const Open = `language: 1
profiles:
  scoped: {}
  admin:
    tools: ["*"]
    resources: ["*"]
    actions: {request: ["*"]}
    ceiling: high
    open_requests: 100000
conditions: |
  permit (principal, action, resource);
`

// Author is who publishes it.
const Author = "test"

// Install gives a new merchant the open policy.
func Install(tx *store.Tx, merchant string) error {
	_, err := policy.Install(tx, merchant, []byte(Open), Author)
	return err
}
