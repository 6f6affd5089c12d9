package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/store"
)

// Erase forgets a personal value and its salt; the digest that stays in the entry tells nothing without them. It
// returns store.ErrNotFound when there is no such value. Whoever erases appends an entry that says so.
func Erase(tx *store.Tx, entryID, name string) error {
	n, err := tx.Exec(`DELETE FROM audit_values WHERE entry_id = $1 AND name = $2`, entryID, name)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("erasing %s of audit entry %s: %w", name, entryID, err)
	}
	return nil
}

// eraseAtOnce is how many resources EraseAbout names in one statement.
const eraseAtOnce = 500

// EraseAbout forgets all personal values of a merchant's entries about any of these resources, as Erase does one, and
// gives how many they were. None is no error. Which entries these are is read from beside the values and not from the
// entries: a wrong answer could leave a value standing, and could make no entry unprovable.
func EraseAbout(tx *store.Tx, merchant string, resources []string) (int64, error) {
	var erased int64
	for some := range slices.Chunk(resources, eraseAtOnce) {
		marks, args := make([]string, len(some)), []any{merchant}
		for i, r := range some {
			marks[i], args = fmt.Sprintf("$%d", i+2), append(args, r)
		}
		n, err := tx.Exec("DELETE FROM audit_values WHERE merchant = $1 AND about <> '' AND about IN ("+strings.Join(marks, ", ")+")", args...)
		if err != nil {
			return 0, fmt.Errorf("erasing what is on record about %d objects: %w", len(resources), err)
		}
		erased += n
	}
	return erased, nil
}

// EraseQuotes forgets the personal values of a merchant's entries that hold any of these texts, whatever the case of
// their letters, looking through at most limit values from an entry on. It gives how many it erased and the entry to go on
// from, empty when it came to the end. Texts that are too short to tell anybody are not looked for.
func EraseQuotes(tx *store.Tx, merchant string, texts []string, from string, limit int) (erased int64, last string, err error) {
	sought := inJSON(texts)
	type found struct {
		entry, name string
		quotes      bool
	}
	values, err := store.All(tx, func(r store.Row) (f found, err error) {
		var text string
		err = r.Scan(&f.entry, &f.name, &text)
		text = strings.ToLower(text)
		f.quotes = slices.ContainsFunc(sought, func(s string) bool { return strings.Contains(text, s) })
		return f, err
	}, "SELECT entry_id, name, value FROM audit_values WHERE merchant = $1 AND entry_id >= $2 ORDER BY entry_id, name LIMIT $3", merchant, from, limit)
	if err != nil {
		return 0, "", fmt.Errorf("looking through the record: %w", err)
	}
	for _, v := range values {
		if !v.quotes {
			continue
		}
		if err := Erase(tx, v.entry, v.name); err != nil {
			return 0, "", err
		}
		erased++
	}
	if len(values) == limit && limit > 0 {
		last = values[limit-1].entry // once more, for it may have values that came after the limit
	}
	return erased, last, nil
}

// shortest is how many bytes a text must have to be looked for.
const shortest = 6

// inJSON gives texts in lower case, as they are and as they stand in JSON.
func inJSON(texts []string) []string {
	var all []string
	for _, text := range texts {
		if len(text) < shortest {
			continue
		}
		text = strings.ToLower(text)
		all = append(all, text)
		if quoted, err := encode(text); err == nil {
			all = append(all, strings.Trim(quoted, `"`))
		}
		var plain bytes.Buffer
		e := json.NewEncoder(&plain)
		e.SetEscapeHTML(false)
		if e.Encode(text) == nil {
			all = append(all, strings.Trim(strings.TrimSpace(plain.String()), `"`))
		}
	}
	return all
}
