package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

type keyCmds struct {
	Mint   keyMint   `cmd:"" help:"Make a key and print it, this once."`
	List   keyList   `cmd:"" help:"List the keys, without their secrets."`
	Revoke keyRevoke `cmd:"" help:"End a key, from the next call on."`
}

type keyMint struct {
	forMerchant
	asJSON
	Name             string        `required:"" help:"What the record and people will call the agent."`
	Scopes           []string      `required:"" placeholder:"A,B" help:"The rights of the key, such as orders:read,marketing:write."`
	Action           []string      `placeholder:"A,B" help:"The actions that the key may ask for with dtc_request_action, such as helpdesk:*,payments:refund."`
	RequiresApproval bool          `help:"Let a person confirm every call that spends, contacts customers or cannot be undone."`
	Ceiling          string        `default:"high" help:"The riskiest call the key may make: low, medium, high, or L0 to L7."`
	Expires          time.Duration `placeholder:"720h" help:"For how long the key is good; for ever if left out."`
}

// Validate is called by kong: what it refuses is wrong use.
func (c *keyMint) Validate() error {
	if _, err := auth.ParseScopes(c.Scopes, auth.AgentScopes); err != nil {
		return err
	}
	if _, err := auth.ParseActions(c.Action, knownActions()); err != nil {
		return err
	}
	if c.Expires < 0 {
		return errors.New("--expires must be positive, such as 720h")
	}
	_, err := auth.ParseLevel(c.Ceiling)
	return err
}

// knownActions are the ids of all actions.
func knownActions() []string {
	var ids []string
	for _, a := range registry.Actions() {
		ids = append(ids, a.ID())
	}
	return ids
}

// A minted key is a key with its secret, which exists in this answer only.
type minted struct {
	auth.Key
	Secret string `json:"secret"`
}

func (c *keyMint) Run(ctx context.Context, a *app) error {
	var m minted
	err := a.change(ctx, c.forMerchant, func(tx *store.Tx, merchant auth.Merchant) (err error) {
		m, err = c.mint(tx, merchant)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, m, func(w io.Writer) {
		fmt.Fprintf(w, "%s\n\nThis is key %s (%s). It is not shown again.\n", m.Secret, m.ID, visible(m.Name))
		fmt.Fprintf(w, "Agents send it as `Authorization: Bearer …` or `X-Agent-Key: …`.\n")
	})
}

func (c *keyMint) mint(tx *store.Tx, merchant auth.Merchant) (minted, error) {
	scopes, err := auth.ParseScopes(c.Scopes, auth.AgentScopes)
	if err != nil {
		return minted{}, err
	}
	actions, err := auth.ParseActions(c.Action, knownActions())
	if err != nil {
		return minted{}, err
	}
	ceiling, err := auth.ParseLevel(c.Ceiling)
	if err != nil {
		return minted{}, err
	}
	k := auth.Key{Merchant: merchant.ID, Name: c.Name, Scopes: scopes, Actions: actions, RequiresApproval: c.RequiresApproval, Ceiling: ceiling, Depth: auth.DefaultDepth}
	if c.Expires > 0 {
		k.ExpiresAt = tx.Now.Add(c.Expires)
	}
	return mintKey(tx, k)
}

// mintKey stores a key and its record.
func mintKey(tx *store.Tx, k auth.Key) (minted, error) {
	k, secret, err := auth.MintKey(tx, k)
	if err != nil {
		return minted{}, err
	}
	what := fmt.Sprintf("%s: %s, ceiling %s", k.Name, scopeList(k.Scopes), k.Ceiling)
	if len(k.Actions) > 0 {
		what += ", actions " + strings.Join(k.Actions, ",")
	}
	if k.RequiresApproval {
		what += ", requires approval"
	}
	return minted{k, secret}, record(tx, audit.Entry{Merchant: k.Merchant, Event: "key.minted", Resource: "key:" + k.ID, Reason: what})
}

func scopeList(scopes []auth.Scope) string {
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = string(s)
	}
	return strings.Join(names, ",")
}

type keyList struct {
	forMerchant
	asJSON
}

func (c *keyList) Run(ctx context.Context, a *app) error {
	var keys []auth.Key
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		keys, err = auth.ListKeys(tx, m.ID)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, keys, func(w io.Writer) {
		rows := [][]string{}
		for _, k := range keys {
			approval := "no"
			if k.RequiresApproval {
				approval = "yes"
			}
			rows = append(rows, []string{k.ID, k.Name, k.Hint, k.Ceiling.String(), approval, keyState(k), scopeList(k.Scopes), strings.Join(k.Actions, ",")})
		}
		table(w, []string{"ID", "NAME", "KEY", "CEILING", "APPROVAL", "STATE", "SCOPES", "ACTIONS"}, rows)
	})
}

func keyState(k auth.Key) string {
	switch {
	case !k.RevokedAt.IsZero():
		return "revoked " + when(k.RevokedAt)
	case k.ExpiresAt.IsZero():
		return "active"
	case k.ExpiresAt.Before(time.Now()):
		return "expired " + when(k.ExpiresAt)
	}
	return "until " + when(k.ExpiresAt)
}

type keyRevoke struct {
	forMerchant
	ID string `arg:"" help:"The key's id, key_…."`
}

func (c *keyRevoke) Run(ctx context.Context, a *app) error {
	err := a.change(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) error {
		if err := auth.RevokeKey(tx, m.ID, c.ID); err != nil {
			return err
		}
		return record(tx, audit.Entry{Merchant: m.ID, Event: "key.revoked", Resource: "key:" + c.ID})
	})
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("there is no active key %q: `dtcgate key list` shows their ids", c.ID)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "Revoked %s. It opens nothing any more, and what it has parked will not run.\n", c.ID)
	return nil
}
