package tools

import (
	"fmt"

	"github.com/dtcgate/dtcgate/schemas"
)

// A Code names a refusal. The list is closed; package server holds the one table from codes to each wire.
type Code string

// The codes of refusals.
const (
	ForbiddenScope      Code = "FORBIDDEN_SCOPE"
	ForbiddenTool       Code = "FORBIDDEN_TOOL"
	ForbiddenResource   Code = "FORBIDDEN_RESOURCE"
	ForbiddenNetwork    Code = "FORBIDDEN_NETWORK"
	StepUpRequired      Code = "STEP_UP_REQUIRED"
	RateLimited         Code = "RATE_LIMITED"
	RiskCeiling         Code = "RISK_CEILING"
	InvalidArguments    Code = "INVALID_ARGUMENTS"
	StaleExpectation    Code = "STALE_EXPECTATION"
	LimitExceeded       Code = "LIMIT_EXCEEDED"
	BudgetExceeded      Code = "BUDGET_EXCEEDED"
	TrustTooLow         Code = "TRUST_TOO_LOW"
	ForbiddenByPolicy   Code = "FORBIDDEN_BY_POLICY"
	Frozen              Code = "FROZEN"
	QuietHours          Code = "QUIET_HOURS"
	NotFound            Code = "NOT_FOUND"
	Conflict            Code = "CONFLICT"
	IdempotencyConflict Code = "IDEMPOTENCY_CONFLICT"
	UnknownTool         Code = "UNKNOWN_TOOL"
	Unauthorized        Code = "UNAUTHORIZED"
	ForbiddenApprover   Code = "FORBIDDEN_APPROVER"
	ApprovalDenied      Code = "APPROVAL_DENIED"
	ApprovalExpired     Code = "APPROVAL_EXPIRED"
	ApprovalInvalidated Code = "APPROVAL_INVALIDATED"
	Unavailable         Code = "UNAVAILABLE"
	Internal            Code = "INTERNAL"
)

// Codes are all of them.
var Codes = []Code{
	ForbiddenScope, ForbiddenTool, ForbiddenResource, ForbiddenNetwork, StepUpRequired, RateLimited, RiskCeiling,
	InvalidArguments, StaleExpectation, LimitExceeded, BudgetExceeded, TrustTooLow, ForbiddenByPolicy, Frozen, QuietHours,
	NotFound, Conflict, IdempotencyConflict, UnknownTool, Unauthorized,
	ForbiddenApprover, ApprovalDenied, ApprovalExpired, ApprovalInvalidated, Unavailable, Internal,
}

// A Refusal is why a call did not run, in one shape on every transport. Its texts are ours: outsiders' text and the
// caller's own values never stand in them.
type Refusal struct {
	Code          Code    `json:"error_code"`
	Message       string  `json:"message"` // what was wrong
	Errors        *Errors `json:"errors,omitempty"`
	Next          string  `json:"next,omitempty"` // what to do
	PolicyVersion int64   `json:"policy_version,omitempty"`
	CallID        string  `json:"call_id,omitempty"`
	RetryAfter    int64   `json:"retry_after_seconds,omitempty"` // 0: waiting alone does not help
}

// Errors are the particulars of a refusal; which of them are set depends on its code.
type Errors struct {
	Missing []string        `json:"missing,omitempty"` // scopes
	Fields  []schemas.Wrong `json:"fields,omitempty"`
	Now     map[string]any  `json:"now,omitempty"` // what a stale expectation would have to be now
}

func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Message }

// Refuse makes a refusal with a message and the next step.
func Refuse(code Code, next, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, args...), Next: next}
}

// Stale refuses a call whose plan was made on facts that are no longer true, and gives the facts.
func Stale(what string, now map[string]any) *Refusal {
	return &Refusal{
		Code: StaleExpectation, Message: what, Errors: &Errors{Now: now},
		Next: "Read it again, decide again, and call with the values under errors.now if the plan still holds.",
	}
}

// Wrong refuses a call for one argument that the schema could not judge.
func Wrong(field, problem, expected string, example any) *Refusal {
	return WrongFields([]schemas.Wrong{{Field: field, Problem: problem, Expected: expected, Example: example}})
}

// WrongFields refuses a call for its arguments and names every one of them.
func WrongFields(fields []schemas.Wrong) *Refusal {
	message := fmt.Sprintf("%d arguments are wrong.", len(fields))
	if len(fields) == 1 {
		message = fmt.Sprintf("The argument %s %s.", fields[0].Field, fields[0].Problem)
	}
	return &Refusal{
		Code: InvalidArguments, Message: message, Errors: &Errors{Fields: fields},
		Next: "Correct the fields named under errors.fields and call again. Nothing was done.",
	}
}
