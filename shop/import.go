package shop

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// Options of an import.
type Options struct {
	KeepDates bool                  // leave the dates as they are in the source
	Today     time.Time             // the day that the dates are moved up to
	Progress  func(done, total int) // hears of rows written and rows in all; may be nil
}

// Import reads a real merchant from path (see Read) and puts it into the merchant's shop, in one transaction. Demo data
// of an earlier load is replaced; anything else is refused with ErrNotDemo. Nothing is written unless the files are
// right from the first line to the last.
func Import(ctx context.Context, db *store.DB, merchant, path string, opts Options) (Summary, error) {
	c, err := Read(path)
	if err != nil {
		return Summary{}, err
	}
	if !opts.KeepDates {
		c.move(weeksTo(c.lastEvent(), opts.Today))
	}
	c.finish()
	c.addSegments()
	c.addAds()
	c.addTickets()
	c.addPages()
	return c.Summary(), load(ctx, db, merchant, c, opts.Progress)
}

// Read reads a merchant from a directory of prepared CSV files, or from the original "Online Retail" CSV of the UCI
// repository. Dates are as in the source. A mistake is named by file, line and reason.
func Read(path string) (*Contents, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	read := readUCI
	if info.IsDir() {
		read = readBundle
	}
	c, err := read(path)
	if err == nil && len(c.Orders) == 0 {
		err = fmt.Errorf("%s holds no order", path)
	}
	return c, err
}
