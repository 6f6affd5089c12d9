package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// What package policy records of a version that it puts in force.
const (
	policyPublished = "policy.published"
	policyResource  = "policy:%d"
	policyReason    = "sha256 " // and the digest of its text
)

// provePolicies gives the texts of the policies that the entries were decided by. One that is not kept any more, or whose
// publishing is not on record, is left out: what is in a receipt is proved.
func provePolicies(tx *store.Tx, entries []kept, size int64, o ReceiptOptions) ([]ProvedPolicy, error) {
	all := []ProvedPolicy{}
	for _, version := range versionsOf(entries) {
		merchant := entries[0].entry.Merchant
		text, err := o.Policy(tx, merchant, version)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		published, err := publishing(tx, merchant, version, text.At)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		proved, err := prove(tx, published, size, false)
		if err != nil {
			return nil, err
		}
		all = append(all, ProvedPolicy{version, text.SHA256, text.Text, proved})
	}
	return all, nil
}

// versionsOf are the versions that entries name, in order. A version's own publishing is no decision by it.
func versionsOf(entries []kept) (versions []int64) {
	for _, k := range entries {
		if v := k.entry.PolicyVersion; v > 0 && k.entry.Event != policyPublished && !slices.Contains(versions, v) {
			versions = append(versions, v)
		}
	}
	slices.Sort(versions)
	return versions[:min(len(versions), maxPolicies)]
}

// publishing finds the entry that put a version in force. It was appended in the transaction that stored the version, and
// ids go by time, so that a moment's entries are all that is looked through.
func publishing(tx *store.Tx, merchant string, version int64, at time.Time) (kept, error) {
	found, err := store.All(tx, scanKept, keptColumns+`e.id >= $1 AND e.id < $2 AND e.merchant = $3 AND e.event = $4 ORDER BY e.id`,
		store.FirstID("aud", at.Add(-time.Millisecond)), store.FirstID("aud", at.Add(time.Millisecond)), merchant, policyPublished)
	if err != nil {
		return kept{}, err
	}
	for _, k := range found {
		if k.entry.Resource == fmt.Sprintf(policyResource, version) && k.seq > 0 {
			return k, nil
		}
	}
	return kept{}, store.ErrNotFound
}

// check holds the text of a policy to the entry that published it.
func (p ProvedPolicy) check(e Entry, merchant string) error {
	sum := sha256.Sum256([]byte(p.Text))
	switch digest := hex.EncodeToString(sum[:]); {
	case len(p.Text) > maxPolicy:
		return fmt.Errorf("its text has more than %d bytes", maxPolicy)
	case digest != p.SHA256:
		return fmt.Errorf("its text has the SHA-256 %s, not %.64s", digest, p.SHA256)
	case e.Event != policyPublished || e.Resource != fmt.Sprintf(policyResource, p.Version):
		return fmt.Errorf("entry %d does not publish it", p.Published.Number)
	case e.Merchant != merchant:
		return fmt.Errorf("entry %d publishes another merchant's", p.Published.Number)
	case !strings.HasPrefix(e.Reason, policyReason+digest+":"):
		return fmt.Errorf("entry %d published a text with another SHA-256", p.Published.Number)
	}
	return nil
}
