package export

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/dtcgate/dtcgate/approvals/notify"
)

// A Webhook takes batches as messages that are signed as Standard Webhooks has it. A message that is sent again has the same id and the same bytes.
type Webhook struct {
	To     *Address
	Secret string // whsec_…
	Now    func() time.Time
}

// message is the payload: type, timestamp and data, as the standard has them.
type message struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // of the youngest entry
	Data      struct {
		First  int64   `json:"first"`
		Last   int64   `json:"last"`
		Events []Event `json:"events"`
	} `json:"data"`
}

// Send makes one attempt.
func (w *Webhook) Send(ctx context.Context, b Batch) error {
	m := message{Type: "audit.entries", Timestamp: b.Entries[len(b.Entries)-1].At}
	m.Data.First, m.Data.Last = b.First, b.Last
	sum := sha256.New()
	for _, e := range b.Entries {
		m.Data.Events = append(m.Data.Events, Map(e))
		sum.Write([]byte(e.ID))
	}
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	id := "msg_" + hex.EncodeToString(sum.Sum(nil)[:16])
	_, err = w.To.post(ctx, body, func(r *http.Request) error { return notify.Sign(r, w.Secret, id, w.Now(), body) })
	return err
}
