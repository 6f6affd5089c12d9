package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/approvals/notify"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/audit/export"
	"github.com/dtcgate/dtcgate/audit/retention"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

// Secrets of exports stand in the environment; they are no flags, because others see command lines.
const (
	webhookSecretVariable = "DTCGATE_AUDIT_WEBHOOK_SECRET"
	otlpHeadersVariable   = "DTCGATE_AUDIT_OTLP_HEADERS" // name=value,name=value
)

// exporting is where a server copies the audit log to, and for how long it keeps it.
type exporting struct {
	AuditFile     string `placeholder:"PATH" help:"Append the audit log to this file, as OCSF in JSON lines."`
	AuditOTLP     string `name:"audit-otlp" placeholder:"https://…/v1/logs" help:"Send the audit log to this OpenTelemetry collector (OTLP/HTTP, JSON). DTCGATE_AUDIT_OTLP_HEADERS may hold name=value,… for it."`
	AuditWebhook  string `placeholder:"https://…" help:"Send the audit log here in signed batches. The secret, whsec_…, stands in DTCGATE_AUDIT_WEBHOOK_SECRET."`
	AuditPersonal bool   `help:"Send personal values, too, as long as they are not erased."`

	AuditRetention age `placeholder:"400d" help:"Remove entries that are older, once all exports have them; their hashes stay. At least 30d. Without it all are kept."`
}

// age is a duration that may be said in days.
type age time.Duration

// UnmarshalText is called by kong.
func (a *age) UnmarshalText(text []byte) error {
	var days int64
	if n, err := fmt.Sscanf(string(text), "%dd", &days); n == 1 && err == nil && fmt.Sprintf("%dd", days) == string(text) && days >= 0 && days < 100_000 {
		*a = age(days) * age(24*time.Hour)
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not an age such as 400d or 960h", text)
	}
	*a = age(d)
	return nil
}

// check is part of Validate.
func (e *exporting) check(networks auth.Networks) error {
	_, err := e.sinks(networks, time.Now, nil)
	if err == nil && e.AuditRetention > 0 {
		if err = retention.CheckAge(time.Duration(e.AuditRetention)); err != nil {
			err = fmt.Errorf("--audit-retention: %w", err)
		}
	}
	return err
}

// sinks are those that the flags name. Their names are what their places in the log are kept under.
func (e *exporting) sinks(networks auth.Networks, now func() time.Time, onError func(error)) (all []export.Sink, err error) {
	if e.AuditFile != "" {
		all = append(all, export.Sink{Name: "file", Target: export.File{Path: e.AuditFile}})
	}
	if e.AuditOTLP != "" {
		to, err := export.ParseAddress(e.AuditOTLP, networks)
		if err != nil {
			return nil, fmt.Errorf("--audit-otlp: %w", err)
		}
		headers, err := parseHeaders(os.Getenv(otlpHeadersVariable))
		if err != nil {
			return nil, err
		}
		all = append(all, export.Sink{Name: "otlp", Target: &export.OTLP{To: to, Headers: headers, OnReject: onError}})
	}
	if e.AuditWebhook != "" {
		to, err := export.ParseAddress(e.AuditWebhook, networks)
		if err != nil {
			return nil, fmt.Errorf("--audit-webhook: %w", err)
		}
		secret := os.Getenv(webhookSecretVariable)
		if err := notify.CheckSecret(secret); err != nil {
			return nil, fmt.Errorf("--audit-webhook: %s: %w", webhookSecretVariable, err)
		}
		all = append(all, export.Sink{Name: "webhook", Target: &export.Webhook{To: to, Secret: secret, Now: now}})
	}
	return all, nil
}

func parseHeaders(text string) (map[string]string, error) {
	headers := map[string]string{}
	if text == "" {
		return headers, nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || name == "" || strings.ContainsAny(name+value, "\r\n") {
			return nil, fmt.Errorf("%s must be name=value,name=value", otlpHeadersVariable) // not quoted: it holds a secret
		}
		headers[name] = value
	}
	return headers, nil
}

// exports are what copies the log beside a server, and what prunes it; nil where the flags ask for nothing.
func (e *exporting) exports(db *store.DB, networks auth.Networks, onError func(error)) (*export.Exports, *retention.Pruner, error) {
	sinks, err := e.sinks(networks, db.Now, onError)
	if err != nil {
		return nil, nil, err
	}
	var x *export.Exports
	if len(sinks) > 0 {
		x = export.New(export.Config{DB: db, Sinks: sinks, Personal: e.AuditPersonal, OnError: onError})
	}
	if e.AuditRetention == 0 {
		return x, nil, nil
	}
	return x, &retention.Pruner{DB: db, Age: time.Duration(e.AuditRetention), Actor: "retention", OnError: onError}, nil
}

type auditExport struct {
	From     int64  `default:"1" placeholder:"N" help:"The first entry, by its number."`
	To       int64  `placeholder:"N" help:"The last entry. Without it: the newest."`
	Follow   bool   `short:"f" help:"Go on with what comes in, until interrupted."`
	Output   string `short:"o" placeholder:"PATH" help:"A new file, instead of stdout."`
	Personal bool   `name:"with-personal" help:"With the personal values that are not erased."`
}

// Validate is called by kong: what it refuses is wrong use.
func (c *auditExport) Validate() error {
	switch {
	case c.From < 1:
		return errors.New("--from must be 1 or more")
	case c.To < 0 || c.To > 0 && c.To < c.From:
		return errors.New("--to must not be below --from")
	case c.To > 0 && c.Follow:
		return errors.New("--follow has no end: leave out --to")
	}
	return nil
}

func (c *auditExport) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(db *store.DB) error {
		if c.Output == "" {
			return c.stream(ctx, a, db, a.out)
		}
		f, err := os.OpenFile(c.Output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("writing the export, which takes a new file: %w", err)
		}
		err = c.stream(ctx, a, db, f)
		if err == nil {
			err = f.Sync()
		}
		return errors.Join(err, f.Close())
	})
}

// stream writes what there is, and then, with --follow, what comes.
func (c *auditExport) stream(ctx context.Context, a *app, db *store.DB, out io.Writer) error {
	until := c.To
	if until == 0 {
		until = math.MaxInt64
	}
	warned := false
	for after := c.From - 1; ; {
		var s audit.Stretch
		err := db.Read(ctx, func(tx *store.Tx) (err error) {
			s, err = audit.ReadStretch(tx, after, until, 1000, 4<<20, c.Personal)
			return err
		})
		if ctx.Err() != nil && c.Follow {
			return nil
		}
		if err != nil {
			return err
		}
		if int64(len(s.Entries)) < s.Upto-after && !warned {
			warned = true
			fmt.Fprintln(a.err, "Entries that were pruned are left out; the audit log names their horizon in its entries audit.pruned.")
		}
		if err := writeEvents(out, s.Entries); err != nil {
			return err
		}
		if s.Upto > after {
			after = s.Upto
			continue
		}
		if !c.Follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
	}
}

func writeEvents(out io.Writer, entries []audit.Copy) error {
	lines, err := export.Lines(entries)
	if err != nil {
		return err
	}
	if _, err := out.Write(lines); err != nil {
		return err
	}
	if o, ok := out.(*output); ok {
		return o.err
	}
	return nil
}

type auditSinks struct {
	asJSON
	Forget string `placeholder:"NAME" help:"Forget an export that is configured no more, so that pruning does not wait for it."`
}

func (c *auditSinks) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(db *store.DB) error {
		if c.Forget != "" {
			return c.forget(ctx, a, db)
		}
		var all []export.Cursor
		err := db.Read(ctx, func(tx *store.Tx) (err error) {
			all, err = export.Cursors(tx)
			return err
		})
		if err != nil {
			return err
		}
		return c.print(a, all, func(w io.Writer) {
			rows := [][]string{}
			for _, s := range all {
				rows = append(rows, []string{s.Name, fmt.Sprint(s.Seq), fmt.Sprint(s.Behind), when(s.Oldest), when(s.MovedAt), when(s.Failing), visible(s.Problem)})
			}
			table(w, []string{"NAME", "DELIVERED", "BEHIND", "OLDEST", "DELIVERED AT", "FAILING SINCE", "PROBLEM"}, rows)
		})
	})
}

func (c *auditSinks) forget(ctx context.Context, a *app, db *store.DB) error {
	err := db.InTx(ctx, func(tx *store.Tx) error {
		if err := export.Forget(tx, c.Forget); err != nil {
			return err
		}
		return record(tx, audit.Entry{Event: "audit.export_forgotten", Resource: "export:" + c.Forget})
	})
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("there is no export %q: `dtcgate audit sinks` shows them", c.Forget)
	}
	if err == nil {
		fmt.Fprintf(a.out, "Forgot the export %s. A server that still has it begins again at the first entry that is kept.\n", visible(c.Forget))
	}
	return err
}
