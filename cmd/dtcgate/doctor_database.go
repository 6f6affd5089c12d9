package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

func lookDatabase(_ context.Context, p *patient) symptom {
	if p.wrong != nil {
		return fail("Name the database with --db or --data, as the server is given it, and see that it is reachable. `dtcgate serve` makes one.", "%v", p.wrong)
	}
	f, version := p.facts, cmp.Or(p.facts.Setting["server_version"], p.facts.Setting["version"])
	switch {
	case f.Schema > f.Knows:
		return fail("Use the newer program.", "%s %s has schema %d, and this program knows %d", f.Engine, version, f.Schema, f.Knows)
	case f.Schema < f.Knows:
		return warn("The next start of a server, or any other command, brings it up to date. What stands in its tables was not looked at.", "%s %s has schema %d, and this program knows %d", f.Engine, version, f.Schema, f.Knows)
	case f.Engine == "postgres" && asNumber(f.Setting["server_version_num"]) < 130000:
		return warn("PostgreSQL 13 is the oldest that its makers still looked after in 2025. Upgrade.", "PostgreSQL %s", version)
	}
	return ok("%s %s, schema %d", f.Engine, version, f.Schema)
}

func asNumber(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

// lookDurability asks whether a commit that was answered survives a power cut, and the file is whole.
func lookDurability(_ context.Context, p *patient) symptom {
	if p.wrong != nil {
		return warn("Look again when the database is reachable.", "not looked at")
	}
	s := p.facts.Setting
	for _, want := range durable[p.facts.Engine] {
		if s[want.setting] != want.value {
			return symptom{Verdict: want.verdict, Found: fmt.Sprintf("%s is %s", want.setting, s[want.setting]), Do: want.do}
		}
	}
	if p.facts.Engine == "sqlite" {
		return ok("write-ahead log, synchronous FULL, and the pages of the file are whole")
	}
	return ok("fsync, synchronous_commit %s, full_page_writes and data checksums are on", s["synchronous_commit"])
}

// durable are the settings that must be so, those first without which an effect could be lost that was answered.
var durable = map[string][]struct{ setting, value, verdict, do string }{
	"sqlite": {
		{"quick_check", "ok", sick, "Stop the server and restore a backup, then run `dtcgate audit verify`."},
		{"journal_mode", "wal", sick, "Start a server on it once: it sets the mode. On a network file system it cannot be set; use a local disk."},
		{"synchronous", "2", sick, "This program was built with another SQLite driver than it was tested with. Use a released build."},
	},
	"postgres": {
		{"fsync", "on", sick, "Set fsync = on in postgresql.conf: without it a power cut loses effects and records that were answered, or the database."},
		{"full_page_writes", "on", sick, "Set full_page_writes = on, or a power cut may tear pages."},
		{"synchronous_commit", "on", sick, "Set synchronous_commit = on for this role or database: off loses commits that were answered."},
		{"data_checksums", "on", wary, "Enable them with pg_checksums, so that a disk that forgets is noticed."},
	},
}

func lookConnections(_ context.Context, p *patient) symptom {
	if p.wrong != nil || p.facts.Engine != "postgres" {
		return ok("none over a network")
	}
	s := p.facts.Setting
	most, pool := asNumber(s["max_connections"]), asNumber(s["pool"])
	switch {
	case s["local"] == "off" && s["tls"] != "on":
		return fail("Add sslmode=verify-full and sslrootcert to the address of --db.", "the connection to another machine is not encrypted")
	case s["is_superuser"] == "on":
		return warn("Give the server a role that owns its database and no more.", "the role is a superuser, which can turn off what keeps the record append-only")
	case most < 2*pool:
		return warn("Raise max_connections, or run fewer servers.", "max_connections is %d; each server uses up to %d", most, pool)
	}
	return ok("up to %d of %d for each server, tls %s", pool, most, s["tls"])
}

// lookFiles asks who may read what only the server should.
func lookFiles(_ context.Context, p *patient) symptom {
	paths := []string{p.Data, p.auditKey(), filepath.Join(p.Data, "vault.key")}
	if p.flags.VaultKeyFile != "" {
		paths[2] = p.flags.VaultKeyFile
	}
	if p.embedded() {
		paths = append(paths, p.dsn(), p.dsn()+"-wal")
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			return fail("Take the rights away: chmod go-rwx "+path, "%s is open to others on this machine (%v)", path, info.Mode().Perm())
		}
	}
	if p.embedded() {
		if kind := networkFileSystem(filepath.Dir(p.dsn())); kind != "" {
			return fail("Move the database to a local disk, or use PostgreSQL: locks and shared memory do not work there.", "the database lies on %s", kind)
		}
	}
	return ok("nobody else on this machine may read %s", p.Data)
}

// Where less is free than this, in bytes, writes may soon fail; they are refused then, and nothing is lost.
const (
	lowDisk  = 1 << 30
	fullDisk = 100 << 20
	bigWAL   = 256 << 20 // four times what is left of it after a checkpoint: some reader keeps it from being emptied
)

func lookDisk(_ context.Context, p *patient) symptom {
	free, known := freeSpace(p.Data)
	switch {
	case !known:
		return warn("See for yourself.", "how much is free at %s cannot be told here", p.Data)
	case free < fullDisk:
		return fail("Make room: without it every call is refused.", "%d MiB are free at %s", free>>20, p.Data)
	case free < lowDisk:
		return warn("Make room.", "%d MiB are free at %s", free>>20, p.Data)
	}
	if info, err := os.Stat(p.dsn() + "-wal"); p.embedded() && err == nil && info.Size() > bigWAL {
		return warn("Look for a program that keeps the file open for reading, and end it.", "the write-ahead log has %d MiB", info.Size()>>20)
	}
	return ok("%d GiB are free at %s", free>>30, p.Data)
}

func lookServers(_ context.Context, p *patient) symptom {
	if !p.embedded() {
		return ok("any number may share this database")
	}
	if _, err := os.Stat(p.dsn() + "-serve"); err != nil {
		return ok("none has served this file yet")
	}
	if locked(p.dsn() + "-serve") {
		return ok("one serves this file")
	}
	return ok("none serves this file just now")
}

// How far clocks may be apart.
const (
	clockOff   = 5 * time.Second
	clockWrong = time.Minute
)

// lookClock holds this clock to the database's and to the newest entry of the record, which cannot be younger than now.
func lookClock(ctx context.Context, p *patient) symptom {
	off := p.now.Sub(p.facts.Clock).Abs()
	return p.look(ctx, func(tx *store.Tx) (symptom, error) {
		h, err := audit.HealthOf(tx)
		const do = "Let a time service (NTP) set the clocks of this machine and of the database's. Expiries, leases and step-ups go by them."
		switch ahead := time.Until(h.Newest); {
		case err != nil:
			return symptom{}, err
		case off > clockWrong || ahead > clockWrong:
			return fail(do, "%s apart from the database's, and the newest entry of the record is %s ahead", off.Round(time.Second), max(0, ahead).Round(time.Second)), nil
		case off > clockOff || ahead > clockOff:
			return warn(do, "%s apart from the database's, and the newest entry of the record is %s ahead", off.Round(time.Second), max(0, ahead).Round(time.Second)), nil
		}
		return ok("it agrees with the database's and the record's"), nil
	})
}

// How long entries may wait for their number, a checkpoint may be away, and a job for a worker.
const (
	slowRecord = 30 * time.Second
	slowWorker = time.Minute
)

func lookRecord(ctx context.Context, p *patient) symptom {
	return p.look(ctx, func(tx *store.Tx) (symptom, error) {
		h, err := audit.HealthOf(tx)
		const do = "A server that runs numbers them several times a second: see that one runs, with the audit key, and look into its log."
		switch {
		case err != nil:
			return symptom{}, err
		case h.Pending > 0 && tx.Now.Sub(h.Oldest) > slowRecord:
			return warn(do, "%d entries wait for their number, the oldest since %s", h.Pending, when(h.Oldest)), nil
		case h.Checkpoint < h.Entries:
			return fail(do, "the last checkpoint is of %d of %d entries", h.Checkpoint, h.Entries), nil
		}
		return ok("%d entries, the last checkpoint %s", h.Entries, cmp.Or(when(h.CheckpointT), "is none yet")), nil
	})
}

func lookWorkers(ctx context.Context, p *patient) symptom {
	return p.look(ctx, func(tx *store.Tx) (symptom, error) {
		b, err := approvals.BacklogOf(tx)
		switch {
		case err != nil:
			return symptom{}, err
		case b.Due > 0 && tx.Now.Sub(b.Oldest) > slowWorker, b.Abandoned > 0:
			return warn("See that a server runs, and look into its log: its workers take these up within a second.",
				"%d jobs are due, the oldest since %s; %d running ones have no worker", b.Due, cmp.Or(when(b.Oldest), "never"), b.Abandoned), nil
		case b.InDoubt > 0:
			return warn("People decide: `dtcgate jobs list --needs-decision`.", "of %d jobs nobody knows whether they happened", b.InDoubt), nil
		}
		return ok("%d jobs are due, %d wait for a freeze to be lifted", b.Due, b.Halted), nil
	})
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}
