package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/audit/witness"
	"github.com/dtcgate/dtcgate/store"
)

// witnessSecretVariable holds the secret of --witness-webhook. It is no flag, because others see command lines.
const witnessSecretVariable = "DTCGATE_WITNESS_SECRET"

// witnessing is where a server copies its signed checkpoints to.
type witnessing struct {
	WitnessFile    string        `placeholder:"PATH" help:"Append signed checkpoints to this file, best on another machine's disk or append-only."`
	WitnessWebhook string        `placeholder:"https://…" help:"Send signed checkpoints here, as Standard Webhooks has it. The secret, whsec_…, stands in DTCGATE_WITNESS_SECRET."`
	WitnessDB      string        `name:"witness-db" placeholder:"postgres://…|PATH" help:"Keep signed checkpoints in this other database, in a table of their own. A role that may SELECT and INSERT is enough once the table is there."`
	WitnessEvery   time.Duration `default:"1m" help:"How long to wait between two copies."`
}

// witness makes what copies checkpoints of the log with a public key, nil when nobody asked for it. The caller closes the
// destinations after it.
func (c witnessing) witness(db *store.DB, key string, log zerolog.Logger) (w *witness.Witness, closeAll func() error, err error) {
	var to []witness.Destination
	closeAll = func() error { return nil }
	if c.WitnessEvery < time.Second {
		return nil, closeAll, errors.New("--witness-every must be 1s or longer")
	}
	if c.WitnessFile != "" {
		to = append(to, witness.File{Path: c.WitnessFile})
	}
	if c.WitnessWebhook != "" {
		hook, err := witness.NewWebhook(c.WitnessWebhook, os.Getenv(witnessSecretVariable), db.Now)
		if err != nil {
			return nil, closeAll, fmt.Errorf("--witness-webhook: %w (%s)", err, witnessSecretVariable)
		}
		to = append(to, hook)
	}
	if c.WitnessDB != "" {
		other, err := witness.OpenDatabase(c.WitnessDB, key)
		if err != nil {
			return nil, closeAll, fmt.Errorf("--witness-db: %w", err)
		}
		to, closeAll = append(to, other), other.Close
	}
	if len(to) == 0 {
		return nil, closeAll, nil
	}
	return witness.New(witness.Config{DB: db, Key: key, Every: c.WitnessEvery, Destinations: to, Log: func(destination string, err error) {
		if err != nil {
			log.Error().Str("destination", destination).Err(err).Msg("checkpoints are not copied; trying again")
			return
		}
		log.Info().Str("destination", destination).Msg("checkpoints are copied again")
	}}), closeAll, nil
}

// copyOut begins to copy checkpoints to where they are out of reach, and gives what ends it after a last copy. One that fails has been
// logged, and is no failure of the server's: the next start makes up for it.
func (r *runningGate) copyOut(ctx context.Context) (end func() error) {
	if r.witness == nil {
		return func() error { return nil }
	}
	ctx, stop := context.WithCancel(ctx)
	var copying sync.WaitGroup
	copying.Go(func() { _ = r.witness.Run(ctx) })
	return func() error {
		stop()
		copying.Wait()
		return r.outside()
	}
}
