package server

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/tools"
)

// tasksExtension is MCP's extension for calls that are answered later (SEP-2663, specification/draft/tasks.md of
// modelcontextprotocol/ext-tasks), for clients of 2026-07-28 and later that declare it. A task is one of our jobs under
// the job's own id: whatever is asked about a task is a call of one of the job tools by the same caller, judged and
// recorded like any other, and nothing is kept here.
//
// We send no notifications of tasks, which is optional. Nor is a task ever input_required: those whom it waits for are
// other people than its client.
const tasksExtension = "io.modelcontextprotocol/tasks"

// The tools behind the methods of tasks. A server that lacks one of them does not have the extension.
const (
	jobTool    = "dtc_get_job"
	cancelTool = "dtc_cancel_job"
)

// taskMethods are the methods of the extension. What earlier drafts had beside them (tasks/list, tasks/result) is gone.
var taskMethods = []string{"tasks/get", "tasks/update", "tasks/cancel"}

// A taskStatus is the state of a task. There is a third final one, failed, for what a call would be answered by with a
// JSON-RPC error.
type taskStatus string

const (
	taskWorking   taskStatus = "working"
	taskCompleted taskStatus = "completed" // with a result, which may say that it was refused
	taskFailed    taskStatus = "failed"
	taskCancelled taskStatus = "cancelled" // by its client
)

// A task is a job in the form of the extension.
type task struct {
	mcp.ResultBase
	ResultType    string         `json:"resultType"` // task for a new one, complete for one that was asked for
	ID            string         `json:"taskId"`
	Status        taskStatus     `json:"status"`
	StatusMessage string         `json:"statusMessage,omitempty"`
	CreatedAt     time.Time      `json:"createdAt"`
	LastUpdatedAt time.Time      `json:"lastUpdatedAt"`
	TTL           *int64         `json:"ttlMs"` // null: jobs are never dropped
	PollInterval  int64          `json:"pollIntervalMs,omitempty"`
	Result        *taskResult    `json:"result,omitempty"` // of a completed one
	Error         *jsonrpc.Error `json:"error,omitempty"`  // of a failed one
}

// A taskResult is what the call would have been answered, had it been answered at once. It is not the go-sdk's type,
// which keeps the resultType to itself: the client of ext-tasks 0.2.2 refuses a result without.
type taskResult struct {
	ResultType        string            `json:"resultType"`
	Content           []mcp.TextContent `json:"content"`
	StructuredContent any               `json:"structuredContent"`
	IsError           bool              `json:"isError,omitempty"`
}

// A taskAck answers what changes a task. How the task stands then is asked with tasks/get.
type taskAck struct {
	mcp.ResultBase
	ResultType string `json:"resultType"`
}

type taskParams struct {
	mcp.ParamsBase
	ID string `json:"taskId"`
}

// offerTasks adds the extension to a server that is being made. The only error of the go-sdk is that it has methods of
// these names itself, which is for whoever takes a new version of it to see.
func (t *tooling) offerTasks(s *mcp.Server) {
	for method, handle := range map[string]func(context.Context, *taskParams) (mcp.Result, error){
		"tasks/get": t.getTask, "tasks/update": t.updateTask, "tasks/cancel": t.cancelTask,
	} {
		err := mcp.AddReceivingCustomMethod(s, method, func(ctx context.Context, _ *mcp.ServerSession, p *taskParams) (mcp.Result, error) {
			if err := negotiated(p.Meta); err != nil {
				return nil, err
			}
			return handle(ctx, p)
		})
		if err != nil {
			panic(err)
		}
	}
}

// hasTasks reports whether the tools that tasks are made of are there.
func (t *tooling) hasTasks() bool {
	_, get := t.tools.Find(jobTool)
	_, cancel := t.tools.Find(cancelTool)
	return get && cancel
}

// modern reports whether a message is of a protocol that has extensions. The go-sdk has compared it with the headers.
func modern(meta mcp.Meta) bool {
	version, _ := meta[mcp.MetaKeyProtocolVersion].(string)
	return version >= protocols[0]
}

// declaresTasks reports whether the client has said with this very request that it knows tasks.
func declaresTasks(meta mcp.Meta) bool {
	capabilities, _ := meta[mcp.MetaKeyClientCapabilities].(map[string]any)
	extensions, _ := capabilities["extensions"].(map[string]any)
	_, declared := extensions[tasksExtension].(map[string]any)
	return declared && modern(meta)
}

// negotiated refuses a method of the extension to who has not declared it. The experimental tasks of 2025-11-25 had
// methods of the same names, which we do not have.
func negotiated(meta mcp.Meta) error {
	switch {
	case !modern(meta):
		return &jsonrpc.Error{Code: rpcUnknownMethod, Message: noSuchMethod}
	case !declaresTasks(meta):
		return undeclared()
	}
	return nil
}

// undeclared is not written with the go-sdk's type for it, which asks for roots as well.
func undeclared() error {
	return &jsonrpc.Error{
		Code:    mcp.CodeMissingRequiredClientCapabilities,
		Message: "Declare the extension " + tasksExtension + " among the capabilities of this request, or call " + jobTool + ".",
		Data:    json.RawMessage(`{"requiredCapabilities":{"extensions":{"` + tasksExtension + `":{}}}}`),
	}
}

// checkTaskName holds the header by which requests about a task are routed to the task that they name. The go-sdk does so
// for the protocol's own methods only.
func checkTaskName(raw []byte, h http.Header) *fault {
	if h.Get(headerVersion) < protocols[0] || !slices.Contains(taskMethods, h.Get("Mcp-Method")) {
		return nil // one that has another method than its header is refused by the go-sdk
	}
	var m struct {
		ID     json.RawMessage
		Params taskParams
	}
	if err := json.Unmarshal(raw, &m); err != nil || h.Get("Mcp-Name") != m.Params.ID {
		return &fault{code: rpcHeaderMismatch, id: m.ID, text: "The header Mcp-Name must be the taskId of the params."}
	}
	return nil
}

// created is the answer to a call that became the job.
func created(j tools.Job, meta mcp.Meta) *task {
	k := newTask(j)
	k.Meta, k.ResultType = meta, "task"
	return k
}

func (t *tooling) getTask(ctx context.Context, p *taskParams) (mcp.Result, error) {
	out, err := t.callJobTool(ctx, jobTool, p.ID)
	if err != nil {
		return nil, err
	}
	var found struct{ Jobs []tools.Job }
	if err := json.Unmarshal(out.Body, &found); err != nil || len(found.Jobs) != 1 {
		t.log.Error().Err(err).Str("call_id", out.CallID).Int("jobs", len(found.Jobs)).Msg("a task could not be read")
		return nil, rpcError(rpcInternal, asRefusal(err))
	}
	k := newTask(found.Jobs[0])
	k.Meta, k.ResultType = mcp.Meta{metaCallID: out.CallID}, "complete"
	switch k.Status {
	case taskCompleted:
		k.Result = t.resultOf(found.Jobs[0])
	case taskFailed:
		k.Error = errorOf(found.Jobs[0])
	}
	return k, nil
}

// updateTask takes answers to questions that no task of ours asks: a server ignores those to what it has not asked.
func (t *tooling) updateTask(ctx context.Context, p *taskParams) (mcp.Result, error) {
	return ack(t.callJobTool(ctx, jobTool, p.ID))
}

func (t *tooling) cancelTask(ctx context.Context, p *taskParams) (mcp.Result, error) {
	return ack(t.callJobTool(ctx, cancelTool, p.ID))
}

func ack(out gate.Outcome, err error) (mcp.Result, error) {
	if err != nil {
		return nil, err
	}
	return &taskAck{ResultBase: mcp.ResultBase{Meta: mcp.Meta{metaCallID: out.CallID}}, ResultType: "complete"}, nil
}

// callJobTool makes the call of a job tool that a request about a task is.
func (t *tooling) callJobTool(ctx context.Context, tool, id string) (gate.Outcome, error) {
	args, err := json.Marshal(map[string]string{"job_id": id})
	if err != nil {
		return gate.Outcome{}, rpcError(rpcInternal, asRefusal(err))
	}
	v := visitOf(ctx)
	out, err := t.handOver(v, gate.Request{Tool: tool, Args: args, Transport: "mcp"})
	if err == nil {
		return out, nil
	}
	refusal := asRefusal(err)
	switch refusal.Code {
	case tools.NotFound, tools.InvalidArguments: // an id that we never gave, or not to this caller: both are told the same
		refusal.Code, refusal.Message, refusal.Errors, refusal.Next = tools.NotFound, "There is no such task.", nil,
			"Use the taskId exactly as it was given, with the credential of the call that it came from."
		return out, rpcError(rpcInvalidParams, refusal)
	}
	if stepsUp(v, refusal) {
		v.refused(refusal)
	}
	return out, rpcError(cmp.Or(wires[refusal.Code].rpc, rpcInternal), refusal)
}

// patience is how long a client should wait between two looks at what only people can settle.
const patience = 30 * time.Second

func newTask(j tools.Job) *task {
	k := &task{ID: j.JobID, CreatedAt: j.CreatedAt, LastUpdatedAt: j.UpdatedAt}
	k.Status, k.StatusMessage = standing(j)
	if k.Status == taskWorking {
		k.PollInterval = cmp.Or(time.Duration(j.NextPollSeconds)*time.Second, patience).Milliseconds()
	}
	return k
}

// standing tells how a job stands as a task, in the extension's word and in ours. What was denied, has lapsed or could not
// be done is completed: its result tells why, to the model. A job of which nobody knows whether it was done is not at its
// end, since somebody will say so.
func standing(j tools.Job) (taskStatus, string) {
	switch j.Status {
	case tools.JobPending:
		return taskWorking, waitsFor(j)
	case tools.JobQueued:
		return taskWorking, "Waits for its turn: " + j.Summary
	case tools.JobRunning:
		return taskWorking, fmt.Sprintf("Runs, %d%% done: %s", j.ProgressPercent, j.Summary)
	case tools.JobIndeterminate:
		return taskWorking, cmp.Or(j.Why, "Nobody knows yet whether it was done; a person finds out.") + " Do not ask for it again meanwhile."
	case tools.JobSucceeded:
		return taskCompleted, "Done. " + j.Summary
	case tools.JobFailed:
		if wires[tools.Code(j.Reason)].rpc != 0 {
			return taskFailed, j.Why
		}
	case tools.JobCancelled:
		if j.Reason == "cancelled" {
			return taskCancelled, j.Why
		}
	}
	return taskCompleted, j.Why
}

// waitsFor says of a job that waits for people whom it needs, until when, and by which fingerprint they know it.
func waitsFor(j tools.Job) string {
	a := j.Approval
	if a == nil {
		return "Waits for people; nothing was done yet."
	}
	text := fmt.Sprintf("Waits for people; nothing was done yet. It needs the approval of %s, by %s (%s, fingerprint %s), to: %s.",
		a.Needs, a.ExpiresAt.Format(time.RFC3339), a.ApprovalID, a.Fingerprint, strings.TrimSuffix(j.Summary, "."))
	if a.NeedsNow != "" {
		text += " Still missing: " + a.NeedsNow + "."
	}
	return text
}

// errorOf is the JSON-RPC error that the call would have been answered with.
func errorOf(j tools.Job) *jsonrpc.Error {
	r := tools.Refusal{Code: tools.Code(j.Reason), Message: j.Why}
	return rpcError(wires[r.Code].rpc, r)
}

// resultOf is what the call would have been answered. One that was not done is answered with the job as dtc_get_job tells
// it, which says why, what to do, and what of it was done.
func (t *tooling) resultOf(j tools.Job) *taskResult {
	_, text := standing(j)
	r := &taskResult{ResultType: "complete", Content: []mcp.TextContent{{Text: text}}, StructuredContent: j, IsError: true}
	if j.Status == tools.JobSucceeded {
		done := tools.Result{Status: tools.Done, Result: j.Result, JobID: j.JobID, UndoID: j.UndoID}
		if tool, ok := t.tools.Find(j.Tool); ok {
			done.Undo = tool.Undo
		}
		r.StructuredContent, r.IsError = done, false
	}
	return r
}
