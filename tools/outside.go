package tools

import (
	"context"
	"errors"
	"time"
)

// A tool with an effect outside of the database cannot have it in the gate's transaction, so that a crash may leave open whether it
// happened. Its code is Func.Send, and its calls always are jobs: the intent to send is committed with an execution id, then Send runs
// outside of any transaction, and what came of it is committed afterwards. The execution id is the same on every attempt.
//
// What the error of a Send means:
//
//	nil         it happened.
//	*Refusal    the outside system has refused this execution: under its id nothing has happened and nothing will.
//	ErrNotSent  this attempt has changed nothing, and will not. What an earlier attempt did is another question.
//	any other   nobody knows: a lost connection, the end of ctx, an answer that cannot be read, a panic.
//
// What met this one attempt alone (a rate limit, a credential that was renewed meanwhile) is ErrNotSent and no Refusal.

// RepeatTime is for how long after the first attempt an outside system must know an execution id again, for its tool to be Repeatable.
const RepeatTime = 12 * time.Hour

// ErrNotSent says that an attempt to send has changed nothing at the outside system.
var ErrNotSent = errors.New("it was not sent")

// Known is what somebody knows of an execution at the outside system.
type Known string

// What can be known. DidNotHappen also says that it will not happen any more: of an attempt that may still be on its way, or of which
// there is only no trace yet, the answer is Unknown.
const (
	Unknown      Known = ""
	Happened     Known = "happened"
	DidNotHappen Known = "did_not_happen"
)

// A sender is the code of a tool whose effect is outside.
type sender[In, Out any] struct {
	send  func(ctx context.Context, c *Call, in In, execution string) (Out, error)
	probe func(ctx context.Context, c *Call, in In, execution string) (Out, Known, error)
}

// erase puts the code into h. Without a probe nothing is ever known.
func (s sender[In, Out]) erase(h *Handler) {
	if s.send != nil {
		h.Send = func(ctx context.Context, c *Call, execution string) (any, error) {
			return with(c, func(in In) (any, error) { return s.send(ctx, c, in, execution) })
		}
	}
	if s.probe == nil {
		return
	}
	h.Probe = func(ctx context.Context, c *Call, execution string) (result any, known Known, err error) {
		result, err = with(c, func(in In) (out any, err error) {
			out, known, err = s.probe(ctx, c, in, execution)
			return out, err
		})
		if err != nil {
			return nil, Unknown, err
		}
		return result, known, nil
	}
}

// Outside reports whether the effect of the tool is outside of the database.
func (h Handler) Outside() bool { return h.Send != nil }

// Works reports whether calls of the tool are carried out by a worker, after they are answered.
func (h Handler) Works() bool { return h.Step != nil || h.Outside() }

// shapes holds a write to one of the three shapes, and what belongs to one of them to that one.
func (t *Tool) shapes() error {
	h := t.handler
	acts := 0
	for _, is := range []bool{h.Write != nil, h.Step != nil, h.Outside()} {
		if is {
			acts++
		}
	}
	switch {
	case !t.Writes() && acts > 0:
		return errors.New("what reads does not act")
	case t.Writes() && (h.Preview == nil || acts != 1):
		return errors.New("a write needs a preview and one of Write, Step and Send")
	case h.Stopped != nil && h.Step == nil:
		return errors.New("only what steps have left is settled by Stopped")
	case !h.Outside() && (h.Probe != nil || t.Repeatable):
		return errors.New("only what Send does has a Probe or is Repeatable")
	case h.Outside() && t.Brake:
		return errors.New("a brake acts at once, and what is sent waits for a worker")
	case h.Outside() && h.Keep != nil:
		return errors.New("a transaction does not take back what was done outside of it")
	}
	return nil
}
