package shop

import (
	"fmt"

	"github.com/dtcgate/dtcgate/store"
)

// frontAddress is where the store front of every demo shop would be. It belongs to nobody (RFC 2606).
const frontAddress = "https://shop.example/"

// URL is the page's address.
func (p WebPage) URL() string { return frontAddress + p.Slug }

// WebPage gives a page as it is published now.
func (d *Desk) WebPage(slug string) (WebPage, error) {
	p, err := store.One(d.tx, func(r store.Row) (p WebPage, err error) {
		return p, r.Scan(&p.Slug, &p.Title, &p.Body, &p.Version, store.At(&p.At), &p.By)
	}, "SELECT page, title, body, version, published_at, published_by FROM pages WHERE merchant_id = $1 AND page = $2", d.merchant, slug)
	if err != nil {
		return p, fmt.Errorf("finding the page: %w", err)
	}
	return p, nil
}

// PublishPage puts p in place of the version p.Version of the page, and keeps both: ErrChanged when another version is
// published by now. It gives the page as it is published.
func (d *Desk) PublishPage(p WebPage) (WebPage, error) {
	p.At = d.tx.Now
	p.Version++
	err := changed(d.tx.Exec(`UPDATE pages SET title = $1, body = $2, version = $3, published_at = $4, published_by = $5
		WHERE merchant_id = $6 AND page = $7 AND version = $8`,
		p.Title, p.Body, p.Version, store.Micros(p.At), p.By, d.merchant, p.Slug, p.Version-1))
	if err != nil {
		return p, fmt.Errorf("publishing: %w", err)
	}
	_, err = d.tx.Exec(`INSERT INTO page_versions (merchant_id, page, version, title, body, published_at, published_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`, d.merchant, p.Slug, p.Version, p.Title, p.Body, store.Micros(p.At), p.By)
	if err != nil {
		return p, fmt.Errorf("keeping the version: %w", err)
	}
	return p, nil
}
