package outsidetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// In are the arguments of every tool here.
type In struct {
	Payee          string `json:"payee" jsonschema:"minLength=1,maxLength=40"`
	Amount         int64  `json:"amount" jsonschema:"minimum=1,maximum=1000,description=Minor units of GBP"`
	IdempotencyKey string `json:"idempotency_key,omitempty" jsonschema:"maxLength=255"`
	Reason         string `json:"reason,omitempty" jsonschema:"maxLength=500"`
	DryRun         bool   `json:"dry_run,omitempty"`
}

// Out is what a Vendor answers.
type Out struct {
	Execution string `json:"execution"`
}

// A Shape is what a tool knows of its outside system.
type Shape struct {
	Name       string // test_pay
	Path       string // test.pay
	Repeatable bool
	Probes     bool
}

// Tool makes a tool of a shape that acts on the vendor at an address, http://127.0.0.1:1234.
func Tool(at string, s Shape) *tools.Tool {
	c := client{at}
	f := tools.Func[In, Out]{Preview: preview, Send: c.send}
	if s.Probes {
		f.Probe = c.probe
	}
	return tools.Define(tools.Spec{
		Name: s.Name, Path: s.Path, Title: "Pay", Description: "A tool of the tests that pays somebody at an outside system.", Scope: "orders:refund",
		Risk: tools.Risk{Undo: 3, Blast: 1, Money: 2, Touch: 1, Reach: 1}, Class: tools.ClassSpend, Resource: "payee:/payee",
		Undo: "None: ask the payee to pay it back", Routes: []tools.Route{{Method: "POST", Path: "/" + s.Name}}, Repeatable: s.Repeatable,
	}, f)
}

func preview(_ *tools.Call, in In) (tools.Preview, error) {
	return tools.Preview{
		Summary: fmt.Sprintf("Pay %d pence to %s", in.Amount, in.Payee), Customers: 1, Money: &shop.Money{AmountMinor: in.Amount, Currency: "GBP"},
		Version: "1",
	}, nil
}

// A client is the vendor as the tools reach it.
type client struct{ at string }

func (c client) send(ctx context.Context, _ *tools.Call, _ In, execution string) (Out, error) {
	status, out, err := c.do(ctx, http.MethodPost, execution)
	switch dialed := (*net.OpError)(nil); {
	case errors.As(err, &dialed) && dialed.Op == "dial":
		return out, fmt.Errorf("%w: %w", tools.ErrNotSent, err)
	case err != nil:
		return out, err
	}
	switch status {
	case http.StatusOK:
		return out, nil
	case http.StatusUnprocessableEntity:
		return out, tools.Refuse(tools.Conflict, "Pay somebody else.", "The outside system has refused the payment.")
	case http.StatusServiceUnavailable:
		return out, tools.ErrNotSent
	}
	return out, fmt.Errorf("the vendor answers %d", status)
}

func (c client) probe(ctx context.Context, _ *tools.Call, _ In, execution string) (Out, tools.Known, error) {
	status, out, err := c.do(ctx, http.MethodGet, execution)
	switch {
	case err != nil:
		return out, tools.Unknown, err
	case status == http.StatusOK:
		return out, tools.Happened, nil
	case status == http.StatusNotFound:
		return out, tools.DidNotHappen, nil
	}
	return out, tools.Unknown, nil
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 4096

func (c client) do(ctx context.Context, method, execution string) (status int, out Out, err error) {
	r, err := http.NewRequestWithContext(ctx, method, c.at+"/executions/"+execution, nil)
	if err != nil {
		return 0, out, err
	}
	r.Close = true // Go's client repeats a request by itself only on a connection that it has used before, which is never here
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, out, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return answer.StatusCode, out, nil
	}
	err = json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&out)
	return answer.StatusCode, out, err
}
