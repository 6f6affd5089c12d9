package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
)

// assertions is the flag that has a document proved to be as its operators say.
type assertions struct {
	Assert string `placeholder:"FILE" help:"Prove what this file asserts of the document, over every call that it can tell apart."`
}

// A doubt is an assertion that does not hold, or of which nobody can tell.
type doubt struct{ failed, unknown, all int }

func (d doubt) Error() string {
	return fmt.Sprintf("not proved: of %d assertions, %d are false and %d cannot be known", d.all, d.failed, d.unknown)
}

// prove proves a document that has no problems.
func (f assertions) prove(ctx context.Context, a *app, source string) (*policy.Proof, error) {
	p, problems := policy.New([]byte(source), registry)
	if len(problems) > 0 {
		return nil, strict.Problems(problems)
	}
	text, err := document{File: f.Assert}.read()
	if err != nil {
		return nil, err
	}
	proof, problems := policy.Prove(ctx, p, registry, []byte(text), progressTo(a.err))
	for _, problem := range problems {
		fmt.Fprintf(a.err, "%s:%s\n", visible(f.Assert), visible(problem.Error()))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("%s has %d problems, so nothing was proved", visible(f.Assert), len(problems))
	}
	return proof, ctx.Err()
}

// doubted is the error of a proof in which not everything holds.
func doubted(p *policy.Proof) error {
	d := doubt{all: len(p.Findings)}
	for _, f := range p.Findings {
		switch f.Result {
		case policy.Fails:
			d.failed++
		case policy.Unknown:
			d.unknown++
		}
	}
	if d.failed+d.unknown == 0 {
		return nil
	}
	return d
}

// writeProof tells a proof line by line.
func writeProof(w io.Writer, p *policy.Proof) {
	for _, f := range p.Findings {
		switch f.Result {
		case policy.Holds:
			fmt.Fprintf(w, "holds: %s\n", visible(f.Name))
		case policy.Fails:
			fmt.Fprintf(w, "does not hold: %s\n  %s.\n", visible(f.Name), visible(f.Witness.String()))
		case policy.Unknown:
			fmt.Fprintf(w, "cannot be known: %s\n  %s.\n", visible(f.Name), visible(f.Why()))
		}
	}
}

// progressTo tells, of a search that takes a while, how far it is.
func progressTo(w io.Writer) func(done, total int) {
	next := time.Now().Add(2 * time.Second)
	return func(done, total int) {
		if now := time.Now(); now.After(next) {
			fmt.Fprintf(w, "%d%% searched\n", 100*done/max(total, 1))
			next = now.Add(2 * time.Second)
		}
	}
}
