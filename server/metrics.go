package server

import (
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/tools"
)

// Metrics are what operators watch, in Prometheus' form: how many calls, how long, how many of them failed, how full everything is.
//
// Every label has its values from a list that is known when the program starts (tools, codes, verdicts, transports, routes), and what is none of
// them counts as "other" or "none": no caller can make a series. The one exception is the merchant, by its id, of policyMost merchants at most.
// No label is about a key, a person, a customer or an argument.
//
// A series is made when it first counts something and is found by an index from then on, so that a call costs no lookup by text, and a
// catalogue of a thousand tools no series that nothing was counted in.
type Metrics struct {
	registry *prometheus.Registry
	calls    *prometheus.CounterVec
	took     *prometheus.HistogramVec
	requests *prometheus.CounterVec
	tools    map[*tools.Tool]*toolSeries
	unknown  *toolSeries // of calls to no tool

	routes  map[string]*routeSeries // by pattern; complete before the first request
	noRoute *routeSeries
	serving atomic.Int64 // requests on their way
}

// The label values beside the tools and the codes, of which the last takes what is none of the others.
var (
	transports = []string{"mcp", "rest", "other"}
	endings    = slices.Concat([]ending{{gate.Refused, "other"}}, answered(), refusals())
	statuses   = []int{
		200, 201, 202, 204, 303, 304, 400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 429, 499, 500, 503, 0,
	}
)

// An ending is a verdict with its code, "" for what was not refused.
type ending struct{ verdict, code string }

func answered() (list []ending) {
	for _, v := range gate.Verdicts {
		if v != gate.Refused {
			list = append(list, ending{v, ""})
		}
	}
	return list
}

func refusals() (list []ending) {
	for _, c := range tools.Codes {
		list = append(list, ending{gate.Refused, string(c)})
	}
	return list
}

// toolSeries are the series of one tool, each made when it is first needed.
type toolSeries struct {
	name  string
	calls [][]atomic.Pointer[prometheus.Counter] // by transport and ending, in the order of the lists above
	took  []atomic.Pointer[prometheus.Observer]  // by verdict
}

func newToolSeries(name string) *toolSeries {
	s := &toolSeries{name: name, took: make([]atomic.Pointer[prometheus.Observer], len(gate.Verdicts))}
	for range transports {
		s.calls = append(s.calls, make([]atomic.Pointer[prometheus.Counter], len(endings)))
	}
	return s
}

// routeSeries are the requests of one route by status.
type routeSeries struct {
	name     string
	requests []atomic.Pointer[prometheus.Counter] // in the order of statuses
}

func newRouteSeries(name string) *routeSeries {
	return &routeSeries{name, make([]atomic.Pointer[prometheus.Counter], len(statuses))}
}

// latencies are the bounds of the histograms in seconds: a cached read takes a fraction of a millisecond, and a read that waits for a job 25 s.
var latencies = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// NewMetrics makes the metrics of a server with these tools. They count from then on; what is in the database is added by Watch.
func NewMetrics(registry *tools.Registry, version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dtcgate_calls_total", Help: "Calls of tools, by how they ended. code is empty for what was not refused.",
		}, []string{"tool", "transport", "verdict", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dtcgate_call_duration_seconds", Help: "Time from the gate being asked until its answer, with the record committed.", Buckets: latencies,
		}, []string{"tool", "verdict"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dtcgate_http_requests_total", Help: "HTTP requests by route and status.",
		}, []string{"route", "status"}),
		tools: map[*tools.Tool]*toolSeries{}, unknown: newToolSeries("none"), routes: map[string]*routeSeries{}, noRoute: newRouteSeries("none"),
	}
	for _, t := range registry.All() {
		m.tools[t] = newToolSeries(t.Name)
	}
	m.registry.MustRegister(m.calls, m.took, m.requests, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.gauge("dtcgate_http_requests_in_flight", "HTTP requests on their way, streams among them.", func() float64 { return float64(m.serving.Load()) })
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dtcgate_build_info", Help: "1, with what runs in the labels.", ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	}, func() float64 { return 1 }))
	return m
}

func (m *Metrics) gauge(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

func (m *Metrics) counter(name, help string, labels prometheus.Labels, read func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, read))
}

// Called counts a call. It is for gate.Config.Observe.
func (m *Metrics) Called(o gate.Observed) {
	s := m.tools[o.Tool]
	if s == nil {
		s = m.unknown
	}
	verdict := o.Verdict()
	m.calledBy(s, o.Transport, ending{verdict, string(o.Code)}).Inc()
	m.tookBy(s, verdict).Observe(o.Took.Seconds())
}

func (m *Metrics) calledBy(s *toolSeries, transport string, how ending) prometheus.Counter {
	by := slices.Index(transports, transport)
	if by < 0 {
		by = len(transports) - 1
	}
	at := max(0, slices.Index(endings, how))
	if c := s.calls[by][at].Load(); c != nil {
		return *c
	}
	c := m.calls.WithLabelValues(s.name, transports[by], endings[at].verdict, endings[at].code)
	s.calls[by][at].Store(&c)
	return c
}

func (m *Metrics) tookBy(s *toolSeries, verdict string) prometheus.Observer {
	at := max(0, slices.Index(gate.Verdicts, verdict))
	if o := s.took[at].Load(); o != nil {
		return *o
	}
	o := m.took.WithLabelValues(s.name, gate.Verdicts[at])
	s.took[at].Store(&o)
	return o
}

// route makes room for the requests of a route. It is called while the server is made.
func (m *Metrics) route(pattern string) {
	if m != nil {
		m.routes[pattern] = newRouteSeries(pattern)
	}
}

// serve counts requests on their way, by 1 when one comes and by -1 when it has left.
func (m *Metrics) serve(by int64) {
	if m != nil {
		m.serving.Add(by)
	}
}

// answered counts a request by its route, "" for none, and its status.
func (m *Metrics) answered(pattern string, status int) {
	if m == nil {
		return
	}
	s := m.routes[pattern]
	if s == nil {
		s = m.noRoute
	}
	at := slices.Index(statuses, status)
	if at < 0 {
		at = len(statuses) - 1
	}
	c := s.requests[at].Load()
	if c == nil {
		made := m.requests.WithLabelValues(s.name, statusName(statuses[at]))
		c = &made
		s.requests[at].Store(c)
	}
	(*c).Inc()
}
