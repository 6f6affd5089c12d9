package vault

import (
	"errors"
	"fmt"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

// By is who has something done, and from where.
type By struct {
	Principal auth.Principal
	Transport string // rest, cli; "" for the vault's own work
	Source    string // network address
}

// itself is the vault at work on its own account.
const itself = "vault"

// hold refuses a principal that has lost its standing since it came in, and keeps it as it is until the transaction ends.
func (b By) hold(tx *store.Tx) error {
	_, err := auth.Hold(tx, b.Principal)
	return err
}

// confirmed is hold for what a session that was left open must not do.
func (b By) confirmed(tx *store.Tx) error {
	p, err := auth.Hold(tx, b.Principal)
	if err == nil && tx.Now.Sub(p.StepUpAt) > auth.StepUpTime {
		err = ErrStepUp
	}
	return err
}

// alive refuses people who are gone, or are another merchant's: what they granted opens nothing for anybody.
func alive(tx *store.Tx, merchant, person string) error {
	p, err := auth.Live(tx, person)
	if errors.Is(err, auth.ErrUnknownCredential) || (err == nil && (p.Merchant != merchant || p.Kind != auth.KindPerson)) {
		return ErrNotConnected
	}
	return err
}

// record puts on record what became of a connection. why is in our words, and a code when something failed.
func (b By) record(tx *store.Tx, event, status string, c Connection, why string) error {
	e := audit.Entry{
		Merchant: c.Merchant, Event: event, Status: status, Transport: b.Transport, Source: b.Source,
		Chain: b.chain(c), Reason: "provider " + c.Provider,
	}
	e.Actor = e.Chain[0]
	if c.ID != "" {
		e.Resource = "connection:" + c.ID
	}
	switch {
	case status != "done":
		e.Code = why
	case why != "":
		e.Reason += ": " + why
	}
	if _, err := audit.Append(tx, e); err != nil {
		return fmt.Errorf("recording %s: %w", event, err)
	}
	return nil
}

func (b By) chain(c Connection) []string {
	if b.Principal.Kind == "" {
		return []string{itself, "person:" + c.Person}
	}
	return b.Principal.Chain()
}

// codeOf is an error as it may be stored.
func codeOf(err error) string {
	var f *Failure
	switch {
	case errors.As(err, &f):
		return f.Code
	case errors.Is(err, ErrSealed):
		return failSealed
	case errors.Is(err, ErrUnknownProvider):
		return failProvider
	}
	return "internal"
}
