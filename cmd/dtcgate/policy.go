package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/budget"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/store"
)

type policyCmds struct {
	Show     policyShow     `cmd:"" help:"Print the document that is in force, or another version."`
	Versions policyVersions `cmd:"" help:"List the versions, newest first."`
	Check    policyCheck    `cmd:"" help:"Say what is wrong with a document, and what it would change."`
	Diff     policyDiff     `cmd:"" help:"Show what a document changes of the version in force, or of another."`
	Publish  policyPublish  `cmd:"" help:"Put a document in force as the next version."`
	Explain  policyExplain  `cmd:"" help:"List every check of a call that nobody makes, with its verdict and rule."`
	Replay   policyReplay   `cmd:"" help:"Say what a document would have made of the calls of the last days."`
	Shadow   policyShadow   `cmd:"" help:"Run a document beside the one in force, and record what it would say otherwise."`
	Budgets  policyBudgets  `cmd:"" help:"Show what the budgets have used up."`
	Schema   policySchema   `cmd:"" help:"Print the JSON Schema of the document, for editors."`
	Default  policyDefault  `cmd:"" help:"Print the document that a merchant begins with."`
}

// firstPolicies gives merchants that never had a policy the default one: those of a database from before there were policies.
func firstPolicies(ctx context.Context, db *store.DB) error {
	return db.InTx(ctx, func(tx *store.Tx) error {
		inForce, err := auth.PolicyVersions(tx)
		if err != nil {
			return err
		}
		for _, merchant := range slices.Sorted(maps.Keys(inForce)) {
			if inForce[merchant] == 0 {
				if _, err := policy.Install(tx, merchant, policy.Default, auth.Operator); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// ofVersion is the flag of commands about a version.
type ofVersion struct {
	Version int64 `placeholder:"N" help:"The number of a version; the one in force if left out."`
}

// Validate is called by kong: what it refuses is wrong use.
func (f ofVersion) Validate() error {
	if f.Version < 0 {
		return errors.New("--version is the number of a version, from 1")
	}
	return nil
}

func (f ofVersion) read(tx *store.Tx, m auth.Merchant) (policy.Version, error) {
	v, err := policy.Find(tx, m.ID, f.Version)
	if errors.Is(err, store.ErrNotFound) {
		err = errors.New("there is no such version of the policy: `dtcgate policy versions` lists them")
	}
	return v, err
}

type policyShow struct {
	forMerchant
	asJSON
	ofVersion
}

// Run prints the document as it was published and nothing else, so that it can be changed and published again.
func (c *policyShow) Run(ctx context.Context, a *app) error {
	var v policy.Version
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		v, err = c.read(tx, m)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, v, func(w io.Writer) { writeLines(w, v.Source) })
}

// writeLines writes a text with its lines as they are, and all else that would steer a terminal made visible. A document that was published
// holds none.
func writeLines(w io.Writer, text string) {
	for line := range strings.Lines(text) {
		whole, ended := strings.CutSuffix(line, "\n")
		fmt.Fprint(w, visible(whole))
		if ended {
			fmt.Fprintln(w)
		}
	}
}

type policyVersions struct {
	forMerchant
	asJSON
	Before int64 `placeholder:"N" help:"Only versions before this one."`
	Limit  int   `default:"50" help:"At most so many, up to 200."`
}

// Validate is called by kong: what it refuses is wrong use.
func (c *policyVersions) Validate() error {
	if c.Limit < 1 || c.Limit > listMax || c.Before < 0 {
		return fmt.Errorf("--limit is 1 to %d, and --before the number of a version", listMax)
	}
	return nil
}

func (c *policyVersions) Run(ctx context.Context, a *app) error {
	all := []policy.Version{}
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) error {
		found, err := policy.List(tx, m.ID, c.Before, c.Limit)
		all = append(all, found...)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, all, func(w io.Writer) {
		rows := [][]string{}
		for _, v := range all {
			state := ""
			if v.InForce {
				state = "in force"
			}
			rows = append(rows, []string{strconv.FormatInt(v.Number, 10), state, when(v.At), v.Author, v.Hash[:12], v.Note})
		}
		table(w, []string{"VERSION", "STATE", "PUBLISHED", "BY", "SHA256", "NOTE"}, rows)
	})
}

type policyBudgets struct {
	forMerchant
	asJSON
	Budget  string `help:"Only this one, by its full name such as limits.budgets.refunds."`
	Subject string `help:"Only of this subject, such as key:key_…."`
}

func (c *policyBudgets) Run(ctx context.Context, a *app) error {
	all := []budget.Use{}
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) error {
		found, err := budget.Used(tx, m.ID, budget.Filter{Budget: c.Budget, Subject: c.Subject, Limit: listMax})
		all = append(all, found...)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, all, func(w io.Writer) {
		if len(all) == 0 {
			fmt.Fprintln(w, "Nothing is used of any budget in its present period.")
			return
		}
		rows := [][]string{}
		for _, u := range all {
			rows = append(rows, []string{u.Budget, u.Subject, u.Unit, number(u.Spent), number(u.Reserved), number(u.Limit), when(u.Until)})
		}
		table(w, []string{"BUDGET", "SUBJECT", "UNIT", "SPENT", "RESERVED", "LIMIT", "UNTIL"}, rows)
	})
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

type policySchema struct{}

func (*policySchema) Run(a *app) error {
	_, err := a.out.Write(policy.Schema)
	return err
}

type policyDefault struct{}

func (*policyDefault) Run(a *app) error {
	_, err := a.out.Write(policy.Default)
	return err
}

// document is the argument of commands that are about a document.
type document struct {
	File string `arg:"" help:"The document, in YAML; - is standard input."`
}

// read gives the text of the document. One that is too large is read as far as it takes to say so.
func (d document) read() (string, error) {
	text, err := readUpTo(d.File, strict.MaxSize+1)
	if err != nil {
		return "", fmt.Errorf("reading the document: %w", err)
	}
	return string(text), nil
}

// readUpTo gives at most so many bytes of a file, or of standard input when its name is -.
func readUpTo(name string, most int64) ([]byte, error) {
	in := os.Stdin
	if name != "-" {
		var err error
		if in, err = os.Open(name); err != nil {
			return nil, err
		}
		defer in.Close()
	}
	return io.ReadAll(io.LimitReader(in, most))
}

// name is the document in messages.
func (d document) name() string {
	if d.File == "-" {
		return "<stdin>"
	}
	return d.File
}
