package auth

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/store"
)

// How long a session lasts: OWASP's Session Management Cheat Sheet asks for both an end after idleness and an absolute one.
const (
	SessionIdle = 12 * time.Hour     // without a request
	SessionTime = 7 * 24 * time.Hour // whatever is done
	// StepUpTime is for how long a person who has shown who they are is believed to still sit there.
	StepUpTime = 10 * time.Minute
)

const (
	// seenEvery is how often a session's last request is noted. A write a request would be a high price for a time that
	// is compared with twelve hours.
	seenEvery = time.Minute
	// maxSessions bounds a person's live sessions; a further one ends the oldest.
	maxSessions = 20
	// sessionsKept and maxKept bound how long, and how many of a person's, ended sessions stand in lists.
	sessionsKept = 30 * 24 * time.Hour
	maxKept      = 100
	maxAgentText = 200 // of a browser's name for itself, in bytes
)

// A Method is how a person showed who they are.
type Method string

// The methods of signing in.
const (
	ByLink    Method = "link"
	ByOIDC    Method = "oidc"
	ByPasskey Method = "passkey"
)

// A Session is a browser in which a person is signed in. It is listed without its secret.
type Session struct {
	ID         string    `json:"id"`
	Merchant   string    `json:"merchant_id"`
	Person     string    `json:"person_id"`
	Method     Method    `json:"method"`
	Agent      string    `json:"agent"` // the browser's name for itself, which may be anything
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at"`
	ExpiresAt  time.Time `json:"expires_at"`
	StepUpAt   time.Time `json:"step_up_at,omitzero"`
	RevokedAt  time.Time `json:"revoked_at,omitzero"`
	Replaces   string    `json:"-"` // the session that this one took the place of, in the answer to StartSession only
}

// State is what a session is at now: live, idle, expired or revoked.
func (s Session) State(now time.Time) string {
	switch {
	case !s.RevokedAt.IsZero():
		return "revoked"
	case !now.Before(s.ExpiresAt):
		return "expired"
	case !now.Before(s.LastSeenAt.Add(SessionIdle)):
		return "idle"
	}
	return "live"
}

// A Proof is what somebody has shown of who they are. It is good for one session: StartSession uses it up.
type Proof struct {
	Person Principal
	How    Method
	At     time.Time // zero when nobody can tell: an identity provider may have asked for a password last week

	use func(*store.Tx) error
}

// StartSession signs a person in and gives the secret for the browser's cookie, which exists in this answer only. old is the secret that
// the browser held, if any: its session, whoever's it was, ends. The new secret is always a new one, so that nothing a browser was
// given before can become a session.
//
// The proof was found by reading. Here it is used up, after BeginChange: the session before ends as everything else is revoked, and no two
// transactions that change several sessions wait for each other in a circle.
func StartSession(tx *store.Tx, proof Proof, agent, old string) (Session, string, error) {
	p := proof.Person
	if err := BeginChange(tx, p.Merchant); err != nil {
		return Session{}, "", fmt.Errorf("starting a session: %w", err)
	}
	if err := proof.use(tx); err != nil {
		return Session{}, "", err
	}
	replaced, err := replace(tx, old)
	if err != nil {
		return Session{}, "", fmt.Errorf("ending the session before: %w", err)
	}
	if err := makeRoom(tx, p); err != nil {
		return Session{}, "", fmt.Errorf("ending old sessions: %w", err)
	}
	plain := secret.New(secret.Session)
	s := Session{
		ID: store.NewID("ses", tx.Now), Merchant: p.Merchant, Person: p.ID, Method: proof.How, Agent: agentText(agent), Replaces: replaced,
		CreatedAt: tx.Now, LastSeenAt: tx.Now, ExpiresAt: tx.Now.Add(SessionTime), StepUpAt: proof.At,
	}
	return s, plain, s.insert(tx, secret.Hash(plain))
}

func (s Session) insert(tx *store.Tx, sum string) error {
	_, err := tx.Exec(`INSERT INTO sessions (id, merchant_id, person_id, secret_sha256, method, agent, created_at, last_seen_at, expires_at, step_up_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		s.ID, s.Merchant, s.Person, sum, string(s.Method), s.Agent,
		store.Micros(s.CreatedAt), store.Micros(s.LastSeenAt), store.Micros(s.ExpiresAt), store.Micros(s.StepUpAt))
	if err != nil {
		return fmt.Errorf("storing the session: %w", err)
	}
	return nil
}

// replace ends the session that a browser held and gives its id, "" when it held none that was live.
func replace(tx *store.Tx, plain string) (string, error) {
	_, s, err := AuthenticateSession(tx, plain)
	if err == nil {
		err = RevokeSession(tx, s.Merchant, s.Person, s.ID)
	}
	if errors.Is(err, ErrUnknownCredential) || errors.Is(err, store.ErrNotFound) { // it has ended, perhaps just now
		return "", nil
	}
	return s.ID, err
}

// makeRoom forgets p's sessions that ended long ago, and ends those beyond maxSessions.
func makeRoom(tx *store.Tx, p Principal) error {
	_, err := tx.Exec(`DELETE FROM sessions WHERE merchant_id = $1 AND person_id = $2 AND (expires_at < $3 OR id <= (
		SELECT id FROM sessions WHERE merchant_id = $1 AND person_id = $2 ORDER BY id DESC LIMIT 1 OFFSET $4))`,
		p.Merchant, p.ID, store.Micros(tx.Now.Add(-sessionsKept)), maxKept-1)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE sessions SET revoked_at = $1 WHERE merchant_id = $2 AND person_id = $3 AND revoked_at IS NULL AND id <= (
		SELECT id FROM sessions WHERE merchant_id = $2 AND person_id = $3 AND revoked_at IS NULL ORDER BY id DESC LIMIT 1 OFFSET $4)`,
		store.Micros(tx.Now), p.Merchant, p.ID, maxSessions-1)
	return err
}

// agentText is a browser's name for itself as it may stand on a page and in a record.
func agentText(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	if len(s) > maxAgentText {
		s = strings.ToValidUTF8(s[:maxAgentText], "") + "…"
	}
	return s
}

// AuthenticateSession finds the person whose browser holds the secret of a cookie. The session and the person are read anew each
// time, so that ending either holds from the next request on. Whatever is wrong with the secret, the error is a *Refused.
func AuthenticateSession(tx *store.Tx, plain string) (Principal, Session, error) {
	switch {
	case plain == "":
		return Principal{}, Session{}, &Refused{Why: "absent"}
	case !secret.WellFormed(secret.Session, plain):
		return Principal{}, Session{}, &Refused{Why: "malformed"}
	}
	sum, stored := secret.Hash(plain), ""
	s, err := store.One(tx, func(r store.Row) (Session, error) { return scanSessionAnd(r, &stored) },
		`SELECT `+sessionColumns+`, secret_sha256 FROM sessions WHERE secret_sha256 = $1`, sum)
	if err == nil && subtle.ConstantTimeCompare([]byte(stored), []byte(sum)) != 1 {
		err = store.ErrNotFound
	}
	if err := s.living(tx, err); err != nil {
		return Principal{}, Session{}, err
	}
	p, err := Live(tx, s.Person)
	p.Session, p.StepUpAt = s.ID, s.StepUpAt
	return p, s, err
}

// signedIn is p in a session, as it is now.
func (p Principal) signedIn(tx *store.Tx, id string) (Principal, error) {
	s, err := store.One(tx, scanSession, `SELECT `+sessionColumns+` FROM sessions WHERE id = $1 AND person_id = $2`, id, p.ID)
	if err := s.living(tx, err); err != nil {
		return Principal{}, err
	}
	p.Session, p.StepUpAt = s.ID, s.StepUpAt
	return p, nil
}

// living makes of what reading a session gave the error for its person.
func (s Session) living(tx *store.Tx, err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return &Refused{Why: "unknown"}
	case err != nil:
		return fmt.Errorf("reading the session: %w", err)
	}
	if state := s.State(tx.Now); state != "live" {
		return &Refused{Why: state, Who: named(KindPerson, s.Person), Merchant: s.Merchant}
	}
	return nil
}

// Stale reports whether SessionSeen has something to note.
func (s Session) Stale(now time.Time) bool { return !now.Before(s.LastSeenAt.Add(seenEvery)) }

// SessionSeen notes that a live session was used. It never brings one back.
func SessionSeen(tx *store.Tx, id string) error {
	_, err := tx.Exec(`UPDATE sessions SET last_seen_at = $1 WHERE id = $2 AND revoked_at IS NULL AND last_seen_at < $1 AND last_seen_at > $3`,
		store.Micros(tx.Now), id, store.Micros(tx.Now.Add(-SessionIdle)))
	return err
}

// RevokeSession ends one session of a person, or of anybody of the merchant when person is "". It answers store.ErrNotFound for
// one that is not there or was ended before. The caller has called BeginChange, so that what the session is doing is waited for.
func RevokeSession(tx *store.Tx, merchant, person, id string) error {
	n, err := tx.Exec(`UPDATE sessions SET revoked_at = $1
		WHERE id = $2 AND merchant_id = $3 AND (person_id = $4 OR $4 = '') AND revoked_at IS NULL`, store.Micros(tx.Now), id, merchant, person)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return err
}

// RevokeSessions ends all sessions of a person but one ("" for none) and gives how many that were. It ends a link that was not used yet
// too: whoever was in one of them may have made it to come back. The caller has called BeginChange.
func RevokeSessions(tx *store.Tx, merchant, person, but string) (int64, error) {
	if err := dropLink(tx, merchant, person); err != nil {
		return 0, err
	}
	return tx.Exec(`UPDATE sessions SET revoked_at = $1 WHERE merchant_id = $2 AND person_id = $3 AND id <> $4 AND revoked_at IS NULL`,
		store.Micros(tx.Now), merchant, person, but)
}

// ListSessions gives a merchant's sessions, newest first: of one person, or of all when person is "", those older than the id before
// ("" for the newest), at most limit. Ended ones are among them.
func ListSessions(tx *store.Tx, merchant, person, before string, limit int) ([]Session, error) {
	if before == "" {
		before = "ses_Z" // comes after every id, whose first digit is 0 to 7
	}
	if person == "" {
		return store.All(tx, scanSession, `SELECT `+sessionColumns+` FROM sessions WHERE merchant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3`,
			merchant, before, limit)
	}
	return store.All(tx, scanSession, `SELECT `+sessionColumns+` FROM sessions
		WHERE merchant_id = $1 AND person_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4`, merchant, person, before, limit)
}

const sessionColumns = `id, merchant_id, person_id, method, agent, created_at, last_seen_at, expires_at, step_up_at, revoked_at`

func scanSession(r store.Row) (Session, error) { return scanSessionAnd(r) }

func scanSessionAnd(r store.Row, more ...any) (s Session, err error) {
	return s, r.Scan(append([]any{
		&s.ID, &s.Merchant, &s.Person, &s.Method, &s.Agent, store.At(&s.CreatedAt), store.At(&s.LastSeenAt), store.At(&s.ExpiresAt),
		store.At(&s.StepUpAt), store.At(&s.RevokedAt),
	}, more...)...)
}
