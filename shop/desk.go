package shop

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Desk is where a merchant's shop is read and changed, within one transaction. It checks nobody's rights: whose shop
// it is was decided before. What is not there is store.ErrNotFound.
type Desk struct {
	Shop
	Rest time.Duration // how long a customer who was written to is left alone

	tx       *store.Tx
	merchant string
}

// At gives the desk of a merchant's shop; with an error one that knows nothing of the shop, at which may be asked ahead (store.Tx.Ahead).
func At(tx *store.Tx, merchant string) (*Desk, error) {
	d := Desk{Rest: Rest, tx: tx, merchant: merchant}
	err := tx.QueryRow("SELECT currency, source, attribution, shifted_weeks, data_until FROM shops WHERE merchant_id = $1", merchant).
		Scan(&d.Currency, &d.Source, &d.Attribution, &d.ShiftedWeeks, store.At(&d.DataUntil))
	if err != nil {
		err = fmt.Errorf("finding the shop: %w", err)
	}
	return &d, err
}

// Now is the time of the desk's transaction.
func (d *Desk) Now() time.Time { return d.tx.Now }

func (d *Desk) money(minor int64) Money { return Money{minor, d.Currency} }

// A query is SQL with a ? for each parameter, and the parameters in the order of the text, so that conditions can be
// put together without counting.
type query struct {
	text strings.Builder
	args []any
}

// sqlText begins a query.
func sqlText(text string, args ...any) *query { return new(query).add(text, args...) }

func (q *query) add(text string, args ...any) *query {
	q.text.WriteString(text)
	q.args = append(q.args, args...)
	return q
}

// sql is the text with its parameters numbered.
func (q *query) sql() string {
	parts := strings.Split(q.text.String(), "?")
	var b strings.Builder
	b.WriteString(parts[0])
	for i, part := range parts[1:] {
		b.WriteString("$" + strconv.Itoa(i+1) + part)
	}
	return b.String()
}

// marks is a list of so many parameters: ?, ?, ?.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// values makes a list the parameters of as many marks.
func values[T any](list []T) []any {
	all := make([]any, len(list))
	for i, v := range list {
		all[i] = v
	}
	return all
}

var likeEscapes = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// like compares a column with a pattern whatever the case of letters. Both sides are lowered by the database, because
// SQLite lowers fewer letters than Go does.
func like(column string) string {
	return "LOWER(" + column + `) LIKE LOWER(CAST(? AS TEXT)) ESCAPE '\'`
}

// A Place is where a page of a list ended; the next page begins after it.
type Place struct {
	Rank int64  `json:"r,omitempty"` // what the list is sorted by
	Text string `json:"-"`           // and where that is equal; lists that use it find it again by the id
	ID   string `json:"i"`           // and where all is equal
}

// A Cut selects a page of a list: Limit rows after After, or the first ones.
type Cut struct {
	After *Place
	Limit int
}

// A Page is part of a list.
type Page[T any] struct {
	Rows   []T
	Places []Place // of each row
	Total  int     // rows in the whole list
	More   bool    // rows follow
}

// A listing is a list that is read by pages. Its rows' columns end with those it is sorted by: a column rank, a text, or
// both, and an id at the end.
type listing struct {
	rows *query // the whole list
	by   []string
	desc bool
	once bool // finding the rows is dear: they are found once, for the count and the page
}

// readPage reads a page. It seeks to the place where the page before ended, so that rows that come or go meanwhile
// neither repeat nor hide others.
func readPage[T any](tx *store.Tx, l listing, cut Cut, scan func(store.Row) (T, Place, error)) (Page[T], error) {
	var page Page[T]
	q := l.page(cut)
	read := func() error {
		_, err := store.All(tx, func(r store.Row) (struct{}, error) {
			if l.once {
				r = counted{r, &page.Total}
			}
			row, place, err := scan(r)
			if page.More = len(page.Rows) == cut.Limit; !page.More && err == nil {
				page.Rows, page.Places = append(page.Rows, row), append(page.Places, place)
			}
			return struct{}{}, err
		}, q.sql(), q.args...)
		return err
	}
	if !l.once {
		tx.Ahead(read)
		if err := l.count(tx, &page.Total); err != nil {
			return page, err
		}
	}
	err := read()
	if err == nil && l.once && cut.After != nil && len(page.Rows) == 0 {
		err = l.count(tx, &page.Total) // no row has told it
	}
	return page, err
}

// counted is a row whose last column is how many rows there are.
type counted struct {
	store.Row
	total *int
}

func (c counted) Scan(dest ...any) error { return c.Row.Scan(append(dest, c.total)...) }

// count counts the whole list.
func (l listing) count(tx *store.Tx, total *int) error {
	q := sqlText("SELECT COUNT(*) FROM (").add(l.rows.text.String(), l.rows.args...).add(") AS rows")
	return tx.QueryRow(q.sql(), q.args...).Scan(total)
}

// values are where a list that is sorted by some columns goes on.
func (p Place) values(by []string) []any {
	place := make([]any, len(by))
	for i, column := range by {
		switch {
		case i == len(by)-1:
			place[i] = p.ID
		case column == "rank":
			place[i] = p.Rank
		default:
			place[i] = p.Text
		}
	}
	return place
}

// page is the query for a page and one row more, which says whether there is another page.
func (l listing) page(cut Cut) *query {
	q := sqlText("SELECT * FROM (").add(l.rows.text.String(), l.rows.args...).add(") AS rows")
	if l.once {
		q = sqlText("WITH rows AS MATERIALIZED (").add(l.rows.text.String(), l.rows.args...).add(") SELECT *, (SELECT COUNT(*) FROM rows) FROM rows")
	}
	direction, beyond := "", " > "
	if l.desc {
		direction, beyond = " DESC", " < "
	}
	if p := cut.After; p != nil {
		place := p.values(l.by)
		q.add(" WHERE ("+strings.Join(l.by, ", ")+")"+beyond+"("+marks(len(place))+")", place...)
	}
	return q.add(" ORDER BY "+strings.Join(l.by, direction+", ")+direction+" LIMIT ?", cut.Limit+1)
}

// dayAfter is the day that follows a day.
func dayAfter(day string) (time.Time, error) {
	t, err := Midnight(day)
	return t.AddDate(0, 0, 1), err
}
