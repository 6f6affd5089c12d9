package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/audit/export"
	"github.com/dtcgate/dtcgate/audit/witness"
	"github.com/dtcgate/dtcgate/store"
)

const (
	slowCopy    = 5 * time.Minute // that copies of the record and of its checkpoints may be behind
	witnessTime = 10 * time.Second
)

// lookExports reads how far each export has come. One that is configured no more counts, too: retention waits for it until it is forgotten.
func lookExports(ctx context.Context, p *patient) symptom {
	return p.look(ctx, func(tx *store.Tx) (symptom, error) {
		all, err := export.Cursors(tx)
		var stuck []string
		for _, x := range all {
			switch {
			case !x.Failing.IsZero():
				stuck = append(stuck, fmt.Sprintf("%s has failed since %s, %d entries behind: %s", x.Name, when(x.Failing), x.Behind, x.Problem))
			case x.Behind > 0 && tx.Now.Sub(x.Oldest) > slowCopy:
				stuck = append(stuck, fmt.Sprintf("%s is %d entries behind, the oldest of %s", x.Name, x.Behind, when(x.Oldest)))
			}
		}
		if len(stuck) > 0 {
			return warn("See that its receiver answers, and that a server runs with its flag. Forget one that is configured no more: `dtcgate audit sinks --forget NAME`. Nothing is pruned that it has not delivered.",
				"%s", strings.Join(stuck, "; ")), err
		}
		return ok("%d, none is stuck", len(all)), err
	})
}

// lookWitnesses asks the places that the flags name what they keep. A webhook cannot be asked.
func lookWitnesses(ctx context.Context, p *patient) symptom {
	ctx, cancel := context.WithTimeout(ctx, witnessTime)
	defer cancel()
	_, key, _ := audit.LoadSigner(p.auditKey()) // lookAuditKey says what is wrong with it
	found := 0
	for _, at := range []struct{ kind, place string }{{"file", p.flags.WitnessFile}, {"database", p.flags.WitnessDB}} {
		if at.place == "" {
			continue
		}
		found++
		d, err := witness.DistanceTo(ctx, p.db, at.place, key)
		switch late := p.now.Sub(d.Since); {
		case errors.Is(err, audit.ErrTampered):
			return fail("Keep what the witness has, and find out who changed the record: `dtcgate audit verify --against`. After a restore, give the server a new place.", "the %s: %v", at.kind, err)
		case err != nil:
			return warn("See that this machine reaches it and may read it, as the server must.", "the %s cannot be asked: %v", at.kind, err)
		case d.Behind > 0 && late > max(slowCopy, 3*p.flags.WitnessEvery):
			return warn("See that a server runs with its flag, and look into its log.", "the %s lacks %d signed entries, the first checkpoint since %s", at.kind, d.Behind, when(d.Since))
		}
	}
	if p.flags.WitnessWebhook != "" {
		return ok("%d asked; what a webhook has is in dtcgate_audit_witness_behind_entries of the server's /metrics", found)
	}
	return ok("%d asked", found)
}
