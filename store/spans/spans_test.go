package spans

import (
	"errors"
	"net/http"
	"testing"
)

// With tracing off nothing may be paid for it.
func TestNoTracerCostsNoMemory(t *testing.T) {
	var none *Tracer
	header := http.Header{"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}
	failed := errors.New("failed")
	allocated := testing.AllocsPerRun(100, func() {
		ctx, request := none.Request(t.Context(), header)
		ctx, call := none.Message(ctx, "call", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
		ctx, part := none.Part(ctx, "part")
		none.Check(ctx, "check", "ok")
		_, work := none.Work(ctx, "work")
		call.Called(Call{ID: "call_1"})
		request.Answered("GET /", "", 500)
		part.Tool("tool")
		if request.Trace() != "" || request != nil || call != nil || part != nil || work != nil {
			t.Error("no tracer began a span")
		}
		part.End(failed)
	})
	if allocated != 0 {
		t.Errorf("%v allocations", allocated)
	}
}
