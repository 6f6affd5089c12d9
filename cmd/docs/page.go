package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

const head = `# Tools

Written by ` + "`make docs`" + ` from the registry; do not edit. Every call below ran on the generated demo merchant (seed 1, Sunday 22 November 2026) with the
answer that is shown; ids with chance in them are blotted out. Money is in minor units, days are the shop's own (Europe/London).

The level (L0 to L7) follows from the risk vector: undo · blast · money · touch · data · reach. A tool with a class is parked when its key was minted
with requires_approval. Any write of these answers ` + "`dry_run: true`" + ` with its effect and has none (the brakes dtc_cancel_job and dtc_pause apart). A write that can be
taken back answers with ` + "`undo_id`" + `, good for 7 days with dtc_undo or ` + "`POST /api/v1/agent/v1/undo/{undo_id}`" + `.

| tool | path | scope | level | parked | undo |
|--|--|--|--|--|--|
`

// page runs every example and writes the whole page. Each tool has a demo merchant of its own time: reads and writes run in the
// order of their names on one database.
func page(ctx context.Context, db *store.DB) (string, error) {
	d, err := newDemo(ctx, db)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(head)
	for _, t := range d.registry.All() {
		fmt.Fprintf(&b, "| [%s](#%s) | `%s` | %s | %s %s | %s | %s |\n", t.Name, t.Name, t.Path, scopes(t), t.Risk.Level(), t.Risk.Level().Word(), parked(t), t.Undo)
	}
	for _, t := range d.registry.All() {
		if t.Example == "" {
			continue
		}
		e, err := d.example(ctx, t)
		if err != nil {
			return "", err
		}
		if err := section(&b, t, e); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func scopes(t *tools.Tool) string {
	switch {
	case len(t.AnyScope) > 0:
		return "by what it is about"
	case t.Scope == "":
		return "any key"
	}
	return "`" + string(t.Scope) + "`"
}

func parked(t *tools.Tool) string {
	switch {
	case t.AlwaysAsks:
		return "always"
	case t.Brake:
		return "never"
	case t.Class == tools.ClassNone && t.MayPark():
		return "some calls"
	case t.Class == tools.ClassNone:
		return "no"
	}
	return string(t.Class)
}

func section(b *strings.Builder, t *tools.Tool, e example) error {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n", t.Name, t.Description)
	r := t.Risk
	fmt.Fprintf(b, "- Risk: %d·%d·%d·%d·%d·%d%s, %s (%s)\n", r.Undo, r.Blast, r.Money, r.Touch, r.DataOut, r.Reach, taint(r), r.Level(), r.Level().Word())
	fmt.Fprintf(b, "- Scope: %s; resource `%s`\n", scopes(t), t.Resource)
	for _, route := range t.Routes {
		fmt.Fprintf(b, "- REST: `%s %s%s`\n", route.Method, tools.BasePath, route.Path)
	}
	if len(t.Aliases) > 0 {
		fmt.Fprintf(b, "- Also called: %s\n", strings.Join(t.Aliases, ", "))
	}
	fmt.Fprintf(b, "- Parked: %s. Undo: %s\n", parked(t), t.Undo)
	for _, part := range []struct {
		title string
		raw   []byte
	}{{"Call", []byte(e.Args)}, {"Answer", e.Answer.Body}, {"Job, after it ran", e.jobText()}} {
		if len(part.raw) == 0 {
			continue
		}
		text, err := pretty(part.raw)
		if err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
		fmt.Fprintf(b, "\n%s:\n\n```json\n%s\n```\n", part.title, text)
	}
	return nil
}

func taint(r tools.Risk) string {
	if r.Taint {
		return ", taints"
	}
	return ""
}

func (e example) jobText() []byte {
	if e.Answer.Job.JobID == "" {
		return nil
	}
	raw, err := json.Marshal(map[string]any{"status": e.Answer.Job.Status, "result": e.Answer.Job.Result, "undo_id": e.Answer.Job.UndoID})
	if err != nil {
		return nil
	}
	return raw
}

var (
	anID     = regexp.MustCompile(`\b([a-z]{3,4})_[0-9A-HJKMNP-TV-Z]{26}\b`)
	sealed   = regexp.MustCompile(`("next_cursor": )"[^"]+"`)
	aToken   = regexp.MustCompile(`(/exports/|\bst_)[0-9A-Za-z_-]+`)
	aHash    = regexp.MustCompile(`("fingerprint": )"[^"]+"`)
	maxLines = 36
)

// pretty writes JSON for people, blots out what has chance in it, and cuts what is long.
func pretty(raw []byte) (string, error) {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return "", err
	}
	text := anID.ReplaceAllStringFunc(b.String(), blot)
	text = sealed.ReplaceAllString(text, `$1"…"`)
	text = aHash.ReplaceAllString(text, `$1"…"`)
	text = aToken.ReplaceAllString(text, `${1}…`)
	text = strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(text)
	if lines := strings.Split(text, "\n"); len(lines) > maxLines {
		text = strings.Join(lines[:maxLines], "\n") + fmt.Sprintf("\n… %d more lines", len(lines)-maxLines)
	}
	return text, nil
}

// blot leaves ids that come from the seed and hides the chance of those that were made while the example ran.
func blot(id string) string {
	if at, ok := store.IDTime(id); ok && at.Truncate(0).UnixMilli() == today.UnixMilli() {
		return id[:strings.IndexByte(id, '_')] + "_…"
	}
	return id
}
