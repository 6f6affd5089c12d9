// Package outsidetest is an outside system for tests, and the tools that act on it.
//
// A Vendor does what it is asked over HTTP and remembers it: in memory, and in a ledger file that is synced before it answers, so that a test
// which kills processes can count afterwards what was really done. It can lose a request or an answer, hang, refuse, and be too busy.
// Tool makes a tool of a shape over it. Neither is part of the product: a test puts the tool into its registry.
package outsidetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
)

// A Fault is what goes wrong with one request to act.
type Fault int

// The faults. Of LoseAnswer and HangAfter the effect is there.
const (
	None        Fault = iota
	LoseRequest       // the connection breaks before anything is done
	LoseAnswer        // it breaks when it is done
	Hang              // nothing is done and no answer comes
	HangAfter         // it is done and no answer comes
	Refuse            // 422: nothing is done under this id
	Busy              // 503: nothing is done this time
)

// does reports whether the effect is there in spite of the fault.
func (f Fault) does() bool { return f == None || f == LoseAnswer || f == HangAfter }

// A Vendor is an outside system. Set its fields before it serves.
type Vendor struct {
	// Repeats lets it know an execution id again: the effect is there once, however often it is asked for.
	Repeats bool
	// Forgets keeps it from telling what became of an execution.
	Forgets bool
	// Fault says what goes wrong with the nth request for an execution, from 1; nil for nothing.
	Fault func(execution string, n int) Fault
	// Ledger is the file of what was done, a line with the execution id each; "" for none.
	Ledger string

	mu      sync.Mutex
	asked   map[string]int
	effects map[string]int
	refused map[string]bool
}

// ServeHTTP acts on POST /executions/ID and tells on GET.
func (v *Vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, ok := strings.CutPrefix(r.URL.Path, "/executions/")
	switch {
	case !ok || len(id) != 32:
		http.Error(w, "that is no execution", http.StatusBadRequest)
	case r.Method == http.MethodPost:
		v.act(w, r, id)
	default:
		v.tell(w, id)
	}
}

func (v *Vendor) act(w http.ResponseWriter, r *http.Request, id string) {
	fault, err := v.take(id)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	switch fault {
	case LoseRequest, LoseAnswer:
		panic(http.ErrAbortHandler)
	case Hang, HangAfter:
		<-r.Context().Done()
	case Refuse:
		http.Error(w, "no", http.StatusUnprocessableEntity)
	case Busy:
		http.Error(w, "later", http.StatusServiceUnavailable)
	default:
		answer(w, id)
	}
}

// take counts a request, and has its effect where the fault lets it.
func (v *Vendor) take(id string) (Fault, error) {
	fault, n := None, v.count(id)
	if v.Fault != nil {
		fault = v.Fault(id, n) // it may wait
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch known := v.Repeats && v.effects[id] > 0; {
	case known && fault == Refuse:
		fault = None // it has done it, and says so
	case v.Repeats && v.refused[id] && fault.does():
		fault = Refuse
	case !known && fault.does():
		v.effects[id]++
		return fault, v.write(id)
	case fault == Refuse:
		v.refused[id] = true
	}
	return fault, nil
}

// count counts a request and says the how manieth it is.
func (v *Vendor) count(id string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.asked == nil {
		v.asked, v.effects, v.refused = map[string]int{}, map[string]int{}, map[string]bool{}
	}
	v.asked[id]++
	return v.asked[id]
}

// write syncs a line of the ledger.
func (v *Vendor) write(id string) error {
	if v.Ledger == "" {
		return nil
	}
	f, err := os.OpenFile(v.Ledger, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the ledger: %w", err)
	}
	_, err = fmt.Fprintln(f, id)
	return errors.Join(err, f.Sync(), f.Close())
}

func (v *Vendor) tell(w http.ResponseWriter, id string) {
	switch {
	case v.Forgets:
		http.Error(w, "nobody knows", http.StatusNotImplemented)
	case v.Effects(id) > 0:
		answer(w, id)
	default:
		http.Error(w, "it has not happened, and nothing of it is on its way", http.StatusNotFound)
	}
}

func answer(w http.ResponseWriter, id string) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(Out{Execution: id})
}

// Effects counts what was done of an execution.
func (v *Vendor) Effects(id string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.effects[id]
}

// Asked counts the requests to act for an execution.
func (v *Vendor) Asked(id string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked[id]
}
