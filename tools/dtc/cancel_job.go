package dtc

import (
	"fmt"

	"github.com/dtcgate/dtcgate/tools"
)

type cancelJobIn struct {
	JobID  string `json:"job_id" jsonschema:"maxLength=40"`
	Reason string `json:"reason,omitempty" jsonschema:"maxLength=500"`
}

// A cancelJobOut tells how the job stands now: a running one is still running until its next step.
type cancelJobOut struct {
	ID     string          `json:"id"`
	Status tools.JobStatus `json:"status"`
	Why    string          `json:"why,omitempty"`
}

var cancelJob = tools.Define(tools.Spec{
	Name: "dtc_cancel_job", Path: "jobs.cancel", Title: "Cancel a job",
	Description: "Stops one of your own jobs; never waits for people. A waiting one ends at once. A running one stops before its next " +
		"step, and what is done stands.",
	Risk: tools.Risk{Undo: 1}, Resource: "job:/job_id", Brake: true,
	Example: `{"job_id":"{{job_id}}","reason":"the offer is off"}`,
	Undo:    "Call the tool again that made the job, with a new idempotency key",
	Routes:  []tools.Route{{Method: "POST", Path: "/jobs/{job_id}/cancel"}},
}, tools.Func[cancelJobIn, cancelJobOut]{Preview: previewCancel, Write: cancel})

// previewCancel finds the job, so that a job of somebody else is refused like one that never was. A job that has ended is
// no refusal: who stops something twice wants it stopped.
func previewCancel(c *tools.Call, in cancelJobIn) (tools.Preview, error) {
	j, err := c.Jobs.Job(c.Tx, c.Principal, in.JobID)
	if err != nil {
		return tools.Preview{}, err
	}
	p := tools.Preview{Summary: fmt.Sprintf("Stop the job %s (%s)", j.JobID, j.Tool), Version: string(j.Status)}
	if j.Status.Final() {
		p.Summary = fmt.Sprintf("Leave the job %s as it is: it has ended (%s)", j.JobID, j.Status)
	}
	return p, nil
}

// cancel leaves to the queue what stopping means for a job in each state.
func cancel(c *tools.Call, in cancelJobIn) (cancelJobOut, error) {
	j, err := c.Jobs.CancelJob(c.Tx, c.Principal, in.JobID, in.Reason)
	return cancelJobOut{ID: j.JobID, Status: j.Status, Why: j.Why}, err
}
