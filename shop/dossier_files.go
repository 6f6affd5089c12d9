package shop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// DossierFiles keeps dossiers as files, Dir/MERCHANT/ID.json, each as long as its row is there.
//
// A dossier is written after the transaction that made it has committed, and only then its body leaves the database. A
// crash between the two writes the same file again. What a row is gone for, because it expired, its customer was erased
// or the shop was loaded anew, is removed at the next look; from the moment the row is gone it cannot be fetched.
//
// Where other servers may be asked for a dossier (Shared), its body stays in the database, and only what a server has kept in files before is
// looked after.
type DossierFiles struct {
	DB      *store.DB
	Shared  bool        // other servers work on the database
	Dir     string      // made when it is first needed
	OnError func(error) // hears what went wrong; it is tried again. May be nil
}

// tidyEvery is how often files are looked over.
const tidyEvery = 2 * time.Second

// Run writes and removes files until ctx ends, beginning with what an earlier run left.
func (f *DossierFiles) Run(ctx context.Context) {
	again(ctx, tidyEvery, func() error { return f.TidyOnce(ctx) }, "keeping dossiers", f.OnError)
}

// TidyOnce writes what waits and removes what is over. Neither holds up the other.
func (f *DossierFiles) TidyOnce(ctx context.Context) error {
	return errors.Join(f.writeWaiting(ctx), f.expire(ctx), f.removeStray(ctx))
}

// Content is what a dossier says, from its row or its file.
func (f *DossierFiles) Content(d Dossier) ([]byte, error) {
	if len(d.Body) > 0 {
		return d.Body, nil
	}
	content, err := os.ReadFile(f.path(d.Merchant, d.ID))
	if err != nil {
		return nil, fmt.Errorf("reading the dossier: %w", err)
	}
	return content, nil
}

func (f *DossierFiles) path(merchant, id string) string {
	return filepath.Join(f.Dir, merchant, id+dossierSuffix)
}

const dossierSuffix = ".json"

func (f *DossierFiles) writeWaiting(ctx context.Context) error {
	if f.Shared {
		return nil
	}
	var waiting []Dossier
	err := f.DB.Read(ctx, func(tx *store.Tx) (err error) {
		waiting, err = store.All(tx, scanDossier, "SELECT "+dossierColumns+" FROM dossiers WHERE written_at IS NULL ORDER BY created_at LIMIT 20")
		return err
	})
	if err != nil {
		return err
	}
	var failed []error
	for _, d := range waiting {
		if err := f.keep(ctx, d); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", d.ID, err))
		}
	}
	return errors.Join(failed...)
}

// keep writes a dossier's file and takes its body out of the database.
func (f *DossierFiles) keep(ctx context.Context, d Dossier) error {
	if name := filepath.Join(d.Merchant, d.ID); !filepath.IsLocal(name) || filepath.Dir(name) != d.Merchant {
		return errors.New("the ids do not make a file name")
	}
	if err := writeWhole(f.path(d.Merchant, d.ID), d.Body); err != nil {
		return err
	}
	return f.DB.InTx(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("UPDATE dossiers SET body = '', written_at = $1 WHERE merchant_id = $2 AND dossier_id = $3 AND written_at IS NULL",
			store.Micros(tx.Now), d.Merchant, d.ID)
		return err
	})
}

// expire removes the rows of dossiers whose time is over; removeStray removes their files.
func (f *DossierFiles) expire(ctx context.Context) error {
	return f.DB.InTx(ctx, func(tx *store.Tx) error {
		err := tx.Lock(`SELECT 1 FROM dossiers WHERE expires_at <= $1 ORDER BY dossier_id COLLATE "binary"`, store.Micros(tx.Now))
		if err == nil {
			_, err = tx.Exec("DELETE FROM dossiers WHERE expires_at <= $1", store.Micros(tx.Now))
		}
		return err
	})
}

// unfinished is how old a file that was never finished must be to be removed: nobody is writing it any more.
const unfinished = time.Hour

// removeStray removes the files that no row stands for. A file is written after its row was committed, so that none of
// them can be new.
func (f *DossierFiles) removeStray(ctx context.Context) error {
	shops, err := entries(f.Dir)
	if err != nil {
		return err
	}
	for _, shop := range shops {
		files, err := entries(filepath.Join(f.Dir, shop.Name()))
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := f.removeIfStray(ctx, filepath.Join(f.Dir, shop.Name(), file.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// entries lists a directory. What is not there, or is a file, holds none.
func entries(dir string) ([]fs.DirEntry, error) {
	all, err := os.ReadDir(dir)
	if info, missing := os.Stat(dir); errors.Is(missing, fs.ErrNotExist) || missing == nil && !info.IsDir() {
		return nil, nil
	}
	return all, err
}

func (f *DossierFiles) removeIfStray(ctx context.Context, file string) error {
	id, whole := strings.CutSuffix(filepath.Base(file), dossierSuffix)
	stray, err := f.isStray(ctx, file, id, whole)
	if err == nil && stray {
		err = os.Remove(file)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (f *DossierFiles) isStray(ctx context.Context, file, id string, whole bool) (bool, error) {
	if !whole {
		info, err := os.Stat(file)
		return err == nil && f.DB.Now().Sub(info.ModTime()) > unfinished, err
	}
	var n int
	err := f.DB.Read(ctx, func(tx *store.Tx) error {
		return tx.QueryRow("SELECT COUNT(*) FROM dossiers WHERE merchant_id = $1 AND dossier_id = $2",
			filepath.Base(filepath.Dir(file)), id).Scan(&n)
	})
	return err == nil && n == 0, err
}
