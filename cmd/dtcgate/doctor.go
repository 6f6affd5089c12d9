package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

// doctor looks at everything that a server stands on, with the flags that the server is given, and says what to do. It changes nothing: a database
// whose schema is older than the program is told about and not brought up to date.
type doctor struct {
	served
	asJSON
}

// Verdicts of a check.
const (
	healthy = "ok"
	wary    = "warn"
	sick    = "fail"
)

// A symptom is what one check found, with the next step unless all is well.
type symptom struct {
	Check   string `json:"check"`
	Verdict string `json:"verdict"`
	Found   string `json:"found"`
	Do      string `json:"do,omitempty"`
}

func ok(found string, args ...any) symptom {
	return symptom{Verdict: healthy, Found: fmt.Sprintf(found, args...)}
}

func warn(do, found string, args ...any) symptom {
	return symptom{Verdict: wary, Found: fmt.Sprintf(found, args...), Do: do}
}

func fail(do, found string, args ...any) symptom {
	return symptom{Verdict: sick, Found: fmt.Sprintf(found, args...), Do: do}
}

// A patient is what is examined.
type patient struct {
	*app
	flags *served
	facts store.Facts
	wrong error     // why the facts could not be read
	db    *store.DB // nil where its schema is not this program's, or it cannot be opened
	now   time.Time
}

// A diagnosis is a check: a function and a line here. Those of kept look into the tables, and have nothing to look at without a database.
type diagnosis struct {
	name string
	look func(context.Context, *patient) symptom
}

var (
	bare = []diagnosis{
		{"version", lookVersion},
		{"database", lookDatabase},
		{"durability", lookDurability},
		{"connections", lookConnections},
		{"files", lookFiles},
		{"disk", lookDisk},
		{"other servers", lookServers},
		{"limits", lookLimits},
		{"addresses", lookAddresses},
		{"settings", lookSettings},
		{"audit key", lookAuditKey},
		{"vault key", lookVaultKey},
	}
	kept = []diagnosis{
		{"clock", lookClock},
		{"record", lookRecord},
		{"exports", lookExports},
		{"witnesses", lookWitnesses},
		{"workers", lookWorkers},
		{"merchants", lookMerchants},
	}
	// each is asked once a merchant.
	each = []struct {
		name string
		look func(*patient, *store.Tx, auth.Merchant) (symptom, error)
	}{
		{"policy", lookPolicy},
		{"keys", lookKeys},
		{"people", lookPeople},
		{"admins", lookAdmins},
		{"freezes", lookFreezes},
	}
)

// A report is all findings, and the worst verdict.
type doctorReport struct {
	Verdict  string    `json:"verdict"`
	Findings []symptom `json:"findings"`
}

// An unwell is the error of a doctor who found something. Warnings alone have a status of their own.
type unwell struct{ verdict string }

func (u unwell) Error() string {
	return map[string]string{wary: "there are warnings", sick: "something must be set right"}[u.verdict]
}

func (c *doctor) Run(ctx context.Context, a *app) error {
	r := c.examine(ctx, a)
	if err := c.print(a, r, func(w io.Writer) { r.write(w) }); err != nil {
		return err
	}
	if r.Verdict != healthy {
		return unwell{r.Verdict}
	}
	return nil
}

func (c *doctor) examine(ctx context.Context, a *app) (r doctorReport) {
	p := &patient{app: a, flags: &c.served, now: time.Now()}
	p.facts, p.wrong = store.Inspect(ctx, a.dsn())
	r.Verdict = healthy
	for _, d := range bare {
		r.add(d.name, d.look(ctx, p))
	}
	if p.wrong != nil || p.facts.Schema != p.facts.Knows {
		return r
	}
	var err error
	if p.db, err = a.existing(ctx); err != nil {
		r.add("opening", fail("See that the database takes writes: disk, rights, locks.", "%v", err))
		return r
	}
	defer p.db.Close()
	for _, d := range kept {
		r.add(d.name, d.look(ctx, p))
	}
	p.eachMerchant(ctx, &r)
	return r
}

// eachMerchant asks the checks of each merchant. What cannot be read is a finding too.
func (p *patient) eachMerchant(ctx context.Context, r *doctorReport) {
	err := p.db.Read(ctx, func(tx *store.Tx) error {
		all, err := auth.ListMerchants(tx)
		if err != nil {
			return err
		}
		for _, m := range all {
			for _, d := range each {
				f, err := d.look(p, tx, m)
				if err != nil {
					return fmt.Errorf("%s of %s: %w", d.name, m.Name, err)
				}
				r.add(d.name+" of "+m.Name, f)
			}
		}
		return nil
	})
	if err != nil {
		r.add("merchants", fail("Look into the log of the server.", "%v", err))
	}
}

func (r *doctorReport) add(name string, f symptom) {
	f.Check = name
	r.Findings = append(r.Findings, f)
	if f.Verdict == sick || f.Verdict == wary && r.Verdict == healthy {
		r.Verdict = f.Verdict
	}
}

func (r doctorReport) write(w io.Writer) {
	for _, f := range r.Findings {
		fmt.Fprintf(w, "%-4s  %s: %s\n", f.Verdict, visible(f.Check), visible(f.Found))
		if f.Do != "" {
			fmt.Fprintf(w, "      → %s\n", visible(f.Do))
		}
	}
}

// look runs a check on a snapshot.
func (p *patient) look(ctx context.Context, fn func(*store.Tx) (symptom, error)) (f symptom) {
	err := p.db.Read(ctx, func(tx *store.Tx) (err error) {
		f, err = fn(tx)
		return err
	})
	if err != nil {
		return fail("Look into the log of the server, and of the database.", "%v", err)
	}
	return f
}
