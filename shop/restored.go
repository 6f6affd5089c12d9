package shop

import (
	"fmt"

	"github.com/dtcgate/dtcgate/store"
)

// TakeForCarried marks the messages that waited for a Carrier as handed over, and gives their number. It is for a database that comes from a
// backup: a message waits for half a second, so that those of the backup have left since, and must not leave twice.
func TakeForCarried(tx *store.Tx) (int64, error) {
	n, err := tx.Exec(`UPDATE deliveries SET carried_at = $1 WHERE carried_at IS NULL`, store.Micros(tx.Now))
	if err != nil {
		return 0, fmt.Errorf("holding back messages: %w", err)
	}
	return n, nil
}
