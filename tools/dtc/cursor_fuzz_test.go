package dtc

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// FuzzCursor holds that a cursor is good in the one spelling in which it was given, for the caller and the list that it was given for,
// and that whatever else is sent as one is refused.
func FuzzCursor(f *testing.F) {
	db := storetest.New(f, "sqlite")
	f.Add([]byte("AAAA"), uint8(0), []byte{1})
	f.Add([]byte("cmp_1"), uint8(200), []byte("\n"))
	f.Add([]byte("cmp_22"), uint8(40), []byte("="))
	f.Add([]byte(""), uint8(255), []byte("AA"))
	f.Fuzz(func(t *testing.T, raw []byte, at uint8, with []byte) {
		h := newHouse(t, db)
		call := func(tool string, in args) *tools.Call { return must[*tools.Call](h)(h.call(tool, in)) }
		own := call("dtc_list_campaigns", args{"limit": 3})
		foreign := map[string]*tools.Call{"another list": call("dtc_search_products", args{"limit": 3}), "another filter": call("dtc_list_campaigns", args{"status": "draft"})}
		h.key.ID = "key_other"
		foreign["another's"] = call("dtc_list_campaigns", args{"limit": 3})
		err := db.Read(t.Context(), func(tx *store.Tx) error {
			own.Tx = tx
			for _, text := range []string{string(raw), base64.RawURLEncoding.EncodeToString(raw)} {
				h.noCursor("made up", own, text)
			}
			place := shop.Place{Rank: int64(len(raw)), ID: strings.ToValidUTF8(string(raw), "")}
			text, err := cursorAt(own, place)
			if err != nil {
				return err
			}
			if cut, err := (Paging{Cursor: text}).cut(own); err != nil || *cut.After != place {
				t.Errorf("%q comes back as %+v, %v", raw, cut.After, err)
			}
			if changed := spliced(text, at, with); changed != text {
				h.noCursor("changed", own, changed)
			}
			for whose, c := range foreign {
				c.Tx = tx
				h.noCursor(whose, c, text)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// noCursor holds that a text is refused as a cursor; an empty one is none.
func (h *house) noCursor(whose string, c *tools.Call, text string) {
	h.Helper()
	if _, err := (Paging{Cursor: text}).cut(c); text != "" {
		h.refused(whose+": "+text, err, tools.InvalidArguments, "cursor")
	}
}

// spliced writes over a text from a place in it, or behind it.
func spliced(text string, at uint8, with []byte) string {
	from := min(int(at), len(text))
	return text[:from] + string(with) + text[min(from+len(with), len(text)):]
}

// Of a cursor's last character some bits are not looked at, and the decoder passes over line breaks: a cursor has one spelling all the same.
func TestACursorHasOneSpelling(t *testing.T) {
	db := storetest.New(t, "sqlite")
	h := newHouse(t, db)
	c := must[*tools.Call](h)(h.call("dtc_list_campaigns", args{"limit": 3}))
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		c.Tx = tx
		text, err := cursorAt(c, shop.Place{ID: "1"})
		if err != nil {
			return err
		}
		for at := range text {
			h.noCursor("a bit", c, text[:at]+string(text[at]^1)+text[at+1:])
			h.noCursor("a line break", c, text[:at]+"\n"+text[at:])
		}
		for _, id := range []string{"1", "12", "123"} { // one of them leaves bits over
			if text, err = cursorAt(c, shop.Place{ID: id}); err != nil {
				return err
			}
			for _, last := range alphabet {
				if changed := text[:len(text)-1] + string(last); changed != text {
					h.noCursor("another last character", c, changed)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
