package gate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// KeyTerms are what a key lets its agent do, in the words of whoever mints or changes it. What is left out (nil) is as usual in a new key, and
// as it was in a changed one. An empty list takes a limit off a changed key, and is refused for a new one.
type KeyTerms struct {
	Name             *string  `json:"name,omitempty" jsonschema:"maxLength=80,description=What the record and people will call the agent"`
	Profile          *string  `json:"profile,omitempty" jsonschema:"maxLength=40,description=Its profile in the policy; without one it may call nothing"`
	Scopes           []string `json:"scopes,omitempty" jsonschema:"maxItems=100,description=Its rights; orders:* and *:read are patterns"`
	Actions          []string `json:"actions,omitempty" jsonschema:"maxItems=100,description=What it may ask for with dtc_request_action: provider:name or provider:* or *"`
	Tools            []string `json:"tools,omitempty" jsonschema:"maxItems=100,description=Only these tools; names or patterns such as dtc_get_*"`
	Resources        []string `json:"resources,omitempty" jsonschema:"maxItems=100,description=Only these objects; type:id or type:*"`
	Networks         []string `json:"networks,omitempty" jsonschema:"maxItems=100,description=Only from these networks; in CIDR notation"`
	PerMinute        *int64   `json:"per_minute,omitempty" jsonschema:"minimum=0,maximum=60000000,description=Calls a minute; 0 is no limit"`
	Burst            *int64   `json:"burst,omitempty" jsonschema:"minimum=0,maximum=60000000,description=Calls that may come at once; 0 is a minute's"`
	Ceiling          *string  `json:"ceiling,omitempty" jsonschema:"maxLength=6,description=The riskiest call it may make: low or medium or high or L0 to L7"`
	RequiresApproval *bool    `json:"requires_approval,omitempty" jsonschema:"description=A person confirms every call of an approval class"`
	TTLSeconds       *int64   `json:"ttl_seconds,omitempty" jsonschema:"minimum=0,maximum=3155760000,description=For how long it is good from now; 0 is for ever"`
	Depth            *int     `json:"depth,omitempty" jsonschema:"minimum=0,maximum=8,description=How many sub-tokens may hang under it one below the other"`
}

// A MintedKey is a key with its secret, which exists in this answer only.
type MintedKey struct {
	auth.Key
	Secret  string `json:"secret"`
	Warning string `json:"warning,omitempty"` // what whoever gives the key on should know of its profile
}

// MintKey makes a key. Its owner is the person who makes it unless another is named, by name or id. A person gives no scope that they do
// not hold; what the key gets beyond its owner's rights is refused, whoever makes it.
func (g *Gate) MintKey(ctx context.Context, by By, terms KeyTerms, owner string) (MintedKey, error) {
	op := Op{Event: "key.minted", Scope: auth.KeysAdmin, Recent: true}
	return Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (m MintedKey, e audit.Entry, err error) {
		k := auth.Key{Merchant: p.Merchant, Owner: owner, Ceiling: auth.MaxLevel, Depth: auth.DefaultDepth}
		switch m, err := auth.FindMember(tx, p.Merchant, owner); {
		case owner == "" && p.Kind == auth.KindPerson:
			k.Owner = p.ID
		case err == nil:
			k.Owner = m.ID
		case !errors.Is(err, store.ErrNotFound):
			return MintedKey{}, e, err
		}
		if err = errors.Join(terms.meant(), g.apply(terms, &k, tx.Now), g.hasProfile(tx, p, terms)); err == nil {
			err = mayGive(p, k.Scopes)
		}
		if err != nil {
			return m, e, err
		}
		if m.Key, m.Secret, err = auth.MintKey(tx, k); err == nil {
			m.Warning, err = g.warning(tx, p, k.Profile)
		}
		return m, audit.Entry{Resource: "key:" + m.ID, Reason: began(termsOf(auth.Key{}, m.Key))}, err
	})
}

// RotateKey gives a key a new secret beside the old one, which goes on for the overlap. Whoever rotates a key holds its
// secret, so a person must hold what it may do.
func (g *Gate) RotateKey(ctx context.Context, by By, id string, overlap time.Duration) (MintedKey, error) {
	op := Op{Event: "key.rotated", Scope: auth.KeysAdmin, Recent: true}
	return Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (m MintedKey, e audit.Entry, err error) {
		before, err := auth.FindKey(tx, p.Merchant, id)
		if err == nil {
			err = mayGive(p, before.Scopes)
		}
		if err == nil {
			m.Key, m.Secret, err = auth.RotateKey(tx, p.Merchant, id, overlap)
		}
		e = audit.Entry{Resource: "key:" + m.ID, Reason: fmt.Sprintf("secret: %s → %s; the old one is good for %s", before.Hint, m.Hint, overlap)}
		return m, e, noKey(err)
	})
}

// ChangeKey changes what a key may do, if it is still of the version that was seen. A change that lets it do more takes what minting takes; one
// that lets it do less takes keys:admin alone.
func (g *Gate) ChangeKey(ctx context.Context, by By, id string, version int64, terms KeyTerms) (auth.Key, error) {
	op := Op{Event: "key.changed", Scope: auth.KeysAdmin}
	return Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (auth.Key, audit.Entry, error) {
		before, after, err := auth.ChangeKey(tx, p.Merchant, id, version, func(k *auth.Key) error {
			was := *k
			if err := errors.Join(g.apply(terms, k, tx.Now), g.hasProfile(tx, p, terms)); err != nil || !k.Widens(was) {
				return err
			}
			if err := mayGive(p, k.Scopes); err != nil {
				return err
			}
			return confirmed(tx, p)
		})
		if errors.Is(err, auth.ErrChanged) {
			err = tools.Stale("The key has been changed since it was read.", map[string]any{"version": before.Version})
		}
		return after, audit.Entry{Resource: "key:" + before.ID, Reason: became(termsOf(before, after))}, noKey(err)
	})
}

// A RevokedKey says what ended with a key.
type RevokedKey struct {
	ID        string `json:"id"`
	SubTokens int    `json:"sub_tokens"` // that hung under it
	Waiting   int    `json:"waiting"`    // calls of it and of those that were parked or queued, and will not run
}

// RevokeKey ends a key with everything that hangs under it. It waits for the calls that have begun; none commits after it.
func (g *Gate) RevokeKey(ctx context.Context, by By, id string) (RevokedKey, error) {
	op := Op{Event: "key.revoked", Scope: auth.KeysAdmin}
	return Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (RevokedKey, audit.Entry, error) {
		r := RevokedKey{ID: id}
		if err := auth.RevokeKey(tx, p.Merchant, id); err != nil {
			return r, audit.Entry{}, noKey(err)
		}
		var err error
		r.SubTokens, r.Waiting, err = dying(tx, p.Merchant, id)
		return r, audit.Entry{Resource: "key:" + id, Reason: fmt.Sprintf("with it end %d sub-tokens and %d waiting calls", r.SubTokens, r.Waiting)}, err
	})
}

// dying counts what ends with principals: the sub-tokens under them, and the calls of all of these that wait.
func dying(tx *store.Tx, merchant string, ids ...string) (subTokens, waiting int, err error) {
	for _, id := range ids {
		heirs, err := auth.CountHeirs(tx, merchant, id)
		if err != nil {
			return 0, 0, err
		}
		calls, err := approvals.Waiting(tx, merchant, id)
		if err != nil {
			return 0, 0, err
		}
		subTokens, waiting = subTokens+heirs, waiting+calls
	}
	return subTokens, waiting, nil
}

// A UsedKey is a key with how often it and what hangs under it was used.
type UsedKey struct {
	auth.Key
	Usage auth.Used `json:"usage"`
}

// ListUsedKeys gives a page of a merchant's keys, oldest first, with their use.
func ListUsedKeys(tx *store.Tx, merchant string, page auth.Page) ([]UsedKey, error) {
	keys, err := auth.ListKeys(tx, merchant, page)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.ID
	}
	usage, err := auth.Usage(tx, ids...)
	used := make([]UsedKey, len(keys))
	for i, k := range keys {
		used[i] = UsedKey{k, usage[k.ID]}
	}
	return used, err
}

// FindUsedKey gives a merchant's key with its use.
func FindUsedKey(tx *store.Tx, merchant, id string) (UsedKey, error) {
	k, err := auth.FindKey(tx, merchant, id)
	if err != nil {
		return UsedKey{}, err
	}
	usage, err := auth.Usage(tx, id)
	return UsedKey{k, usage[id]}, err
}

// Key gives one key.
func (g *Gate) Key(ctx context.Context, by By, id string) (UsedKey, error) {
	return examine(ctx, g, by, Op{Event: "key.read", Scope: auth.KeysAdmin}, func(tx *store.Tx, p auth.Principal) (UsedKey, string, error) {
		k, err := FindUsedKey(tx, p.Merchant, id)
		return k, "key:" + k.ID, noKey(err)
	})
}

// Keys gives a page of the merchant's keys, oldest first.
func (g *Gate) Keys(ctx context.Context, by By, l Listing) (Listed[UsedKey], error) {
	return examine(ctx, g, by, Op{Event: "key.read", Scope: auth.KeysAdmin}, func(tx *store.Tx, p auth.Principal) (Listed[UsedKey], string, error) {
		page, err := list(tx, p, "keys", l, ListUsedKeys)
		return page, "key:*", err
	})
}

// noKey says which keys there are to find.
func noKey(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return tools.Refuse(tools.NotFound, "List the keys and use an id of one that is not revoked.", "There is no active key of this id.")
	}
	return err
}

// meant refuses a new key with an empty list of what it is limited to: whoever made it up of nothing may have meant nothing, and the
// key would be limited to nothing, which is everything.
func (t KeyTerms) meant() error {
	for _, limit := range []struct {
		field string
		list  []string
	}{{"tools", t.Tools}, {"resources", t.Resources}, {"networks", t.Networks}} {
		if limit.list != nil && len(limit.list) == 0 {
			return tools.Wrong(limit.field, "is empty", "at least one, or left out for all", nil)
		}
	}
	return nil
}

// apply writes terms over those of a key.
func (g *Gate) apply(t KeyTerms, k *auth.Key, now time.Time) error {
	if err := g.applyLists(t, k); err != nil {
		return err
	}
	set(&k.Name, t.Name)
	set(&k.Profile, t.Profile)
	set(&k.Rate.PerMinute, t.PerMinute)
	set(&k.Rate.Burst, t.Burst)
	set(&k.RequiresApproval, t.RequiresApproval)
	set(&k.Depth, t.Depth)
	if t.TTLSeconds != nil {
		k.ExpiresAt = time.Time{}
		if *t.TTLSeconds > 0 {
			k.ExpiresAt = now.Add(time.Duration(*t.TTLSeconds) * time.Second)
		}
	}
	if t.Ceiling == nil {
		return nil
	}
	level, err := auth.ParseLevel(*t.Ceiling)
	if err != nil {
		return tools.Wrong("ceiling", "is no level", "low, medium, high, or L0 to L7", "medium")
	}
	k.Ceiling = level
	return nil
}

func (g *Gate) applyLists(t KeyTerms, k *auth.Key) (err error) {
	if t.Scopes != nil {
		if k.Scopes, err = scopesOf(t.Scopes, auth.KeyScopes); err != nil {
			return err
		}
	}
	if err = g.namesKnown(auth.Delegation{Tools: t.Tools, Actions: t.Actions}); err != nil {
		return err
	}
	if t.Actions != nil {
		k.Actions = sorted(strings.Fields(strings.Join(t.Actions, " "))) // ids hold no space
	}
	if t.Networks != nil {
		if k.Networks, err = auth.ParseNetworks(t.Networks); err != nil {
			return tools.Wrong("networks", "hold one that is no network", "networks such as 10.0.0.0/8", "10.0.0.0/8")
		}
	}
	if t.Tools != nil {
		k.Tools = t.Tools
	}
	if t.Resources != nil {
		k.Resources = t.Resources
	}
	return nil
}

// warning is what the policy says about giving somebody a profile.
func (g *Gate) warning(tx *store.Tx, p auth.Principal, profile string) (string, error) {
	if profile == "" {
		return "it has no profile, so it may call nothing. Give it one: dtcgate key change ID --profile NAME", nil
	}
	now, err := g.policyAt(tx.Context(), tx, p.Merchant, p.PolicyVersion)
	if err != nil {
		return "", err
	}
	found, _ := now.Profile(profile)
	return found.Warning, nil
}

// hasProfile refuses a profile that the policy in force does not have: the key would do nothing, and nobody would know why.
func (g *Gate) hasProfile(tx *store.Tx, p auth.Principal, t KeyTerms) error {
	if t.Profile == nil || *t.Profile == "" {
		return nil
	}
	now, err := g.policyAt(tx.Context(), tx, p.Merchant, p.PolicyVersion)
	if err != nil {
		return err
	}
	if _, ok := now.Profile(*t.Profile); ok {
		return nil
	}
	return tools.Wrong("profile", "is not in the policy", "one of: "+strings.Join(now.Profiles(), ", "), policy.Scoped)
}

func set[T any](at *T, to *T) {
	if to != nil {
		*at = *to
	}
}

// scopesOf reads scopes and patterns, and says which is wrong without repeating it.
func scopesOf(names []string, among []auth.Scope) ([]auth.Scope, error) {
	for i, name := range names {
		if _, err := auth.ParseScopes([]string{name}, among); err != nil {
			return nil, tools.Wrong(fmt.Sprintf("scopes[%d]", i), "is no scope", "one of "+words(among)+", or a pattern such as orders:* or *:read", among[0])
		}
	}
	return auth.ParseScopes(names, among)
}

// termsOf lists what a key could do before and after, part by part, for the record. A text of the record is cut at its end, so what is
// short comes first: no list can be made so long that the ceiling behind it is lost. The name is quoted, and cannot be read as more parts.
func termsOf(before, after auth.Key) []part {
	both := func(name string, say func(auth.Key) string) part { return part{name, say(before), say(after)} }
	return []part{
		both("name", func(k auth.Key) string { return strconv.Quote(k.Name) }),
		both("owner", func(k auth.Key) string { return k.Owner }),
		both("profile", func(k auth.Key) string { return k.Profile }),
		both("requires_approval", func(k auth.Key) string { return fmt.Sprint(k.RequiresApproval) }),
		both("ceiling", func(k auth.Key) string { return k.Ceiling.String() }),
		both("expires", func(k auth.Key) string { return expiry(k.ExpiresAt) }),
		both("depth", func(k auth.Key) string { return fmt.Sprint(k.Depth) }),
		both("rate", func(k auth.Key) string { return fmt.Sprintf("%d/min burst %d", k.Rate.PerMinute, k.Rate.Burst) }),
		both("scopes", func(k auth.Key) string { return words(k.Scopes) }),
		both("actions", func(k auth.Key) string { return words(k.Actions) }),
		both("tools", func(k auth.Key) string { return words(k.Tools) }),
		both("resources", func(k auth.Key) string { return words(k.Resources) }),
		both("networks", func(k auth.Key) string { return fmt.Sprint(k.Networks) }),
	}
}

func expiry(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return at.Format(time.RFC3339)
}
