package gate

import (
	"context"
	"errors"
	"io/fs"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// An Export is a customer's dossier as it is handed out.
type Export struct {
	Name string // of the file
	Body []byte
}

// Export gives the dossier that a token opens to whoever has the token: the link goes to a customer, who has no key. That
// it was fetched is on record before it leaves, and from then on the link stands nowhere here any more.
//
// Until then the job's result is the one place that holds the link in the clear. A hash cannot be given to the agent, and a
// key to encrypt it with would lie beside it. It opens nothing that the database does not hold itself, and whoever can
// read jobs.result can read the customer's row; no answer kept for repeats, no entry and no log holds it.
func (g *Gate) Export(ctx context.Context, token, source string) (Export, error) {
	var d shop.Dossier
	err := g.db.Read(ctx, func(tx *store.Tx) (err error) {
		d, err = shop.FindDossier(tx, token)
		return err
	})
	if g.exports == nil && err == nil {
		err = store.ErrNotFound
	}
	if err != nil {
		return Export{}, g.refuseExport(err)
	}
	e := Export{Name: "customer-" + d.CustomerNo + ".json"}
	if e.Body, err = g.exports.Content(d); err == nil {
		err = g.db.InTx(ctx, func(tx *store.Tx) error { return handOut(tx, token, source) })
	}
	if err != nil {
		return Export{}, g.refuseExport(err)
	}
	return e, nil
}

// handOut records that a dossier leaves, if it still may.
func handOut(tx *store.Tx, token, source string) error {
	d, err := shop.FindDossier(tx, token)
	if err != nil {
		return err
	}
	about := "customer:" + d.CustomerNo
	if err := approvals.Redact(tx, d.Merchant, about, token); err != nil {
		return err
	}
	_, err = audit.Append(tx, audit.Entry{
		Merchant: d.Merchant, Event: "data.exported", Transport: "rest", Source: source, Actor: "link:" + d.ID, Chain: []string{"link:" + d.ID},
		Status: string(tools.Done), Resource: about, Customers: 1, Reason: "download",
	})
	return err
}

// refuseExport tells nobody whether there ever was such a link.
func (g *Gate) refuseExport(err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, fs.ErrNotExist) { // the file goes after its row
		return tools.Refuse(tools.NotFound, "Ask whoever sent the link for a new one.", "There is no such file, or not any more.")
	}
	r := asRefusal(err)
	g.logInternal("export", r.Code, err)
	return r
}
