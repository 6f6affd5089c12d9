package vault

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/auth"
)

// T101: a ciphertext opens in its own row only, under its own version.
func TestACiphertextOpensNowhereButWhereItBelongs(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		people := []auth.Principal{r.person, someone(t, r.db, "shop", "bob"), someone(t, r.db, "other shop", "ann")}
		rows := make([]Connection, len(people))
		for i, p := range people {
			rows[i] = r.row(r.connect(p).ID)
		}
		put := func(into Connection, sealed, keyID string) error {
			r.exec(`UPDATE connections SET ciphertext = $1, key_id = $2 WHERE id = $3`, sealed, keyID, into.ID)
			_, _, err := r.Token(t.Context(), into.Merchant, into.Person, "acme")
			return err
		}
		for i, into := range rows {
			for j, from := range rows {
				if err := put(into, from.sealed, from.KeyID); (i == j) != (err == nil) || (i != j && !errors.Is(err, ErrSealed)) {
					t.Errorf("the tokens of %d in the row of %d: %v", j, i, err)
				}
			}
			for _, column := range []string{"person_id", "merchant_id", "provider", "id", "version"} {
				moved := into
				switch column {
				case "person_id":
					moved.Person = people[(i+1)%3].ID
				case "merchant_id":
					moved.Merchant += "x"
				case "provider":
					moved.Provider = "bolt"
				case "id":
					moved.ID = rows[(i+1)%3].ID
				case "version":
					moved.Version++
				}
				if _, err := moved.open(r.keys); !errors.Is(err, ErrSealed) {
					t.Errorf("with another %s: %v", column, err)
				}
			}
			if err := put(into, into.sealed[:len(into.sealed)-4]+"AAAA", into.KeyID); !errors.Is(err, ErrSealed) {
				t.Errorf("changed: %v", err)
			}
			if err := put(into, into.sealed, "00000000"); !errors.Is(err, ErrSealed) {
				t.Errorf("under another key's name: %v", err)
			}
		}
	})
}

func TestAnOlderCiphertextPutBackDoesNotOpen(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		old := r.row(r.connect(r.person).ID)
		r.forward(time.Hour)
		if _, err := r.token(); err != nil {
			t.Fatal(err)
		}
		r.exec(`UPDATE connections SET ciphertext = $1 WHERE id = $2`, old.sealed, old.ID)
		if _, err := r.token(); !errors.Is(err, ErrSealed) {
			t.Errorf("rolled back: %v", err)
		}
		asked, _ := r.as.counts()
		r.forward(time.Hour)
		for range 5 { // and nothing is sent, nor tried without a pause
			_, _ = r.token()
			r.pass(t.Context())
		}
		row := r.row(old.ID)
		if again, _ := r.as.counts(); again != asked || row.State != Connected || row.LastError != failSealed || row.Attempts != 1 {
			t.Errorf("asked %d times; %s after %d failures: %s", again-asked, row.State, row.Attempts, row.LastError)
		}
	})
}

func TestNoNonceIsUsedTwice(t *testing.T) {
	keys, err := OpenKeys(newKey(), "")
	if err != nil {
		t.Fatal(err)
	}
	r, _ := keys.now()
	const n = 200_000
	seen := make(map[[12]byte]bool, n)
	for range n {
		sealed, err := r.aead.Encrypt([]byte("t"), nil)
		if err != nil {
			t.Fatal(err)
		}
		seen[[12]byte(sealed[5:])] = true // after tink's prefix: one byte and the key's number
	}
	if len(seen) != n {
		t.Errorf("%d nonces in %d texts", len(seen), n)
	}
}

// Whatever happens to tokens, they stand nowhere in clear: not in the database, the record, an error or a text of fmt.
func TestPlantedSecretsAreNowhereInClear(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		var told []error
		note := func(err error) { told = append(told, err) }
		address, err := r.Begin(t.Context(), by(r.person), "acme")
		if err != nil {
			t.Fatal(err)
		}
		a := r.as.visit(address, "ann")
		forged := a
		forged.State += planted
		_, err = r.Finish(t.Context(), by(r.person), "acme", forged)
		note(err)
		_, err = r.Finish(t.Context(), by(r.person), "acme", a)
		note(err)
		r.forward(time.Hour)
		refused := r.as.answer
		for _, status := range []int{500, 302, 200, 400} {
			r.as.answers(func(w http.ResponseWriter, req *http.Request) bool {
				w.Header().Set("Location", "http://"+planted+".example/?"+req.PostFormValue("refresh_token"))
				refuse(w, status, req.PostFormValue("refresh_token"))
				return true
			})
			_, err = r.token()
			note(err)
			r.forward(2 * maxPause)
		}
		r.as.answers(refused)
		access, err := r.token()
		note(err)
		second := r.connect(someone(t, r.db, "shop", "bob"))
		if _, err := r.Revoke(t.Context(), by(r.person), second.ID); err != nil {
			t.Fatal(err)
		}
		r.pass(t.Context())

		row := r.row(r.live(t).ID)
		h := held{row, tokens{access, access}}
		g := granted{tokens: h.tokens}
		l := &lease{held: h}
		text := dump(t.Context(), t, r.db)
		text += fmt.Sprintf("%v %+v %#v %s | %v %+v %#v | %v %+v %#v | %v %+v", h, h, h, h, g, g, g, h.tokens, &h, []held{h}, l, *l)
		for _, err := range append(told, r.heard...) {
			text += fmt.Sprintf("%v %+v %#v\n", err, err, err)
		}
		var log bytes.Buffer
		logger := zerolog.New(&log)
		for _, err := range told {
			logger.Error().Err(err).Msg("a failure")
		}
		key, err := os.ReadFile(r.path)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := parseKeys(string(key))
		for name, secret := range map[string]string{
			"a planted text": planted, "the master key": base64.StdEncoding.EncodeToString(raw[0]), "the master key's bytes": string(raw[0]), "a state": a.State,
		} {
			if at := strings.Index(text+log.String(), secret); at >= 0 {
				t.Errorf("%s stands in clear: …%q", name, text[max(0, at-120):min(len(text), at+60)])
			}
		}
		if !strings.Contains(text, "connection.refresh_failed") || !strings.Contains(text, row.sealed) {
			t.Error("this test looks at too little")
		}
		listed, err := json.Marshal(row)
		if err != nil || bytes.Contains(listed, []byte(row.sealed)) {
			t.Errorf("a listing has the ciphertext: %s %v", listed, err)
		}
	})
}

// live is the connection of the rig's person.
func (r *rig) live(t *testing.T) Connection {
	t.Helper()
	c, err := r.find(t.Context(), r.person.Merchant, r.person.ID, "acme")
	if err != nil {
		t.Fatal(err)
	}
	return c
}
