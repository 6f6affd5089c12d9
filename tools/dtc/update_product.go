package dtc

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// An updateProductIn changes the fields that are given. An empty description or list of tags is given too.
type updateProductIn struct {
	ProductCode     string   `json:"product_code" jsonschema:"maxLength=16"`
	ExpectedVersion int64    `json:"expected_version"`
	Title           string   `json:"title,omitempty" jsonschema:"minLength=1,maxLength=120"`
	Description     *string  `json:"description,omitempty" jsonschema:"maxLength=8000"`
	Category        string   `json:"category,omitempty" jsonschema:"minLength=1,maxLength=40"`
	Tags            []string `json:"tags,omitempty" jsonschema:"maxItems=30,minLength=1,maxLength=40"`
	Tried
}

type updateProductOut struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
}

var updateProduct = tools.Define(tools.Spec{
	Name: "dtc_update_product", Path: "products.update", Title: "Change a product's text",
	Description: "Changes a product's title, description, category or tags; tags replaces all of them, fields left out stay. Read them " +
		"with dtc_search_products, detail full. For prices use dtc_set_prices.",
	Scope: "catalog:write", Risk: tools.Risk{Undo: 1, Blast: 1}, Resource: "product:/product_code",
	Undo:    "Restores the fields as they were",
	Routes:  []tools.Route{{Method: "PATCH", Path: "/products/{product_code}"}},
	Example: `{"product_code":"40020","expected_version":1,"category":"gifts","tags":["wedding","new"]}`,
}, tools.Func[updateProductIn, updateProductOut]{
	Preview: previewProduct, Write: changeProduct, Undo: tools.Reversible(keepProduct, restoreProduct),
})

// product reads the product, holds it to the version that the caller saw, and says what it would become.
func (in updateProductIn) product(c *tools.Call) (d *shop.Desk, from, to shop.Product, err error) {
	if d, err = desk(c); err != nil {
		return d, from, to, err
	}
	if from, err = d.Product(in.ProductCode); err == nil && from.Version != in.ExpectedVersion {
		err = staleProduct(from)
	}
	if err != nil {
		return d, from, to, err
	}
	to = from
	if in.Title != "" {
		to.Title = strings.TrimSpace(in.Title)
	}
	if in.Description != nil {
		to.Description = *in.Description
	}
	if in.Category != "" {
		to.Category = strings.TrimSpace(in.Category)
	}
	if in.Tags != nil {
		to.Tags = in.Tags
	}
	return d, from, to, in.check(to)
}

// check refuses fields of nothing but blanks, a tag that is there twice, and what is not to be seen: titles stand in the sentences
// that people approve.
func (in updateProductIn) check(to shop.Product) error {
	switch {
	case to.Title == "":
		return tools.Wrong("title", "is blank", "a title, or leave it out", nil)
	case !oneLine(in.Title):
		return tools.Wrong("title", notPrinted, onOneLine, nil)
	case to.Category == "":
		return tools.Wrong("category", "is blank", "a category, or leave it out", nil)
	case !oneLine(in.Category):
		return tools.Wrong("category", notPrinted, onOneLine, nil)
	}
	for i, tag := range in.Tags {
		field := "tags[" + strconv.Itoa(i) + "]"
		switch {
		case strings.TrimSpace(tag) == "" || slices.Contains(in.Tags[:i], tag):
			return tools.Wrong(field, "is blank or there twice", "each tag once", nil)
		case !oneLine(tag):
			return tools.Wrong(field, notPrinted, onOneLine, nil)
		}
	}
	if in.Description != nil {
		return checkVisible("description", *in.Description)
	}
	return nil
}

const (
	notPrinted = "holds a character that is not printed"
	onOneLine  = "one line of plain text"
)

// staleProduct refuses with the product as it is now. Its description may be long and is left out.
func staleProduct(p shop.Product) error {
	return tools.Stale("The product has changed since it was looked at.", map[string]any{
		"expected_version": p.Version, "title": p.Title, "category": p.Category, "tags": p.Tags,
	})
}

func previewProduct(c *tools.Call, in updateProductIn) (tools.Preview, error) {
	_, from, to, err := in.product(c)
	if err != nil {
		return tools.Preview{}, err
	}
	p := tools.Preview{Changes: productChanges(from, to), Version: strconv.FormatInt(from.Version, 10)}
	if len(p.Changes) == 0 {
		return p, tools.Refuse(tools.InvalidArguments, "Give a field another value, or leave the product as it is.", "Nothing would change.")
	}
	fields := make([]string, len(p.Changes))
	for i, change := range p.Changes {
		fields[i] = change.Field
	}
	p.Summary = "Change " + strings.Join(fields, ", ") + " of product " + from.Code + " (" + from.Title + ")"
	return p, nil
}

// productChanges lists the fields in which two states of a product differ.
func productChanges(from, to shop.Product) (changes []tools.Change) {
	for _, f := range []struct{ name, from, to string }{
		{"title", from.Title, to.Title},
		{"description", from.Description, to.Description},
		{"category", from.Category, to.Category},
		{"tags", strings.Join(from.Tags, ", "), strings.Join(to.Tags, ", ")},
	} {
		if f.from != f.to {
			changes = append(changes, tools.Change{Object: "product " + from.Code, Field: f.name, From: f.from, To: f.to})
		}
	}
	return changes
}

func changeProduct(c *tools.Call, in updateProductIn) (updateProductOut, error) {
	d, from, to, err := in.product(c)
	if err != nil {
		return updateProductOut{}, err
	}
	made, err := d.UpdateProduct(from, to)
	if errors.Is(err, shop.ErrChanged) {
		if from, err = d.Product(in.ProductCode); err == nil {
			err = staleProduct(from)
		}
	}
	return updateProductOut{made.Code, made.Version}, err
}

func keepProduct(c *tools.Call, in updateProductIn) (shop.Product, error) {
	d, err := desk(c)
	if err != nil {
		return shop.Product{}, err
	}
	return d.Product(in.ProductCode)
}

// restoreProduct puts the fields back, if nobody has changed the product since.
func restoreProduct(c *tools.Call, _ updateProductIn, out updateProductOut, image shop.Product) error {
	d, err := desk(c)
	if err != nil {
		return err
	}
	from, err := d.Product(image.Code)
	if err != nil {
		return err
	}
	from.Version = out.Version
	_, err = d.UpdateProduct(from, image)
	return err
}
