package tools

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/dtcgate/dtcgate/auth"
)

// Delegates is how the delegate tool hands out sub-tokens of its caller. It is an interface because package gate decides what may be
// given, and records it.
type Delegates interface {
	// Narrow gives the sub-token that is asked for, without making it, and refuses one that reaches further than the caller.
	Narrow(*Call, auth.Delegation) (auth.SubToken, error)
	// Mint makes it and gives it with its secret.
	Mint(*Call, auth.Delegation) (t auth.SubToken, secret string, err error)
}

// Once takes a secret that is for the answer to this call alone, and gives what stands in its place in every result, so that whatever
// is kept of the call (its answer for repeats, its effect, the result of its job, its record) holds no secret to begin with. It
// names the call, whose id nobody knows before: no argument can be made to look like it.
func (c *Call) Once(secret string) string {
	c.once = secret
	return c.shownOnce()
}

func (c *Call) shownOnce() string { return fmt.Sprintf("shown once, in the answer to %s", c.ID) }

// Reveal puts the secret into an answer that is about to leave and is kept nowhere.
func (c *Call) Reveal(answer json.RawMessage) json.RawMessage {
	if c.once == "" {
		return answer
	}
	return bytes.ReplaceAll(answer, []byte(c.shownOnce()), []byte(c.once))
}
