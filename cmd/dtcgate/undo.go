package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// undo rewinds what a key did. It needs no right of the key: it is for the day on which the key went wrong.
type undo struct {
	forMerchant
	asJSON
	Key    string        `required:"" placeholder:"ID" help:"The key whose work is taken back."`
	Since  time.Duration `required:"" placeholder:"1h" help:"How far back, such as 90m or 24h; writes can be taken back for 7 days."`
	DryRun bool          `help:"Only list what would be taken back and what cannot be."`
}

// Validate is called by kong: what it refuses is wrong use.
func (c *undo) Validate() error {
	if c.Since <= 0 {
		return fmt.Errorf("--since %s is not a time back: give one such as 1h", c.Since)
	}
	return nil
}

func (c *undo) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(db *store.DB) error {
		merchant, err := c.merchantOfKey(ctx, db)
		if err != nil {
			return err
		}
		g := gate.New(gate.Config{DB: db, Tools: registry, Log: zerolog.New(a.err)})
		operator := auth.Principal{Kind: auth.KindOperator, Merchant: merchant}
		all, more, err := g.Rewind(ctx, operator, c.Key, db.Now().Add(-c.Since), c.DryRun)
		if err != nil {
			return err
		}
		if err := c.print(a, all, func(w io.Writer) { c.write(w, all, more) }); err != nil {
			return err
		}
		if c.DryRun {
			return nil
		}
		return failed(all)
	})
}

func (c *undo) merchantOfKey(ctx context.Context, db *store.DB) (merchant string, err error) {
	err = db.Read(ctx, func(tx *store.Tx) error {
		m, err := c.find(tx)
		if err != nil {
			return err
		}
		k, err := findKey(tx, m, c.Key)
		merchant = k.Merchant
		return err
	})
	return merchant, err
}

func (c *undo) write(w io.Writer, all []gate.Rewound, more bool) {
	if len(all) == 0 {
		fmt.Fprintf(w, "The key did nothing in the last %s.\n", c.Since)
		return
	}
	rows := [][]string{}
	for _, r := range all {
		rows = append(rows, []string{when(r.At), c.outcome(r), r.Tool, r.Resource, r.Summary, why(r)})
	}
	table(w, []string{"AT", "NOW", "TOOL", "WHAT", "DID", "WHY"}, rows)
	if more {
		fmt.Fprintf(w, "These are the newest %d; run it again for the others.\n", len(all))
	}
}

func (c *undo) outcome(r gate.Rewound) string {
	switch {
	case r.State == tools.EffectFinal, c.DryRun && r.Failed != "":
		return "cannot come back"
	case r.Failed != "":
		return "NOT UNDONE"
	case r.State == tools.EffectOpen:
		return "would be undone"
	}
	return "undone"
}

func why(r gate.Rewound) string {
	if r.State == tools.EffectFinal {
		return r.Why
	}
	return r.Failed
}

// failed makes the exit status tell that something which could have been taken back was not.
func failed(all []gate.Rewound) error {
	n := 0
	for _, r := range all {
		if r.Failed != "" {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return errors.New("some of it was not undone: see why, and set it right by hand")
}
