package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/dtcgate/dtcgate/gate"
)

type policyExplain struct {
	forMerchant
	asJSON
	Key  string `required:"" placeholder:"ID" help:"Who would make the call: a key, sub-token or agent of an issuer, by id."`
	Tool string `required:"" placeholder:"NAME" help:"The tool that would be called."`
	Args string `default:"{}" placeholder:"JSON|@FILE" help:"Its arguments as JSON, or @ and the name of a file that holds them; @- reads them from the input."`
}

// maxArguments bounds the arguments of a call that is explained, in bytes: what a transport would take.
const maxArguments = 1 << 20

func (c *policyExplain) arguments() ([]byte, error) {
	name, isFile := strings.CutPrefix(c.Args, "@")
	if !isFile {
		return []byte(c.Args), nil
	}
	args, err := readUpTo(name, maxArguments+1)
	if err != nil {
		return nil, fmt.Errorf("reading the arguments, which --args takes as JSON or as @FILE: %w", err)
	}
	if len(args) > maxArguments {
		return nil, fmt.Errorf("%s has more than %d bytes, which no call may have", name, maxArguments)
	}
	return args, nil
}

func (c *policyExplain) Run(ctx context.Context, a *app) error {
	args, err := c.arguments()
	if err != nil {
		return err
	}
	var e gate.Explanation
	err = a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		e, err = g.Explain(ctx, by, gate.Question{Key: c.Key, Tool: c.Tool, Args: args})
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, e, func(w io.Writer) { writeExplanation(w, e) })
}

func writeExplanation(w io.Writer, e gate.Explanation) {
	fmt.Fprintf(w, "Under version %d the call would %s, by %s.\n", e.PolicyVersion, becomes(e), visible(e.Rule))
	rows := [][]string{}
	for _, k := range e.Checks {
		rows = append(rows, []string{k.Check, k.Verdict, visible(k.Rule), visible(k.Input)})
	}
	table(w, []string{"CHECK", "VERDICT", "RULE", "LOOKED AT"}, rows)
	if n := e.Nearest; n != nil {
		fmt.Fprintf(w, "The nearest call that would not be refused: %s\n", visible(strings.TrimSpace(n.Tool+" with "+string(n.Arguments))))
	}
}

func becomes(e gate.Explanation) string {
	switch {
	case e.Code != "":
		return fmt.Sprintf("be refused: %s %s", e.Code, visible(e.Reason))
	case e.Needs != "":
		return "wait for " + e.Needs
	}
	return "run"
}
