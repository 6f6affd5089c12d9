package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Link is one of those a call is made for: what it was given, before the others of its chain are asked.
type Link struct {
	Kind             Kind
	ID               string
	Name             string
	Profile          string // in the policy; of keys and of agents of an issuer
	Scopes           []Scope
	Actions          []string // of what dtc_request_action does; of agents only
	Tools            []string // names and patterns; empty: all
	Resources        []string // type:id, type:* and type:part/*; empty: all
	Networks         Networks // where it may be used from; empty: anywhere
	Ceiling          Level
	Rate             Rate
	RequiresApproval bool
	Depth            int // how many sub-tokens may hang below it, one under the other
	ExpiresAt        time.Time
	Version          int64 // goes up with every change of the above
}

// maxLinks bounds a chain: a key, eight sub-tokens under it, and the owner above.
const maxLinks = MaxDepth + 2

// MaxDepth is how many sub-tokens may hang under a key at most, one under the other.
const MaxDepth = 8

// A stored link is a row that says who stands above it, and whether it still stands.
type storedLink struct {
	Link
	merchant string
	parent   string // "": nobody
	revoked  time.Time
	secrets  keySecrets // of a key
}

// Live gives the principal of a key_, sub_, jwt_ or per_ id as it is now. One that is gone, revoked or expired, or whose
// chain holds such a one, is *Refused.
func Live(tx *store.Tx, id string) (Principal, error) { return climb(tx, anyMerchant, id) }

// LiveAt is Live among those of a merchant: an id of another one is refused as one that is nobody's, after the same statements.
func LiveAt(tx *store.Tx, merchant, id string) (Principal, error) { return climb(tx, merchant, id) }

// Renew gives p as it is now. When p may not call any more the error is *Refused.
func Renew(tx *store.Tx, p Principal) (Principal, error) {
	if p.Kind == KindOperator && p.Merchant == "" { // at work on what belongs to no merchant
		return p, nil
	}
	if p.Kind == KindOperator {
		return p, p.policyAt(tx, p.Merchant)
	}
	if holds, err := p.holds(tx); holds || err != nil {
		p.recalled = false
		return p, err
	}
	first, err := readLink(tx, p.Merchant, p.ID)
	if err != nil {
		return Principal{}, err
	}
	if p.opener != "" && !first.secrets.open(p.opener, tx.Now) {
		return Principal{}, &Refused{Why: "rotated", Who: named(p.Kind, p.ID), Merchant: p.Merchant}
	}
	if p.Kind == KindJWT { // what the token said holds for this call, and as long as it said; the row only knows the newest one
		first.Scopes, first.ExpiresAt = p.Links[0].Scopes, p.Links[0].ExpiresAt
	}
	now, err := first.climb(tx)
	if err != nil {
		return Principal{}, err
	}
	if now.opener = p.opener; p.opener != "" {
		now.opensUntil = first.secrets.ends(p.opener)
	}
	now = now.atMost(p.most)
	if p.Session != "" {
		return now.signedIn(tx, p.Session)
	}
	return now, nil
}

// Hold is Renew for a transaction that is to have an effect: until it ends nobody changes who may do what at the merchant.
// Whoever revokes something of p waits for it, and finds that nothing of p commits afterwards. It comes before any other lock.
func Hold(tx *store.Tx, p Principal) (Principal, error) {
	if err := tx.Share(rightsAt(p.Merchant)); err != nil {
		return Principal{}, err
	}
	return Renew(tx, p)
}

// HoldLive is Live for a transaction that is to have an effect: see Hold. Somebody of another merchant is *Refused.
func HoldLive(tx *store.Tx, merchant, id string) (Principal, error) {
	if err := tx.Share(rightsAt(merchant)); err != nil {
		return Principal{}, err
	}
	return climb(tx, merchant, id)
}

// TryHold is for a transaction that holds other locks already, and is to call HoldLive: it waits for nobody, and is false
// when somebody changes, or waits to change, who may do what at the merchant.
func TryHold(tx *store.Tx, merchant string) (bool, error) { return tx.TryShare(rightsAt(merchant)) }

// Same reports whether p and q are the same principal with the same rights. It compares the rights themselves and not the
// versions of rows: what somebody forgot to count up would be a right that outlives its revocation. Under another version of the policy
// the same rights are others, and so they are while they are frozen.
func (p Principal) Same(q Principal) bool {
	if p.revision != 0 && p.revision == q.revision && p.ID == q.ID {
		return true
	}
	return p.PolicyVersion == q.PolicyVersion && p.PolicyShadow == q.PolicyShadow && p.Frozen.ID == q.Frozen.ID && reflect.DeepEqual(p.Links, q.Links)
}

// climb reads a chain of a merchant from its first link up.
func climb(tx *store.Tx, merchant, id string) (Principal, error) {
	first, err := readLink(tx, merchant, id)
	if err != nil {
		return Principal{}, err
	}
	return first.climb(tx)
}

func (first storedLink) climb(tx *store.Tx) (p Principal, err error) {
	links := []Link{}
	for l := first; ; {
		if why := l.ended(tx.Now); why != "" {
			if len(links) > 0 {
				why = l.above() + " " + why
			}
			return Principal{}, &Refused{Why: why, Who: named(first.Kind, first.ID), Merchant: first.merchant}
		}
		links = append(links, l.Link)
		if l.parent == "" {
			p = join(first.merchant, links)
			err = p.policyAt(tx, first.merchant)
			if p.Root().Kind == KindJWT {
				p.revision = 0 // a newer token of its issuer changes it without a change of rights
			}
			return p, err
		}
		up, err := readLink(tx, first.merchant, l.parent)
		if errors.Is(err, ErrUnknownCredential) || err == nil && len(links) == maxLinks {
			err = fmt.Errorf("the chain of %s breaks at %s", first.ID, l.parent)
		}
		if err != nil {
			return Principal{}, err
		}
		l = up
	}
}

func (l storedLink) ended(now time.Time) string {
	switch {
	case !l.revoked.IsZero():
		return "revoked"
	case !l.ExpiresAt.IsZero() && !now.Before(l.ExpiresAt):
		return "expired"
	}
	return ""
}

// above says what a link is to those below it.
func (l storedLink) above() string {
	if l.Kind == KindPerson {
		return "owner"
	}
	return "parent"
}

// anyMerchant is for whoever does not ask on behalf of one.
const anyMerchant = ""

// readLink reads one link of a merchant by its id. An id that is nobody's, and one of another merchant, is *Refused, alike to the
// statement: not even the time it takes tells them apart.
func readLink(tx *store.Tx, merchant, id string) (l storedLink, err error) {
	switch prefix, _, _ := strings.Cut(id, "_"); prefix {
	case "key":
		l, err = keyLink(tx, id)
	case "sub":
		l, err = subTokenLink(tx, id)
	case "jwt":
		l, err = jwtLink(tx, id)
	case "per":
		l, err = personLink(tx, id)
	default:
		err = store.ErrNotFound
	}
	if errors.Is(err, store.ErrNotFound) || err == nil && merchant != anyMerchant && l.merchant != merchant {
		return storedLink{}, &Refused{Why: "unknown"}
	}
	if err == nil && l.Kind == KindPerson {
		l.Scopes, err = rightsOf(tx, l.ID)
	}
	if err != nil {
		return l, fmt.Errorf("reading %s: %w", id, err)
	}
	return l, nil
}

// join makes a principal of its links: it may do what every one of them may.
func join(merchant string, links []Link) Principal {
	first := links[0]
	p := Principal{
		Kind: first.Kind, ID: first.ID, Merchant: merchant, Name: first.Name, Links: links,
		Scopes: slices.Clone(first.Scopes), Ceiling: first.Ceiling,
	}
	for _, l := range links {
		p.Scopes = slices.DeleteFunc(p.Scopes, func(s Scope) bool { return !slices.Contains(l.Scopes, s) })
		p.Ceiling = min(p.Ceiling, l.Ceiling)
		p.RequiresApproval = p.RequiresApproval || l.RequiresApproval
		if !l.ExpiresAt.IsZero() && (p.ExpiresAt.IsZero() || l.ExpiresAt.Before(p.ExpiresAt)) {
			p.ExpiresAt = l.ExpiresAt
		}
	}
	return p
}

// MayCall reports whether every link lets p call a tool that goes by these names.
func (p Principal) MayCall(names ...string) bool {
	return p.every(func(l Link) []string { return l.Tools }, func(pattern string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return Fits(pattern, name) })
	})
}

// MayTouch reports whether every link lets p reach an object that goes by these names, type:id. One link may know it by another
// name than the next. What has no name is reached by nobody who is limited.
func (p Principal) MayTouch(names ...string) bool {
	return p.every(resourcesOf, func(pattern string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return Fits(pattern, name) })
	})
}

// every reports whether each link's list, where it has one, holds something that is right.
func (p Principal) every(list func(Link) []string, right func(string) bool) bool {
	for _, l := range p.Links {
		if all := list(l); len(all) > 0 && !slices.ContainsFunc(all, right) {
			return false
		}
	}
	return true
}

// Fits reports whether a pattern names something: exactly, by all that begins like it when it ends in ".*", "_*", ":*" or "/*", or,
// as "*" alone, everything that has a name. There is no other star. The name of a set is compared as any name is: queue:* fits
// queue:returns/*, and the other way round it does not.
func Fits(pattern, name string) bool {
	head, star := strings.CutSuffix(pattern, "*")
	switch {
	case !star:
		return pattern == name
	case head == "":
		return name != ""
	}
	return strings.ContainsRune(starAfter, rune(head[len(head)-1])) && len(name) > len(head) && strings.HasPrefix(name, head)
}

// starAfter are the characters at which a name may be cut off with a star: a pattern never holds a part of a word.
const starAfter = "._:/"

// MayComeFrom reports whether every link may be used from an address.
func (p Principal) MayComeFrom(addr netip.Addr) bool {
	for _, l := range p.Links {
		if len(l.Networks) > 0 && !l.Networks.Contain(addr) {
			return false
		}
	}
	return true
}
