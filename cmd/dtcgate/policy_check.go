package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/store"
)

type policyCheck struct {
	forMerchant
	asJSON
	document
	assertions
}

// A checked is what a check found.
type checked struct {
	gate.Draft
	Proof *policy.Proof `json:"proof,omitempty"`
}

func (c *policyCheck) Run(ctx context.Context, a *app) error {
	source, err := c.read()
	if err != nil {
		return err
	}
	var d checked
	if d.Draft, err = a.draft(ctx, c.forMerchant, source); err != nil {
		return err
	}
	if len(d.Problems) == 0 && c.Assert != "" {
		if d.Proof, err = c.prove(ctx, a, source); err != nil {
			return err
		}
	}
	err = c.print(a, d, func(w io.Writer) { c.write(w, a, d) })
	if err == nil && len(d.Problems) > 0 {
		err = fmt.Errorf("%s is no policy: it has %d problems", c.name(), len(d.Problems))
	}
	if err == nil && d.Proof != nil {
		err = doubted(d.Proof)
	}
	return err
}

func (c *policyCheck) write(w io.Writer, a *app, d checked) {
	c.list(w, "", d.Problems)
	c.list(a.err, "warning: ", d.Warnings)
	writeShifts(a.err, d.Profiles)
	if len(d.Problems) == 0 {
		fmt.Fprintf(w, "%s is a policy (sha256 %s).\n", c.name(), d.Hash)
	}
	if d.Proof != nil {
		writeProof(w, d.Proof)
	}
}

// list writes problems in the form that editors follow.
func (d document) list(w io.Writer, what string, problems []strict.Problem) {
	for _, p := range problems {
		fmt.Fprintf(w, "%s%s:%s\n", what, visible(d.name()), visible(p.Error()))
	}
}

func writeShifts(w io.Writer, all []policy.Shift) {
	for _, s := range all {
		fmt.Fprintf(w, "note: %s\n", visible(s.String()))
	}
}

// draft looks at a document beside the version in force; where there is no database yet or no merchant in it, at the document alone, and
// says so.
func (a *app) draft(ctx context.Context, f forMerchant, source string) (d gate.Draft, err error) {
	if _, err := os.Stat(a.dsn()); a.embedded() && errors.Is(err, fs.ErrNotExist) && f.Merchant == "" {
		return a.alone(source, "There is no database at "+a.dsn()), nil
	}
	err = a.with(ctx, func(db *store.DB) error {
		g := gate.New(gate.Config{DB: db, Tools: registry, Log: zerolog.New(a.err)})
		return db.Read(ctx, func(tx *store.Tx) error {
			m, err := f.find(tx)
			if err == nil {
				d, err = g.DraftPolicy(tx, m.ID, source)
			}
			return err
		})
	})
	if errors.Is(err, auth.ErrNoMerchant) {
		return a.alone(source, "There is no merchant in the database"), nil
	}
	return d, err
}

func (a *app) alone(source, why string) gate.Draft {
	fmt.Fprintf(a.err, "%s: roles, and what would change, are not looked at.\n", visible(why))
	d := gate.Draft{Hash: policy.Hash([]byte(source))}
	d.Problems, d.Warnings = policy.Review([]byte(source), policy.Catalogue{Registry: registry})
	return d
}

type policyDiff struct {
	forMerchant
	asJSON
	ofVersion
	document
}

// A difference is what a document changes of a version.
type difference struct {
	Version int64  `json:"version"`
	Hash    string `json:"sha256"` // of the document
	Diff    string `json:"diff"`   // in the unified form; empty: nothing
}

func (c *policyDiff) Run(ctx context.Context, a *app) error {
	source, err := c.document.read()
	if err != nil {
		return err
	}
	var v policy.Version
	err = a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		v, err = c.ofVersion.read(tx, m)
		return err
	})
	if err != nil {
		return err
	}
	d := difference{v.Number, policy.Hash([]byte(source)), v.Against(source)}
	return c.print(a, d, func(w io.Writer) { writeLines(w, d.Diff) })
}

type policyPublish struct {
	forMerchant
	asJSON
	document
	Note string `required:"" help:"Why, for the record: 1 to 500 characters."`
	Base *int64 `placeholder:"N" help:"The version that the document was made from: it is refused when another is in force by then."`
}

func (c *policyPublish) Run(ctx context.Context, a *app) error {
	source, err := c.read()
	if err != nil {
		return err
	}
	var made gate.Published
	err = a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		made, err = g.PublishPolicy(ctx, by, source, c.Note, c.Base)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, made, func(w io.Writer) {
		c.list(a.err, "warning: ", made.Warnings)
		writeShifts(a.err, made.Profiles)
		if r := made.Approval; r != nil {
			fmt.Fprintf(w, "Nothing is in force yet: %s (%s) needs the approval of %s, by %s.\n", r.ApprovalID, r.Fingerprint, visible(r.Needs), when(r.ExpiresAt))
			return
		}
		fmt.Fprintf(w, "Version %d of the policy is in force (sha256 %s).\n", made.Number, made.Hash)
	})
}
