package dtc

import (
	"time"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A getJobIn asks for one job, or for a page of all: Status, Limit and Cursor are for the list, WaitSeconds for one job.
type getJobIn struct {
	JobID       string          `json:"job_id,omitempty" jsonschema:"maxLength=40"`
	Status      tools.JobStatus `json:"status,omitempty" jsonschema:"enum=pending_approval,enum=queued,enum=running,enum=succeeded,enum=failed,enum=cancelled,enum=expired,enum=indeterminate"`
	WaitSeconds int             `json:"wait_seconds,omitempty" jsonschema:"minimum=0,maximum=25,description=With job_id"`
	Paging
}

type getJobOut struct {
	Jobs []tools.Job `json:"jobs"`
	Paged
}

var getJob = tools.Define(tools.Spec{
	Name: "dtc_get_job", Path: "jobs.get", Title: "Get a job",
	Description: "Tells how a call that answered with a job_id stands or ended: its result, or why it did not run. Look again after " +
		"next_poll_seconds, or use wait_seconds. Without job_id: yours, newest first.",
	Risk: tools.Risk{DataOut: 1}, Resource: "job:/job_id", Undo: nothing, Example: `{"status":"succeeded","limit":1}`,
	Routes: []tools.Route{{Method: "GET", Path: "/jobs/{job_id}", Only: "jobs"}, {Method: "GET", Path: "/jobs"}},
}, tools.Func[getJobIn, getJobOut]{
	Read: readJobs,
	Asks: func(c *tools.Call, in getJobIn) { _, _ = readJobs(c, in) },
})

// readJobs holds an answer back by saying ErrNotYet: the gate asks again, each time on a fresh view of the database, and no
// transaction stays open meanwhile.
func readJobs(c *tools.Call, in getJobIn) (getJobOut, error) {
	if in.JobID == "" {
		return listJobs(c, in)
	}
	j, err := c.Jobs.Job(c.Tx, c.Principal, in.JobID)
	if err != nil {
		return getJobOut{}, err
	}
	out := getJobOut{Jobs: []tools.Job{j}, Paged: Paged{Total: 1}}
	if !j.Status.Final() && c.Now.Before(c.Started.Add(time.Duration(in.WaitSeconds)*time.Second)) {
		return out, tools.ErrNotYet
	}
	return out, nil
}

// listJobs asks for one job more than it shows, to know whether there is another page. Job ids sort by time.
func listJobs(c *tools.Call, in getJobIn) (out getJobOut, err error) {
	cut, err := in.cut(c)
	if err != nil {
		return out, err
	}
	f := tools.JobFilter{Status: in.Status, Limit: cut.Limit + 1}
	if cut.After != nil {
		f.Before = cut.After.ID
	}
	jobs, total, err := c.Jobs.Jobs(c.Tx, c.Principal, f)
	if err != nil {
		return out, err
	}
	more := len(jobs) > cut.Limit
	jobs = jobs[:min(len(jobs), cut.Limit)]
	places := make([]shop.Place, len(jobs))
	for i, j := range jobs {
		places[i].ID = j.JobID
	}
	out.Jobs, out.Paged, err = pageOf(c, jobs, places, total, more)
	return out, err
}
