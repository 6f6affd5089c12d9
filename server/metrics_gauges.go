package server

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/approvals/notify"
	"github.com/dtcgate/dtcgate/audit/witness"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
)

// Sources are what Metrics read when they are asked.
type Sources struct {
	DB       *store.DB
	Gate     *gate.Gate
	Log      zerolog.Logger
	Webhooks *notify.Webhooks          // nil: there are none
	Witness  *witness.Witness          // nil: checkpoints stay here
	Traces   func() (sent, lost int64) // spans; nil: nothing is traced
}

// Watch adds what is read when the metrics are asked for. It is called once.
func (m *Metrics) Watch(s Sources) {
	calls := func() float64 { n, _, _ := s.Gate.Load(); return float64(n) }
	busy := func() float64 { _, n, _ := s.Gate.Load(); return float64(n) }
	all := func() float64 { _, _, n := s.Gate.Load(); return float64(n) }
	m.gauge("dtcgate_calls_in_flight", "Calls that are on their way through the gate.", calls)
	m.gauge("dtcgate_workers_busy", "Workers that carry out a stored call.", busy)
	m.gauge("dtcgate_workers", "Workers of this process.", all)
	if w := s.Webhooks; w != nil {
		for n, result := range notify.Results {
			m.counter("dtcgate_webhook_deliveries_total", "Attempts to deliver a webhook, by what came of them.",
				prometheus.Labels{"result": result}, func() float64 { return float64(w.Attempts(n)) })
		}
	}
	if t := s.Traces; t != nil {
		m.counter("dtcgate_trace_spans_total", "Spans that were offered to the collector.", prometheus.Labels{"result": "sent"}, func() float64 { n, _ := t(); return float64(n) })
		m.counter("dtcgate_trace_spans_total", "Spans that were offered to the collector.", prometheus.Labels{"result": "lost"}, func() float64 { _, n := t(); return float64(n) })
	}
	if s.Witness != nil {
		m.registry.MustRegister(&witnesses{s.Witness, s.DB.Now})
	}
	m.registry.MustRegister(&database{db: s.DB}, &backlog{db: s.DB, gate: s.Gate, log: s.Log})
}

// desc describes a metric that is read on demand.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("dtcgate_"+name, help, labels, nil)
}

// database tells how busy the database is, of which this process counts.
type database struct{ db *store.DB }

var (
	descConnections  = desc("db_connections_max", "Connections that there may be.")
	descInUse        = desc("db_connections_in_use", "Connections that are in a transaction.")
	descQueue        = desc("db_writers_waiting", "Callers that wait for their turn to write. SQLite only.")
	descWaits        = desc("db_connection_waits_total", "Callers that had to wait for a connection. PostgreSQL only.")
	descWaited       = desc("db_connection_wait_seconds_total", "Time that they waited, all together. PostgreSQL only.")
	descTransactions = desc("db_transactions_total", "Transactions that were begun.")
	descUnavailable  = desc("db_transactions_unavailable_total", "Transactions that ended because the database could not do its part.")
	descShares       = desc("db_commit_writers", "Writers that shared a commit. SQLite only.")
)

// Describe implements prometheus.Collector.
func (d *database) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(d, to) }

// Collect implements prometheus.Collector.
func (d *database) Collect(to chan<- prometheus.Metric) {
	s := d.db.Stats()
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	to <- prometheus.MustNewConstMetric(descConnections, gauge, float64(s.Connections))
	to <- prometheus.MustNewConstMetric(descInUse, gauge, float64(s.InUse))
	to <- prometheus.MustNewConstMetric(descTransactions, counter, float64(s.Transactions))
	to <- prometheus.MustNewConstMetric(descUnavailable, counter, float64(s.Unavailable))
	if d.db.Engine() == "postgres" {
		to <- prometheus.MustNewConstMetric(descWaits, counter, float64(s.Waits))
		to <- prometheus.MustNewConstMetric(descWaited, counter, s.Waited.Seconds())
		return
	}
	buckets := map[float64]uint64{}
	for i, n := range s.Commits.By {
		buckets[float64(store.CommitShares[i])] = uint64(n)
	}
	to <- prometheus.MustNewConstMetric(descQueue, gauge, float64(s.Waiting))
	to <- prometheus.MustNewConstHistogram(descShares, uint64(s.Commits.Count), float64(s.Commits.Shares), buckets)
}

const (
	backlogEvery = 5 * time.Second // how often the database is asked at most
	backlogTime  = 2 * time.Second // for its answer
	policyMost   = 100             // merchants whose version is told
)

// backlog tells what waits in the database.
type backlog struct {
	db   *store.DB
	gate *gate.Gate
	log  zerolog.Logger

	mu    sync.Mutex // one question at a time; guards what follows
	asked time.Time
	last  gate.Backlogs
	err   error
}

// read asks the database, or gives what it said a moment ago, a failure too.
func (b *backlog) read() (gate.Backlogs, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.db.Now()
	if age := now.Sub(b.asked); age >= 0 && age < backlogEvery {
		return b.last, b.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), backlogTime)
	defer cancel()
	b.last, b.err = b.gate.Backlogs(ctx)
	b.asked = now
	if b.err != nil {
		b.log.Warn().Err(b.err).Msg("reading what waits, for the metrics")
	}
	return b.last, b.err
}

var (
	descRead          = desc("database_readable", "1 when the gauges of what waits could be read, 0 when not; they are missing then.")
	descOpen          = desc("approvals_open", "Requests that wait for people.")
	descOpenAge       = desc("approvals_oldest_age_seconds", "Age of the one that waits for longest; 0 when there is none.")
	descJobs          = desc("jobs", "Jobs that workers have to do with, by state: due, running, indeterminate.", "state")
	descJobsAge       = desc("jobs_oldest_due_age_seconds", "Time since the first of the due jobs was due; 0 when there is none.")
	descOutbox        = desc("outbox_messages", "Messages to webhooks that have not arrived.")
	descOutboxAge     = desc("outbox_oldest_age_seconds", "Age of the oldest of them; 0 when there is none.")
	descPending       = desc("audit_pending_entries", "Entries of the record that stand outside the tree.")
	descPendingAge    = desc("audit_pending_oldest_age_seconds", "Age of the oldest of them, which is the sequencer's lag; 0 when there is none.")
	descSize          = desc("audit_checkpoint_entries", "Entries that the last checkpoint is about.")
	descCheckpointAge = desc("audit_checkpoint_age_seconds", "Age of the last checkpoint; 0 when there is none.")
	descExport        = desc("audit_export_behind_entries", "Entries of the record that an export has not delivered.", "export")
	descExportAge     = desc("audit_export_oldest_age_seconds", "Age of the oldest of them; 0 when there is none.", "export")
	descExportFails   = desc("audit_export_failing_seconds", "Time since when the receiver of an export takes nothing; 0 when it does.", "export")
	descLease         = desc("lease_remaining_seconds", "Time until a lease has to be renewed, by its holder's clock, whichever process that is; below 0 when it was not. Leases that were given up are not told.", "lease")
	descPolicy        = desc("policy_version", "Version of the policy in force, of 100 merchants at most.", "merchant")
)

// Describe implements prometheus.Collector. Which of them there are depends on the database, so that none is promised but one.
func (b *backlog) Describe(to chan<- *prometheus.Desc) { to <- descRead }

// Collect implements prometheus.Collector.
func (b *backlog) Collect(to chan<- prometheus.Metric) {
	l, err := b.read()
	tell := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	if err != nil {
		tell(descRead, 0)
		return
	}
	tell(descRead, 1)
	tell(descOpen, float64(l.Approvals.Requests))
	tell(descOpenAge, age(l.At, l.Approvals.Oldest))
	tell(descJobs, float64(l.Jobs.Due), "due")
	tell(descJobs, float64(l.Jobs.Running), "running")
	tell(descJobs, float64(l.Jobs.Indeterminate), "indeterminate")
	tell(descJobsAge, age(l.At, l.Jobs.Oldest))
	tell(descOutbox, float64(l.Outbox.Messages))
	tell(descOutboxAge, age(l.At, l.Outbox.Oldest))
	tell(descPending, float64(l.Record.Pending))
	tell(descPendingAge, age(l.At, l.Record.Oldest))
	tell(descSize, float64(l.Record.Size))
	tell(descCheckpointAge, age(l.At, l.Record.Signed))
	for _, x := range l.Exports {
		tell(descExport, float64(x.Behind), x.Name)
		tell(descExportAge, age(l.At, x.Oldest), x.Name)
		tell(descExportFails, age(l.At, x.Failing), x.Name)
	}
	for name, until := range l.Leases {
		tell(descLease, until.Sub(l.At).Seconds(), name)
	}
	merchants := slices.Sorted(maps.Keys(l.Policies)) // by age: ids are in order of time
	for _, m := range merchants[:min(len(merchants), policyMost)] {
		tell(descPolicy, float64(l.Policies[m]), m)
	}
}

// witnesses tells how far the places outside are behind to which this process copies checkpoints.
type witnesses struct {
	*witness.Witness
	now func() time.Time
}

var (
	descWitness       = desc("audit_witness_behind_entries", "Signed entries that no checkpoint at a witness covers, as this process last found.", "witness")
	descWitnessFails  = desc("audit_witness_failing_seconds", "Time since when nothing could be copied to a witness; 0 when it works.", "witness")
	descWitnessDenies = desc("audit_witness_contradicts", "1 when the record is not the one that a witness keeps, 0 when it is.", "witness")
)

// Describe implements prometheus.Collector.
func (w *witnesses) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(w, to) }

// Collect implements prometheus.Collector.
func (w *witnesses) Collect(to chan<- prometheus.Metric) {
	tell := func(d *prometheus.Desc, value float64, witness string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, witness)
	}
	for _, s := range w.State() {
		denies := 0.0
		if s.Tampered {
			denies = 1
		}
		tell(descWitness, float64(s.Behind), s.Destination)
		tell(descWitnessFails, age(w.now(), s.FailingAt), s.Destination)
		tell(descWitnessDenies, denies, s.Destination)
	}
}

// age is the time from then to now in seconds, 0 when there is no then.
func age(now, then time.Time) float64 {
	if then.IsZero() {
		return 0
	}
	return max(0, now.Sub(then).Seconds())
}

// statusName is a status as a label.
func statusName(status int) string {
	if status == 0 {
		return "other"
	}
	return strconv.Itoa(status)
}
