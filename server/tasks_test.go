package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// withJobs are the fake tools and those that tell of jobs.
var withJobs = tools.NewRegistry(append(fakes.All(), slices.DeleteFunc(dtc.Tools(), func(t *tools.Tool) bool {
	return t.Name != jobTool && t.Name != cancelTool
})...)...)

// newTaskRig is a rig with a key whose sending waits for people.
func newTaskRig(t *testing.T, db *store.DB) *rig {
	t.Helper()
	g := newRig(t, db, withJobs)
	g.mint("key", true, "orders:read", "marketing:send")
	g.person("ada")
	return g
}

// A taskAnswer is an answer about a task, with every name that the extension has or had.
type taskAnswer struct {
	ResultType    string
	TaskID        string
	Status        string
	StatusMessage string
	CreatedAt     time.Time
	LastUpdatedAt time.Time
	Result        *struct {
		ResultType        string
		Content           []struct{ Text string }
		StructuredContent json.RawMessage
		IsError           bool
	}
	members map[string]json.RawMessage
}

// task asks about a task as the named key, and wants an answer.
func (g *rig) task(key, method, id string) taskAnswer {
	g.Helper()
	body, headers := message(withTasks, method, fmt.Sprintf(`{"taskId":%q}`, id))
	resp, text := g.do("POST", "/mcp", body, append(headers, "Authorization: Bearer "+g.secrets[key])...)
	var r struct{ Result json.RawMessage }
	g.must(json.Unmarshal([]byte(text), &r))
	if r.Result == nil {
		g.Fatalf("%s: %s %s", method, resp.Status, text)
	}
	return g.taskIn(r.Result)
}

func (g *rig) taskIn(result json.RawMessage) (k taskAnswer) {
	g.Helper()
	g.must(json.Unmarshal(result, &k))
	g.must(json.Unmarshal(result, &k.members))
	return k
}

const send = `{"name":"notes_send","arguments":{"note_id":"%[1]s","expected_version":1,"reason":"they asked","idempotency_key":"%[1]s"}}`

// created makes a call that becomes a task.
func (g *rig) created(key, once string) taskAnswer {
	g.Helper()
	body, headers := message(withTasks, "tools/call", fmt.Sprintf(send, once))
	resp, text := g.do("POST", "/mcp", body, append(headers, "Authorization: Bearer "+g.secrets[key])...)
	var r struct{ Result json.RawMessage }
	g.must(json.Unmarshal([]byte(text), &r))
	k := g.taskIn(r.Result)
	if resp.StatusCode != http.StatusOK || k.ResultType != "task" {
		g.Fatalf("%s %s", resp.Status, text)
	}
	return k
}

// decide votes as ada about what the task waits for.
func (g *rig) decide(id, decision, reason string) {
	g.Helper()
	j := g.job(id)
	resp, text := g.do("POST", tools.BasePath+"/approvals/"+j.ApprovalID+"/resolve",
		fmt.Sprintf(`{"decision":%q,"reason":%q,"seen_sha256":%q}`, decision, reason, j.Approval.Fingerprint), jsonBody, "Authorization: Bearer "+g.secrets["ada"])
	if resp.StatusCode != http.StatusOK {
		g.Fatalf("%s %s", resp.Status, text)
	}
}

// job reads a job of the key over REST.
func (g *rig) job(id string) (j tools.Job) {
	g.Helper()
	_, text := g.do("GET", tools.BasePath+"/jobs/"+id, "", "Authorization: Bearer "+g.secrets["key"])
	g.must(json.Unmarshal([]byte(text), &j))
	return j
}

func TestACallThatWaitsIsATaskForWhoDeclaresItAndAJobForOthers(t *testing.T) {
	g := newTaskRig(t, storetest.New(t, "sqlite"))
	for _, era := range eras {
		_, r := g.rpc("key", era, "tools/call", fmt.Sprintf(send, "undeclared-"+era))
		var parked tools.Result
		g.must(json.Unmarshal(r.Result.StructuredContent, &parked))
		if r.Result.ResultType == "task" || parked.Status != tools.PendingApproval || parked.JobID == "" || !strings.HasSuffix(parked.Poll, parked.JobID) {
			t.Errorf("%s: %+v", era, r)
		}
	}
	k := g.created("key", "declared")
	j := g.job(k.TaskID)
	if j.Status != tools.JobPending || k.Status != "working" || !k.CreatedAt.Equal(j.CreatedAt) || !k.LastUpdatedAt.Equal(j.UpdatedAt) {
		t.Errorf("the task %+v is not the job %+v", k, j)
	}
	for _, tells := range []string{j.Approval.Needs, j.Approval.Fingerprint, j.Approval.ExpiresAt.Format(time.RFC3339)} {
		if !strings.Contains(k.StatusMessage, tells) {
			t.Errorf("%q does not tell %q", k.StatusMessage, tells)
		}
	}
	if string(k.members["ttlMs"]) != "null" || string(k.members["pollIntervalMs"]) != "30000" {
		t.Errorf("ttlMs %s, pollIntervalMs %s", k.members["ttlMs"], k.members["pollIntervalMs"])
	}
	for _, never := range []string{"task", "result", "error", "inputRequests", "requestState", "ttl", "pollInterval", "content", "structuredContent"} {
		if k.members[never] != nil {
			t.Errorf("a new task has the member %s", never)
		}
	}
	if again := g.created("key", "declared"); again.TaskID != k.TaskID || !strings.Contains(string(again.members["_meta"]), metaReplayed) {
		t.Errorf("a repeat is the task %s, not %s: %s", again.TaskID, k.TaskID, again.members["_meta"])
	}
}

// What declares an extension is an object under its name, in the capabilities of this request.
func TestOnlyADeclarationDeclares(t *testing.T) {
	modern := protocols[0]
	declared := map[string]any{"extensions": map[string]any{tasksExtension: map[string]any{}}}
	if !declaresTasks(mcp.Meta{mcp.MetaKeyProtocolVersion: modern, mcp.MetaKeyClientCapabilities: declared}) {
		t.Error("a declaration is not seen")
	}
	for name, meta := range map[string]mcp.Meta{
		"nothing":           nil,
		"no protocol":       {mcp.MetaKeyClientCapabilities: declared},
		"an older protocol": {mcp.MetaKeyProtocolVersion: "2025-11-25", mcp.MetaKeyClientCapabilities: declared},
		"null":              {mcp.MetaKeyProtocolVersion: modern, mcp.MetaKeyClientCapabilities: map[string]any{"extensions": map[string]any{tasksExtension: nil}}},
		"as a capability":   {mcp.MetaKeyProtocolVersion: modern, mcp.MetaKeyClientCapabilities: map[string]any{"tasks": map[string]any{}}},
		"as experimental":   {mcp.MetaKeyProtocolVersion: modern, mcp.MetaKeyClientCapabilities: map[string]any{"experimental": declared["extensions"]}},
		"a list":            {mcp.MetaKeyProtocolVersion: modern, mcp.MetaKeyClientCapabilities: map[string]any{"extensions": []any{tasksExtension}}},
	} {
		if declaresTasks(meta) {
			t.Errorf("%s declares tasks", name)
		}
	}
}

func TestATaskEndsAsItsCallWouldHave(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newTaskRig(t, db)
		t.Run("approved", func(t *testing.T) {
			id := g.created("key", "approved").TaskID
			g.decide(id, "approve", "fine")
			g.work()
			k := g.task("key", "tasks/get", id)
			var done tools.Result
			if k.Status != "completed" || k.Result == nil || k.Result.IsError || k.Result.ResultType != "complete" {
				t.Fatalf("%+v", k)
			}
			g.must(json.Unmarshal(k.Result.StructuredContent, &done))
			if done.Status != tools.Done || string(done.Result) != `{"note_id":"approved","text":"sent"}` || k.Result.Content[0].Text != "Done. Send a note." {
				t.Errorf("%s %s", k.Result.Content[0].Text, k.Result.StructuredContent)
			}
		})
		t.Run("denied", func(t *testing.T) {
			id := g.created("key", "denied").TaskID
			g.decide(id, "deny", "the price is wrong")
			k := g.task("key", "tasks/get", id)
			text := k.Result.Content[0].Text
			if k.Status != "completed" || !k.Result.IsError || !strings.Contains(text, "the price is wrong") || !strings.Contains(text, "Do not retry the same request") {
				t.Errorf("%s: %s", k.Status, text)
			}
			if !strings.Contains(string(k.Result.StructuredContent), `"reason":"denied"`) {
				t.Errorf("%s", k.Result.StructuredContent)
			}
		})
		t.Run("cancelled by its client", func(t *testing.T) {
			id := g.created("key", "cancelled").TaskID
			for range 2 { // a task that has ended is acknowledged too
				if a := g.task("key", "tasks/cancel", id); a.ResultType != "complete" || len(a.members) != 2 || a.members["_meta"] == nil {
					t.Errorf("the answer is %v", a.members)
				}
			}
			if k := g.task("key", "tasks/get", id); k.Status != "cancelled" || k.Result != nil || k.members["pollIntervalMs"] != nil {
				t.Errorf("%+v", k)
			}
		})
		t.Run("lapsed", func(t *testing.T) {
			id := g.created("key", "lapsed").TaskID
			now := db.Now
			defer func() { db.Now = now }()
			db.Now = func() time.Time { return now().Add(25 * time.Hour) }
			g.must(g.gate.Sweep(t.Context()))
			if k := g.task("key", "tasks/get", id); k.Status != "completed" || !k.Result.IsError || !strings.Contains(string(k.Result.StructuredContent), `"status":"expired"`) {
				t.Errorf("%+v", k)
			}
		})
		t.Run("an answer to what was not asked", func(t *testing.T) {
			id := g.created("key", "updated").TaskID
			if a := g.task("key", "tasks/update", id); a.ResultType != "complete" || len(a.members) != 2 {
				t.Errorf("the answer is %v", a.members)
			}
			if k := g.task("key", "tasks/get", id); k.Status != "working" {
				t.Errorf("%+v", k)
			}
		})
	})
}

// Every way in which a job may stand, of which the tools here have not all.
func TestHowAJobStandsAsATask(t *testing.T) {
	for _, c := range []struct {
		job  tools.Job
		want taskStatus
	}{
		{tools.Job{Status: tools.JobPending}, taskWorking},
		{tools.Job{Status: tools.JobQueued}, taskWorking},
		{tools.Job{Status: tools.JobRunning}, taskWorking},
		{tools.Job{Status: tools.JobIndeterminate}, taskWorking},
		{tools.Job{Status: tools.JobSucceeded}, taskCompleted},
		{tools.Job{Status: tools.JobExpired, Reason: "expired"}, taskCompleted},
		{tools.Job{Status: tools.JobCancelled, Reason: "denied"}, taskCompleted},
		{tools.Job{Status: tools.JobCancelled, Reason: "invalidated"}, taskCompleted},
		{tools.Job{Status: tools.JobCancelled, Reason: "paused"}, taskCompleted},
		{tools.Job{Status: tools.JobCancelled, Reason: "cancelled"}, taskCancelled},
		{tools.Job{Status: tools.JobFailed, Reason: string(tools.Conflict)}, taskCompleted},
		{tools.Job{Status: tools.JobFailed, Reason: string(tools.Internal)}, taskCompleted},
		{tools.Job{Status: tools.JobFailed, Reason: string(tools.UnknownTool)}, taskFailed}, // the one refusal of a call that is a JSON-RPC error
	} {
		k := newTask(c.job)
		if k.Status != c.want || k.StatusMessage == "" && c.job.Status != tools.JobExpired && c.job.Why != "" {
			t.Errorf("%s (%s) is %s: %q", c.job.Status, c.job.Reason, k.Status, k.StatusMessage)
		}
		if (k.PollInterval > 0) != (k.Status == taskWorking) {
			t.Errorf("%s is to be asked for after %d ms", c.job.Status, k.PollInterval)
		}
	}
	if e := errorOf(tools.Job{Status: tools.JobFailed, Reason: string(tools.UnknownTool), Why: "It is gone."}); e.Code != rpcInvalidParams || e.Message != "It is gone." {
		t.Errorf("%+v", e)
	}
}

// A task of somebody else and one that never was are answered alike, whatever is asked about it.
func TestNobodyLearnsOfATaskOfSomebodyElse(t *testing.T) {
	g := newTaskRig(t, storetest.New(t, "sqlite"))
	g.mint("other", true, "orders:read", "marketing:send")
	id := g.created("key", "mine").TaskID
	for _, method := range taskMethods {
		answers := map[string]bool{}
		for _, foreign := range []string{id, store.NewID("job", time.Now()), "tasks-conformance-nonexistent-12345", strings.Repeat("x", 300)} {
			resp, r := g.rpc("other", withTasks, method, fmt.Sprintf(`{"taskId":%q}`, foreign))
			if r.Error == nil || r.Error.Code != rpcInvalidParams || resp.StatusCode != http.StatusBadRequest || strings.Contains(r.Error.Message, foreign) {
				t.Fatalf("%s of %.40s: %s %+v", method, foreign, resp.Status, r)
			}
			r.Error.Data.CallID = ""
			answers[fmt.Sprintf("%+v", *r.Error)] = true
		}
		if len(answers) != 1 {
			t.Errorf("%s: the answers differ: %v", method, answers)
		}
	}
	if k := g.task("key", "tasks/get", id); k.Status != "working" {
		t.Errorf("somebody else has moved it: %+v", k)
	}
}

func TestWhoHasNotDeclaredTasksIsToldToDeclareThem(t *testing.T) {
	g := newTaskRig(t, storetest.New(t, "sqlite"))
	id := g.created("key", "declared").TaskID
	for _, method := range taskMethods {
		body, headers := message(eras[1], method, fmt.Sprintf(`{"taskId":%q}`, id))
		resp, text := g.do("POST", "/mcp", body, append(headers, "Authorization: Bearer "+g.secrets["key"])...)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(text, `-32021`) || !strings.Contains(text, `"data":{"requiredCapabilities":{"extensions":{"`+tasksExtension+`":{}}}}`) {
			t.Errorf("%s: %s %s", method, resp.Status, text)
		}
		if _, r := g.rpc("key", eras[0], method, fmt.Sprintf(`{"taskId":%q}`, id)); r.Error == nil || r.Error.Code != rpcUnknownMethod {
			t.Errorf("%s in an era without extensions: %+v", method, r)
		}
	}
	for _, gone := range []string{"tasks/list", "tasks/result"} {
		if resp, r := g.rpc("key", withTasks, gone, fmt.Sprintf(`{"taskId":%q}`, id)); r.Error == nil || r.Error.Code != rpcUnknownMethod || resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s %+v", gone, resp.Status, r)
		}
	}
	for _, bad := range []string{`{}`, `{"taskId":""}`, `{"taskId":7}`, `{"taskId":null}`} {
		body, headers := message(withTasks, "tasks/get", bad)
		if _, text := g.do("POST", "/mcp", body, append(headers, "Authorization: Bearer "+g.secrets["key"])...); !strings.Contains(text, "-32602") {
			t.Errorf("%s: %s", bad, text)
		}
	}
	_, r := g.rpc("key", eras[1], "server/discover", "{}")
	if extensions, _ := r.Result.Capabilities["extensions"].(map[string]any); extensions[tasksExtension] == nil || r.Result.Capabilities["tasks"] != nil {
		t.Errorf("capabilities are %v", r.Result.Capabilities)
	}
}

func TestTheNameOfATaskIsInTheHeader(t *testing.T) {
	g := newTaskRig(t, storetest.New(t, "sqlite"))
	id := g.created("key", "mine").TaskID
	for _, method := range taskMethods {
		body, headers := message(withTasks, method, fmt.Sprintf(`{"taskId":%q}`, id))
		bare := slices.DeleteFunc(headers, func(h string) bool { return strings.HasPrefix(h, "Mcp-Name: ") })
		for name, wrong := range map[string][]string{"none": nil, "another": {"Mcp-Name: job_other"}, "two": {"Mcp-Name: " + id, "Mcp-Name: " + id}, "in capitals": {"Mcp-Name: " + strings.ToUpper(id)}} {
			resp, text := g.do("POST", "/mcp", body, slices.Concat(bare, wrong, []string{"X-Agent-Key: " + g.secrets["key"]})...)
			if resp.StatusCode != http.StatusBadRequest || !strings.Contains(text, fmt.Sprint(rpcHeaderMismatch)) {
				t.Errorf("%s with %s: %s %s", method, name, resp.Status, text)
			}
		}
	}
	if k := g.task("key", "tasks/get", id); k.Status != "working" {
		t.Errorf("a message with a wrong header has moved it: %+v", k)
	}
}

// A task is a row: another process on the same database answers for it, and whoever lost their rights is not answered.
func TestATaskOutlivesTheProcessAndNotTheRightsOfItsCaller(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newTaskRig(t, db)
		id := g.created("key", "before").TaskID
		secrets := g.secrets
		g = newRig(t, db, withJobs)
		g.secrets = secrets
		if k := g.task("key", "tasks/get", id); k.Status != "working" || !strings.Contains(k.StatusMessage, "needs the approval of") {
			t.Errorf("after a restart: %+v", k)
		}
		g.decide(id, "approve", "fine")
		g.work()
		if k := g.task("key", "tasks/get", id); k.Status != "completed" || k.Result.IsError {
			t.Errorf("after a restart and an approval: %+v", k)
		}
		g.must(db.InTx(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE agent_keys SET revoked_at = $1 WHERE revoked_at IS NULL`, store.Micros(tx.Now))
			return err
		}))
		body, headers := message(withTasks, "tasks/get", fmt.Sprintf(`{"taskId":%q}`, id))
		if resp, text := g.do("POST", "/mcp", body, append(headers, "Authorization: Bearer "+g.secrets["key"])...); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("a revoked key is told %s %s", resp.Status, text)
		}
	})
}

// What is asked about a task is a call of a job tool, with its checks and its entry in the record.
func TestWhatIsAskedAboutATaskIsACall(t *testing.T) {
	g := newTaskRig(t, storetest.New(t, "sqlite"))
	id := g.created("key", "once").TaskID
	before := len(g.entries())
	g.task("key", "tasks/get", id)
	g.task("key", "tasks/update", id)
	g.task("key", "tasks/cancel", id)
	var calls []string
	for _, e := range g.entries()[before:] {
		if e.Event == "call" {
			calls = append(calls, strings.Join([]string{e.Transport, e.Tool, e.Status, e.Resource}, " "))
		}
	}
	want := []string{"mcp dtc_get_job done job:" + id, "mcp dtc_get_job done job:" + id, "mcp dtc_cancel_job done job:" + id}
	if !slices.Equal(calls, want) {
		t.Errorf("the record has %q", calls)
	}
	g.publish("language: 1\nprofiles:\n  scoped: {description: Grants nothing.}\n  admin: {description: No tools of jobs., tools: [notes.*], resources: ['*']}\n" +
		"conditions: |\n  permit (principal, action, resource);\n")
	if _, r := g.rpc("key", withTasks, "tasks/get", fmt.Sprintf(`{"taskId":%q}`, id)); r.Error == nil || r.Error.Code != rpcInternal || r.Error.Data.Code != tools.ForbiddenTool {
		t.Errorf("a key without dtc_get_job is told %+v", r)
	}
}
