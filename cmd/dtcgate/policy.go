package main

import (
	"context"
	"maps"
	"slices"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/store"
)

// firstPolicies gives merchants that never had a policy the default one: those of a database from before there were policies.
func firstPolicies(ctx context.Context, db *store.DB) error {
	return db.InTx(ctx, func(tx *store.Tx) error {
		inForce, err := auth.PolicyVersions(tx)
		if err != nil {
			return err
		}
		for _, merchant := range slices.Sorted(maps.Keys(inForce)) {
			if inForce[merchant] == 0 {
				if _, err := policy.Install(tx, merchant, policy.Default, auth.Operator); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
