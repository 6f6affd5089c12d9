package gate

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals/notify"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/vault"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// tellHouse runs fn with a house that sends webhooks, who administers them and who does not.
func tellHouse(t *testing.T, fn func(h *house, admin, clerk By)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		keys, err := vault.OpenKeys("", filepath.Join(t.TempDir(), "vault.key"))
		if err != nil {
			t.Fatal(err)
		}
		h.webhooks = notify.New(notify.Config{DB: db, Keys: keys})
		var admin auth.Principal
		h.tx(func(tx *store.Tx) error {
			if _, _, err := auth.AddPerson(tx, h.merchant, "admin", "admin"); err != nil {
				return err
			}
			admin, err = auth.FindPerson(tx, h.merchant, "admin")
			return err
		})
		fn(h, By{Principal: admin, Transport: "rest"}, By{Principal: h.person, Transport: "rest"})
	})
}

func TestWebhooksAreAdministeredWithTheirScopeAlone(t *testing.T) {
	tellHouse(t, func(h *house, admin, clerk By) {
		made, err := h.AddWebhook(h.t.Context(), admin, "https://hooks.example.com/x", nil)
		if err != nil || !strings.HasPrefix(made.Secret, "whsec_") {
			h.t.Fatalf("%+v, %v", made.Endpoint, err)
		}
		for _, by := range []By{clerk, {Principal: h.free, Transport: "rest"}} {
			_, err := h.AddWebhook(h.t.Context(), by, "https://hooks.example.com", nil)
			wantCode(h.t, err, tools.ForbiddenScope)
			_, err = h.Webhooks(h.t.Context(), by)
			wantCode(h.t, err, tools.ForbiddenScope)
			_, err = h.RotateWebhook(h.t.Context(), by, made.ID, time.Hour)
			wantCode(h.t, err, tools.ForbiddenScope)
			_, err = h.TestWebhook(h.t.Context(), by, made.ID)
			wantCode(h.t, err, tools.ForbiddenScope)
			wantCode(h.t, h.RemoveWebhook(h.t.Context(), by, made.ID), tools.ForbiddenScope)
		}
		late := admin
		late.Principal.Session, late.Principal.StepUpAt = "ses_x", h.db.Now().Add(-time.Hour)
		if _, err := h.AddWebhook(h.t.Context(), late, "https://hooks.example.com", nil); err == nil {
			h.t.Error("a session that was left open adds one")
		}
		if e := h.entries("webhook.added"); len(e) != 1 || strings.Contains(e[0].Reason, "/x") || !strings.Contains(e[0].Reason, "hooks.example.com") {
			h.t.Errorf("on record: %+v", e)
		}
	})
}

func TestARemovedWebhookIsToldNothing(t *testing.T) {
	tellHouse(t, func(h *house, admin, _ By) {
		made, err := h.AddWebhook(h.t.Context(), admin, "https://hooks.example.com/x", nil)
		if err != nil {
			h.t.Fatal(err)
		}
		h.parked("test_move", oneLamp)
		if n := h.count(`SELECT COUNT(*) FROM outbox WHERE state = 'waiting'`); n != 1 {
			h.t.Errorf("%d messages wait", n)
		}
		if err := h.RemoveWebhook(h.t.Context(), admin, made.ID); err != nil {
			h.t.Fatal(err)
		}
		if n := h.count(`SELECT COUNT(*) FROM outbox WHERE state = 'waiting'`) + h.count(`SELECT COUNT(*) FROM vault_secrets`); n != 0 {
			h.t.Errorf("%d messages and secrets are left", n)
		}
		wantCode(h.t, h.RemoveWebhook(h.t.Context(), admin, made.ID), tools.NotFound)
		_, err = h.TestWebhook(h.t.Context(), admin, made.ID)
		wantCode(h.t, err, tools.NotFound)
	})
}
