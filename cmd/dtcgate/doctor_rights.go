package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/vault"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/store"
)

func lookAuditKey(_ context.Context, p *patient) symptom {
	path := p.auditKey()
	if missing(path) {
		return warn("The first start makes one. Where there was one, restore it: without it the record goes on under another.", "there is none at %s", path)
	}
	if _, _, err := audit.LoadSigner(path); err != nil {
		return fail("Restore it from its backup.", "%v", err)
	}
	return ok("%s can sign", path)
}

func lookVaultKey(_ context.Context, p *patient) symptom {
	path := p.flags.VaultKeyFile
	if path == "" {
		path = filepath.Join(p.Data, "vault.key")
	}
	text := os.Getenv(vault.KeyVariable)
	if text == "" && missing(path) {
		return warn("The first start makes one. Where people had connected something, restore it, or they must connect again.", "there is none at %s", path)
	}
	if _, err := vault.OpenKeys(text, path); err != nil {
		return fail("Restore it from its backup.", "%v", err)
	}
	return ok("it can be read")
}

func lookMerchants(ctx context.Context, p *patient) symptom {
	return p.look(ctx, func(tx *store.Tx) (symptom, error) {
		all, err := auth.ListMerchants(tx)
		if err != nil || len(all) == 0 {
			return warn("Load one: `dtcgate demo load`.", "there is none"), err
		}
		_, key, unread := audit.LoadSigner(p.auditKey())
		known, err := audit.Keys(tx)
		if err == nil && unread == nil && len(known) > 0 && !slices.Contains(known, key) {
			return fail("Give this server the key of the others (--audit-key), or restore it: the record would go on under another.",
				"the record was never signed with the audit key of %s", p.auditKey()), nil
		}
		return ok("%d, and the record knows the audit key", len(all)), err
	})
}

func lookPolicy(p *patient, tx *store.Tx, m auth.Merchant) (symptom, error) {
	v, err := policy.Find(tx, m.ID, 0)
	if errors.Is(err, store.ErrNotFound) {
		return fail("Publish one: dtcgate policy publish FILE", "there is none: every call is refused"), nil
	}
	if err != nil {
		return symptom{}, err
	}
	g := gate.New(gate.Config{DB: p.db, Tools: registry, Log: zerolog.Nop()})
	d, err := g.DraftPolicy(tx, m.ID, v.Source)
	switch {
	case err != nil:
		return symptom{}, err
	case policy.Hash([]byte(v.Source)) != v.Hash:
		return fail("Publish another version, and find out who changed the database.", "version %d is not what was published: every call is refused", v.Number), nil
	case len(d.Problems) > 0:
		return fail("Publish a corrected version: dtcgate policy check, then publish.", "version %d: %s", v.Number, d.Problems[0].Error()), nil
	case len(d.Warnings) > 0:
		return warn("See all with `dtcgate policy check`, and publish a version without them.", "version %d has %d warnings, the first: %s", v.Number, len(d.Warnings), d.Warnings[0].Error()), nil
	}
	return ok("version %d, without a warning", v.Number), nil
}

// doctorRows bounds how many keys and people of a merchant are looked at.
const doctorRows = 10_000

// soon is how long before the end of a key it is told about.
const soon = 7 * 24 * time.Hour

func lookKeys(_ *patient, tx *store.Tx, m auth.Merchant) (symptom, error) {
	keys, err := auth.ListKeys(tx, m.ID, auth.Page{State: "active", Limit: doctorRows})
	if err != nil {
		return symptom{}, err
	}
	var ending, unowned []string
	good := 0
	for _, k := range keys {
		if k.State(tx.Now) != "active" {
			continue
		}
		good++
		if !k.ExpiresAt.IsZero() && k.ExpiresAt.Sub(tx.Now) < soon {
			ending = append(ending, k.Name)
		}
		if k.Owner == "" {
			unowned = append(unowned, k.Name)
		}
	}
	switch {
	case len(ending) > 0:
		return warn("Prolong or replace them: dtcgate key change ID --expires DURATION", "%d of %d end within a week: %s", len(ending), good, some(ending)), nil
	case len(unowned) > 0:
		return warn("Nobody's rights bound them. Mint them anew with --owner.", "%d of %d have no owner: %s", len(unowned), good, some(unowned)), nil
	}
	return ok("%d are good, each with an owner", good), nil
}

func lookPeople(_ *patient, tx *store.Tx, m auth.Merchant) (symptom, error) {
	names, err := auth.Unlinked(tx, m.ID, doctorRows)
	if err == nil && len(names) > 0 {
		return warn("Invite them (dtcgate person invite NAME); on /me they add a passkey. Without one each sign-in takes a new link, and what cannot be undone waits for it.",
			"%d cannot sign in by themselves: %s", len(names), some(names)), nil
	}
	return ok("all can sign in by themselves"), err
}

func lookAdmins(_ *patient, tx *store.Tx, m auth.Merchant) (symptom, error) {
	roles, err := auth.ListRoles(tx, m.ID)
	if err != nil {
		return symptom{}, err
	}
	members, err := auth.ListMembers(tx, m.ID, auth.Page{State: "active", Limit: doctorRows})
	n := 0
	for _, member := range members {
		if slices.ContainsFunc(roles, func(r auth.Role) bool {
			return slices.Contains(member.Roles, r.Name) && slices.Contains(r.Scopes, auth.KeysAdmin)
		}) {
			n++
		}
	}
	if err == nil && n < 2 {
		return warn("Give the role to a second person: dtcgate person roles NAME --role admin", "%d people hold keys:admin; when one is away nobody lifts a freeze or revokes over HTTP", n), nil
	}
	return ok("%d people hold keys:admin", n), err
}

func lookFreezes(_ *patient, tx *store.Tx, m auth.Merchant) (symptom, error) {
	all, err := auth.Freezes(tx, m.ID, tx.Now, listMax)
	open := slices.DeleteFunc(all, func(f auth.Freeze) bool { return !f.Open() })
	if err == nil && len(open) > 0 {
		return warn("See them with `dtcgate freeze list`; lift them with `dtcgate freeze lift ID --reason TEXT`.", "%d hold, the newest on %s since %s", len(open), whose(open[0]), when(open[0].At)), nil
	}
	return ok("nothing is stopped"), err
}

// some names the first few of a list.
func some(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}
