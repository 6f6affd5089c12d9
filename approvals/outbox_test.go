package approvals

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

// endpoint adds one that is told messages of these types.
func (b *board) endpoint(merchant, id string, types ...string) {
	b.t.Helper()
	b.tx(func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO webhook_endpoints (id, merchant_id, url, types, created_by, created_at)
			VALUES ($1, $2, 'https://hook.example.com', $3, '', 0)`, id, merchant, " "+strings.Join(types, " ")+" ")
		return err
	})
}

// outbox gives the types of what waits for an endpoint.
func (b *board) outbox(endpoint string) (waiting []string) {
	b.t.Helper()
	b.tx(func(tx *store.Tx) (err error) {
		waiting, err = store.All(tx, func(r store.Row) (text string, err error) { return text, r.Scan(&text) },
			`SELECT type FROM outbox WHERE endpoint_id = $1 AND state = 'waiting' ORDER BY id`, endpoint)
		return err
	})
	return waiting
}

func TestWhatHappensToARequestIsToldToWhoWantsIt(t *testing.T) {
	onBoard(t, func(t *testing.T, b *board) {
		other := b.otherMerchant()
		b.endpoint(b.merchant, "whk_all", MessageTypes...)
		b.endpoint(b.merchant, "whk_ends", MessageResolved)
		b.endpoint(b.merchant, "whk_off", MessageTypes...)
		b.endpoint(other, "whk_other", MessageTypes...)
		b.tx(func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE webhook_endpoints SET disabled_at = 1 WHERE id = 'whk_off'`)
			return err
		})
		r := b.asked(Rule{})
		if err := b.cast(r, b.person("Ann", "manager")); err != nil {
			t.Fatal(err)
		}
		for endpoint, want := range map[string][]string{
			"whk_all":   {MessageRequested, MessageUpdated, MessageJobUpdated, MessageResolved},
			"whk_ends":  {MessageResolved},
			"whk_off":   {},
			"whk_other": {},
		} {
			if got := b.outbox(endpoint); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
				t.Errorf("%s is told %q, want %q", endpoint, got, want)
			}
		}
	})
}

func TestWhatIsRolledBackIsToldNobody(t *testing.T) {
	onBoard(t, func(t *testing.T, b *board) {
		b.endpoint(b.merchant, "whk_all", MessageTypes...)
		gone := errors.New("the effect failed")
		err := b.db.InTx(t.Context(), func(tx *store.Tx) error {
			j := Job{Merchant: b.merchant}
			j.JobID = store.NewID("job", tx.Now)
			return errors.Join(Enqueue(tx, j), gone)
		})
		if !errors.Is(err, gone) || len(b.outbox("whk_all")) != 0 {
			t.Errorf("%v; %q wait", err, b.outbox("whk_all"))
		}
	})
}

// An event that the package records and nobody thought of would be told nobody.
func TestEveryEventIsToldOrKnownNotToBe(t *testing.T) {
	quiet := []string{"approval.consumed", "job.progress", "job.stop_asked", "job.halted"}
	for _, event := range recordedEvents(t) {
		if _, told := messages[event]; told == slices.Contains(quiet, event) {
			t.Errorf("%s is told: %v; put it among messages, or among those that are told nobody", event, told)
		}
	}
}

// recordedEvents are the events that the code of this package names, and those that it makes of the states of a job.
func recordedEvents(t *testing.T) []string {
	t.Helper()
	events := []string{"job.succeeded", "job.failed", "job.cancelled", "job.expired", "job.indeterminate"}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f == "outbox.go" || strings.HasSuffix(f, "_test.go") {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"((?:approval|job)\.[a-z_]+)"`).FindAllSubmatch(text, -1) {
			events = append(events, string(m[1]))
		}
	}
	return events
}

// otherMerchant adds another and gives its id.
func (b *board) otherMerchant() (id string) {
	b.t.Helper()
	b.tx(func(tx *store.Tx) error {
		m, err := auth.EnsureMerchant(tx, "other")
		id = m.ID
		return err
	})
	return id
}
