package approvals

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

// Cast counts a person's vote, and gives the request with it. The machine judges it (Case.Apply), on the request as it is once the job's row is
// held, so that of two people who vote at once the second sees the first. The vote counts for whoever holds the right and the role in this
// transaction, and they are kept so until it ends.
func Cast(tx *store.Tx, r Request, v Vote) (Request, error) {
	if v.Decision == Approve {
		if err := v.look(tx); err != nil {
			return r, err
		}
	}
	return happen(tx, r, Event{Act: ActVote, Vote: v})
}

// Withdraw takes back a person's own consent while the request is pending.
func Withdraw(tx *store.Tx, r Request, v Vote) (Request, error) {
	return happen(tx, r, Event{Act: ActWithdraw, Vote: v})
}

// MayVote says why a person's vote would not be taken as things are; it counts nothing and holds nobody.
func MayVote(tx *store.Tx, r Request, v Vote) error {
	return Case{Request: r}.Takes(v, World{Now: tx.Now, Voter: voters{}.of(tx, r.Merchant)})
}

// look marks a consent that was given quicker than a card can be read, or as one of many in a short time.
func (v *Vote) look(tx *store.Tx) error {
	recent, err := store.One(tx, func(r store.Row) (n int, err error) { return n, r.Scan(&n) },
		`SELECT COUNT(*) FROM approval_votes WHERE person_id = $1 AND at > $2 AND decision = 'approve'`,
		v.PersonID, store.Micros(tx.Now.Add(-ManyWithin)))
	switch {
	case err != nil:
		return fmt.Errorf("counting a person's votes: %w", err)
	case recent >= ManyOver:
		v.Flag = Many
	case v.OpenSeconds > 0 && v.OpenSeconds < int64(HastyBelow.Seconds()):
		v.Flag = Hasty
	}
	return nil
}

// putVote stores a vote. Any other of the same person that does not count any more, or that it may take the place of, makes room.
func putVote(tx *store.Tx, id string, v Vote) error {
	n, err := tx.Exec(`INSERT INTO approval_votes (approval_id, person_id, person_name, for_id, for_name, decision, overrides, reason, seen_sha256,
			acknowledged, open_seconds, flag, channel, at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
		ON CONFLICT (approval_id, person_id) DO UPDATE SET for_id = excluded.for_id, for_name = excluded.for_name, decision = excluded.decision,
			overrides = excluded.overrides, reason = excluded.reason, seen_sha256 = excluded.seen_sha256, acknowledged = excluded.acknowledged,
			open_seconds = excluded.open_seconds, flag = excluded.flag, channel = excluded.channel, at = excluded.at, withdrawn_at = NULL
		WHERE approval_votes.withdrawn_at IS NOT NULL
			OR approval_votes.decision = 'approve' AND approval_votes.overrides = 0 AND (excluded.decision = 'deny' OR excluded.overrides = 1)`,
		id, v.PersonID, v.Person, v.For, v.ForName, string(v.Decision), flag(v.Override), v.Reason, v.Seen,
		flag(v.Acknowledged), v.OpenSeconds, string(v.Flag), v.Channel, store.Micros(v.At))
	return one(n, err, ErrVoted)
}

func withdrawVote(tx *store.Tx, id string, v Vote) error {
	n, err := tx.Exec(`UPDATE approval_votes SET withdrawn_at = $1 WHERE approval_id = $2 AND person_id = $3 AND decision = 'approve' AND withdrawn_at IS NULL`,
		store.Micros(v.Withdrawn), id, v.PersonID)
	return one(n, err, ErrNoVote)
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Satisfied reports whether the votes on r satisfy a rule: its own, or one that asks for more by now. Only people count whose right and role
// hold at this moment, and they are kept so until the transaction ends.
func Satisfied(tx *store.Tx, r Request, rule Rule) (bool, error) {
	return Case{Request: r}.satisfied(rule, held(tx, r.Merchant))
}

// Would is Satisfied for a reader, who keeps nobody from changing.
func Would(tx *store.Tx, r Request, rule Rule) (bool, error) {
	return Case{Request: r}.satisfied(rule, World{Now: tx.Now, Voter: voters{}.of(tx, r.Merchant)})
}

// held is the world in which people keep what they hold until the transaction ends.
func held(tx *store.Tx, merchant string) World {
	return World{Now: tx.Now, Voter: func(v Vote) (Voter, error) {
		return voterOf(tx, merchant, v, func(person string) (auth.Principal, error) { return auth.HoldLive(tx, merchant, person) })
	}}
}

// voters are those who were read already, by who they are and for whom they vote.
type voters map[[2]string]Voter

// of gives a voter as a reader sees one, who keeps nobody from changing.
func (known voters) of(tx *store.Tx, merchant string) func(Vote) (Voter, error) {
	return func(v Vote) (Voter, error) {
		key := [2]string{v.PersonID, v.For}
		if found, ok := known[key]; ok {
			return found, nil
		}
		found, err := voterOf(tx, merchant, v, func(person string) (auth.Principal, error) { return auth.Live(tx, person) })
		if err == nil {
			known[key] = found
		}
		return found, err
	}
}

// voterOf gives what whoever cast a vote holds, with the roles of the person stood in for. One who may not decide any more holds nothing.
func voterOf(tx *store.Tx, merchant string, v Vote, read func(person string) (auth.Principal, error)) (Voter, error) {
	own, err := voter(tx, merchant, v.PersonID, read)
	if err != nil || v.For == "" || !own.Decides {
		return own, err
	}
	if ok, err := StandsIn(tx, merchant, v.PersonID, v.For); err != nil || !ok {
		return Voter{}, errors.Join(err, ErrNoDeputy)
	}
	absent, err := voter(tx, merchant, v.For, read)
	if err != nil || !absent.Decides {
		return Voter{}, errors.Join(err, ErrNoDeputy)
	}
	own.Roles = slices.Concat(own.Roles, absent.Roles)
	return own, nil
}

func voter(tx *store.Tx, merchant, person string, read func(string) (auth.Principal, error)) (Voter, error) {
	p, err := read(person)
	if errors.Is(err, auth.ErrUnknownCredential) {
		return Voter{}, nil
	}
	if err != nil || p.Merchant != merchant || p.Kind != auth.KindPerson || !p.Has(auth.ApprovalsResolve) {
		return Voter{}, err
	}
	roles, err := auth.RolesOf(tx, p.ID)
	return Voter{Decides: true, Overrides: p.Has(auth.ApprovalsOverride), Roles: roles}, err
}

// StandsIn reports whether a person stands in for another now.
func StandsIn(tx *store.Tx, merchant, deputy, absent string) (bool, error) {
	n, err := store.One(tx, func(r store.Row) (n int, err error) { return n, r.Scan(&n) },
		`SELECT COUNT(*) FROM delegations WHERE merchant_id = $1 AND deputy_id = $2 AND absent_id = $3
			AND starts_at <= $4 AND ends_at > $4 AND revoked_at IS NULL`, merchant, deputy, absent, store.Micros(tx.Now))
	if err != nil {
		return false, fmt.Errorf("reading who stands in: %w", err)
	}
	return n > 0, nil
}

// count reads the votes on r and, while it is pending, says who is missing as things are.
func (r *Request) count(tx *store.Tx, known voters) (err error) {
	r.Votes, err = store.All(tx, scanVote, `SELECT `+voteColumns+` FROM approval_votes WHERE approval_id = $1 ORDER BY at, person_id`, r.ID)
	if err != nil {
		return err
	}
	return r.tally(tx, known)
}

// tally says, while r is pending, who is missing as things are.
func (r *Request) tally(tx *store.Tx, known voters) error {
	if r.State != Pending {
		return nil
	}
	var missing []string
	for _, one := range r.Rule.parts() {
		lacks, err := r.weigh(one, known.of(tx, r.Merchant))
		if err != nil {
			return err
		}
		if !lacks.met() {
			missing = append(missing, lacks.words(one.Voters(tx.Now.Sub(r.CreatedAt))))
		}
	}
	if r.Missing = strings.Join(missing, "; and "); len(missing) == 0 {
		r.Missing = "nobody new: the roles of those who voted have changed, and one of them says yes again"
	}
	return nil
}

const voteColumns = `person_id, person_name, for_id, for_name, decision, overrides, reason, seen_sha256, acknowledged, open_seconds, flag, channel, at, withdrawn_at`

func scanVote(row store.Row) (Vote, error) {
	var v Vote
	var overrides, acknowledged int64
	err := row.Scan(&v.PersonID, &v.Person, &v.For, &v.ForName, &v.Decision, &overrides, &v.Reason, &v.Seen, &acknowledged,
		&v.OpenSeconds, &v.Flag, &v.Channel, store.At(&v.At), store.At(&v.Withdrawn))
	v.Override, v.Acknowledged = overrides == 1, acknowledged == 1
	return v, err
}
