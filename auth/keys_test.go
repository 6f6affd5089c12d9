package auth

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// A desk is a merchant at a time that a test moves.
type desk struct {
	*testing.T
	db       *store.DB
	merchant string
	now      time.Time
}

func newDesk(t *testing.T, db *store.DB) *desk {
	t.Helper()
	d := &desk{T: t, db: db, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	db.Now = func() time.Time { return d.now }
	d.in(func(tx *store.Tx) error {
		m, err := EnsureMerchant(tx, "demo")
		d.merchant = m.ID
		return err
	})
	return d
}

func (d *desk) in(fn func(*store.Tx) error) {
	d.Helper()
	inTx(d.T, d.db, fn)
}

func (d *desk) mint(k Key) (key Key, secret string) {
	d.Helper()
	k.Merchant = d.merchant
	d.in(func(tx *store.Tx) (err error) {
		key, secret, err = MintKey(tx, k)
		return err
	})
	return key, secret
}

func (d *desk) person(name string, roles ...string) (p Person, token string) {
	d.Helper()
	d.in(func(tx *store.Tx) (err error) {
		p, token, err = AddPerson(tx, d.merchant, name, roles...)
		return err
	})
	return p, token
}

func (d *desk) rotate(id string, overlap time.Duration) (secret string) {
	d.Helper()
	d.in(func(tx *store.Tx) (err error) {
		_, secret, err = RotateKey(tx, d.merchant, id, overlap)
		return err
	})
	return secret
}

// opens tells which of several secrets let somebody in.
func (d *desk) opens(secrets ...string) (open []bool) {
	d.Helper()
	for _, s := range secrets {
		_, err := authenticate(d.T, d.db, s)
		if err != nil && !errors.Is(err, ErrUnknownCredential) {
			d.Fatal(err)
		}
		open = append(open, err == nil)
	}
	return open
}

func (d *desk) want(got []bool, want ...bool) {
	d.Helper()
	if !slices.Equal(got, want) {
		d.Errorf("the secrets open %v, want %v", got, want)
	}
}

func TestARotatedKeyOpensWithBothSecretsForTheOverlap(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		k, first := d.mint(Key{Name: "bot", Scopes: []Scope{"orders:read"}})
		second := d.rotate(k.ID, time.Hour)
		d.want(d.opens(first, second), true, true)
		d.now = d.now.Add(time.Hour)
		d.want(d.opens(first, second), false, true)

		third := d.rotate(k.ID, time.Hour)
		d.want(d.opens(first, second, third), false, true, true)
		fourth := d.rotate(k.ID, time.Hour)
		d.want(d.opens(second, third, fourth), false, true, true) // two at most
		fifth := d.rotate(k.ID, 0)
		d.want(d.opens(third, fourth, fifth), false, false, true)

		d.in(func(tx *store.Tx) error { return RevokeKey(tx, d.merchant, k.ID) })
		d.want(d.opens(fifth), false)
		d.in(func(tx *store.Tx) error {
			if _, _, err := RotateKey(tx, d.merchant, k.ID, 0); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("rotating a revoked key: %v", err)
			}
			for _, wrong := range []time.Duration{-1, MaxOverlap + 1} {
				if _, _, err := RotateKey(tx, d.merchant, k.ID, wrong); !isUnfit(err, "overlap") {
					t.Errorf("an overlap of %s: %v", wrong, err)
				}
			}
			return nil
		})
	})
}

func isUnfit(err error, field string) bool {
	var unfit *Unfit
	return errors.As(err, &unfit) && unfit.Field == field
}

// Whoever came in with a secret that a rotation has ended is out, although the key still stands.
func TestACallerWhoseSecretWasRotatedAwayIsNotRenewed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		k, first := d.mint(Key{Name: "bot"})
		old, err := authenticate(t, db, first)
		if err != nil {
			t.Fatal(err)
		}
		second := d.rotate(k.ID, time.Minute)
		current, err := authenticate(t, db, second)
		if err != nil {
			t.Fatal(err)
		}
		d.renews(old, "")
		d.now = d.now.Add(time.Minute)
		d.renews(old, "rotated")
		d.renews(current, "")
		d.rotate(k.ID, 0)
		d.renews(current, "rotated")
		d.in(func(tx *store.Tx) error {
			_, err := Live(tx, k.ID) // what the key has parked is the key's, whatever its secret is
			return err
		})
	})
}

func (d *desk) renews(p Principal, want string) {
	d.Helper()
	d.in(func(tx *store.Tx) error {
		if _, err := Renew(tx, p); why(err) != want || want == "" && err != nil {
			d.Errorf("renewing gives %v, want %q", err, want)
		}
		return nil
	})
}

func TestAKeyIsChangedOnceByTwoWhoSawTheSame(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		k, _ := d.mint(Key{Name: "bot", Scopes: []Scope{"orders:read", "orders:refund"}})
		narrow := func(k *Key) error {
			k.Scopes, k.Owner, k.Merchant, k.ID = []Scope{"orders:read"}, "per_x", "mer_x", "key_x"
			return nil
		}
		d.in(func(tx *store.Tx) error {
			before, after, err := ChangeKey(tx, d.merchant, k.ID, 1, narrow)
			if err != nil || before.Version != 1 || after.Version != 2 || after.Owner != "" || after.ID != k.ID {
				t.Errorf("%+v, %v", after, err)
			}
			if _, _, err := ChangeKey(tx, d.merchant, k.ID, 1, narrow); !errors.Is(err, ErrChanged) {
				t.Errorf("a second change of the same version: %v", err)
			}
			if _, _, err := ChangeKey(tx, "mer_other", k.ID, 2, narrow); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("a change by another merchant: %v", err)
			}
			p, err := Live(tx, k.ID)
			if len(p.Scopes) != 1 {
				t.Errorf("it holds %v", p.Scopes)
			}
			return err
		})
		d.in(func(tx *store.Tx) error { return RevokeKey(tx, d.merchant, k.ID) })
		d.in(func(tx *store.Tx) error {
			if _, _, err := ChangeKey(tx, d.merchant, k.ID, 3, narrow); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("changing a revoked key: %v", err)
			}
			return nil
		})
	})
}

func TestAKeyThatCannotBeIsNeitherMintedNorMade(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		k, secret := d.mint(Key{Name: "bot"})
		mara, _ := d.person("mara", "support")
		gone, _ := d.person("gone", "admin")
		d.in(func(tx *store.Tx) error { return RevokePerson(tx, d.merchant, gone.ID) })
		for field, wrong := range map[string]Key{
			"name":       {Name: "the key is " + secret},
			"scopes":     {Name: "x", Scopes: []Scope{KeysAdmin}},
			"tools":      {Name: "x", Tools: []string{"*"}},
			"resources":  {Name: "x", Resources: []string{"ord*r"}},
			"per_minute": {Name: "x", Rate: Rate{Burst: 3}},
			"depth":      {Name: "x", Depth: MaxDepth + 1},
			"expiry":     {Name: "x", ExpiresAt: d.now},
			"owner_id":   {Name: "x", Owner: gone.ID},
			"networks":   {Name: "x", Networks: make(Networks, maxPatterns+1)},
		} {
			wrong.Merchant = d.merchant
			d.in(func(tx *store.Tx) error {
				if _, _, err := MintKey(tx, wrong); !isUnfit(err, field) {
					t.Errorf("minting with a wrong %s: %v", field, err)
				}
				if field == "owner_id" {
					return nil
				}
				if _, _, err := ChangeKey(tx, d.merchant, k.ID, 1, func(k *Key) error { *k = wrong; return nil }); !isUnfit(err, field) {
					t.Errorf("changing to a wrong %s: %v", field, err)
				}
				return nil
			})
		}
		d.in(func(tx *store.Tx) error {
			var beyond *Beyond
			_, _, err := MintKey(tx, Key{Merchant: d.merchant, Name: "x", Owner: mara.ID, Scopes: []Scope{"orders:read", "ads:spend", "ads:write"}})
			if !errors.As(err, &beyond) || !slices.Equal(beyond.Missing, []Scope{"ads:spend", "ads:write"}) {
				t.Errorf("minting more than the owner holds: %v", err)
			}
			return nil
		})
	})
}

// A key loses with its owner: what the owner's roles lose, what the owner's roles held, and the owner.
func TestAKeyDoesNoMoreThanItsOwnerAtAnyTime(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		mara, token := d.person("mara", "support", "marketing")
		_, secret := d.mint(Key{Name: "hers", Owner: mara.ID, Scopes: []Scope{"orders:read", "marketing:send"}})
		d.scopes(secret, "orders:read", "marketing:send")
		d.in(func(tx *store.Tx) error { return GiveRoles(tx, d.merchant, mara.ID, []string{"support"}) })
		d.scopes(secret, "orders:read")
		d.in(func(tx *store.Tx) error {
			return PutRole(tx, Role{Merchant: d.merchant, Name: "support", Scopes: []Scope{ApprovalsRead}})
		})
		d.scopes(secret)
		d.in(func(tx *store.Tx) error { return RevokePerson(tx, d.merchant, "mara") })
		d.want(d.opens(secret, token), false, false)
	})
}

func (d *desk) scopes(secret string, want ...Scope) {
	d.Helper()
	p, err := authenticate(d.T, d.db, secret)
	if err != nil || !slices.Equal(p.Scopes, want) {
		d.Errorf("it holds %v (%v), want %v", p.Scopes, err, want)
	}
}

func TestRolesAreListedPutAndDeletedWhenNobodyHasThem(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		buyer := Role{Merchant: d.merchant, Name: "buyer", Scopes: []Scope{"orders:read"}}
		d.in(func(tx *store.Tx) error { return PutRole(tx, buyer) })
		d.person("mara", "buyer")
		d.in(func(tx *store.Tx) error {
			all, err := ListRoles(tx, d.merchant)
			if len(all) != len(builtIn)+1 || all[1].Name != "buyer" || !slices.Equal(all[1].Scopes, buyer.Scopes) {
				t.Errorf("the roles are %v", all)
			}
			if err := DeleteRole(tx, d.merchant, "buyer"); !errors.Is(err, ErrRoleInUse) {
				t.Errorf("deleting a role that somebody has: %v", err)
			}
			if err := DeleteRole(tx, d.merchant, "seller"); !errors.Is(err, ErrNoRole) {
				t.Errorf("deleting a role that is not there: %v", err)
			}
			for _, name := range []string{"", "Buyer", "9", "a b", strings.Repeat("a", 41)} {
				if err := PutRole(tx, Role{Merchant: d.merchant, Name: name}); !isUnfit(err, "role") {
					t.Errorf("a role %q: %v", name, err)
				}
			}
			return err
		})
		d.in(func(tx *store.Tx) error { return RevokePerson(tx, d.merchant, "mara") })
		d.in(func(tx *store.Tx) error { return DeleteRole(tx, d.merchant, "buyer") })
		d.in(func(tx *store.Tx) error {
			for i := range maxRoles - len(builtIn) {
				if err := PutRole(tx, Role{Merchant: d.merchant, Name: fmt.Sprint("role", i)}); err != nil {
					return err
				}
			}
			if err := PutRole(tx, Role{Merchant: d.merchant, Name: "more"}); !isUnfit(err, "role") {
				t.Errorf("one role too many: %v", err)
			}
			return nil
		})
	})
}

func TestListsOfKeysAndPeopleAreReadByPages(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		var want, ended []string
		for i := range 7 {
			k, _ := d.mint(Key{Name: "bot"}) // several at one instant, too
			p, _ := d.person(fmt.Sprint("p", i), "manager", "support")
			want = append(want, k.ID, p.ID)
			if i%3 == 0 {
				ended = append(ended, k.ID, p.ID)
				d.in(func(tx *store.Tx) error {
					return errors.Join(RevokeKey(tx, d.merchant, k.ID), RevokePerson(tx, d.merchant, p.ID))
				})
			}
			d.now = d.now.Add(time.Duration(i%2) * time.Second)
		}
		active := slices.DeleteFunc(slices.Clone(want), func(id string) bool { return slices.Contains(ended, id) })
		for state, want := range map[string][]string{"": want, "revoked": ended, "active": active} {
			slices.Sort(want)
			if got := d.paged(state); !slices.Equal(got, want) {
				t.Errorf("state %q: the pages hold %v, want %v", state, got, want)
			}
		}
	})
}

// paged reads both lists by pages of two and gives the ids, sorted.
func (d *desk) paged(state string) (ids []string) {
	d.Helper()
	d.in(func(tx *store.Tx) error {
		page := Page{State: state, Limit: 2}
		for more := true; more; {
			keys, err := ListKeys(tx, d.merchant, page)
			if err != nil {
				return err
			}
			for _, k := range keys {
				ids, page.After = append(ids, k.ID), k.Place()
			}
			more = len(keys) == 2
		}
		page.After = Place{}
		for more := true; more; {
			people, err := ListMembers(tx, d.merchant, page)
			if err != nil {
				return err
			}
			for _, m := range people {
				if !slices.Equal(m.Roles, []string{"manager", "support"}) {
					d.Errorf("the roles of %s: %v", m.Name, m.Roles)
				}
				ids, page.After = append(ids, m.ID), m.Place()
			}
			more = len(people) == 2
		}
		return nil
	})
	slices.Sort(ids)
	return ids
}

// A change counts as widening exactly when some call would be allowed after it that was not before. Here the lists are small
// enough to try them all.
func TestAChangeThatAllowsNothingMoreDoesNotWiden(t *testing.T) {
	some := func(t *rapid.T, name string, from []string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, len(from), rapid.ID[string]).Draw(t, name)
	}
	draw := func(t *rapid.T, who string) Key {
		k := Key{
			Tools:     some(t, who+" tools", []string{"a_b", "a_c", "a_*", "a_b_*", "x"}),
			Resources: some(t, who+" resources", []string{"order:1", "order:*", "customer:*"}),
			Actions:   some(t, who+" actions", []string{"p:a", "p:*", "*", "q:a"}),
			Ceiling:   Level(rapid.IntRange(0, 2).Draw(t, who+" ceiling")),
		}
		for _, s := range some(t, who+" scopes", []string{"orders:read", "orders:write"}) {
			k.Scopes = append(k.Scopes, Scope(s))
		}
		for _, n := range some(t, who+" networks", []string{"10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "::/0"}) {
			k.Networks = append(k.Networks, netip.MustParsePrefix(n))
		}
		return k
	}
	rapid.Check(t, func(t *rapid.T) {
		before, after := draw(t, "before"), draw(t, "after")
		b, a := Principal{Links: []Link{before.link().Link}, Scopes: before.Scopes}, Principal{Links: []Link{after.link().Link}, Scopes: after.Scopes}
		more := after.Ceiling > before.Ceiling || len(b.Lacks(after.Scopes)) > 0
		for _, name := range []string{"a_b", "a_c", "a_d", "a_b_c", "x", "y"} {
			more = more || a.MayCall(name) && !b.MayCall(name)
		}
		for _, r := range []string{"order:1", "order:2", "customer:1", "z:1"} {
			more = more || a.MayTouch(r) && !b.MayTouch(r)
		}
		for _, action := range []string{"p:a", "p:b", "q:a", "z:z"} {
			more = more || a.MayRequest(action) && !b.MayRequest(action)
		}
		for _, addr := range []string{"10.1.2.3", "10.1.3.3", "10.2.0.1", "192.0.2.1", "2001:db8::1"} {
			more = more || a.MayComeFrom(netip.MustParseAddr(addr)) && !b.MayComeFrom(netip.MustParseAddr(addr))
		}
		if more && !after.Widens(before) {
			t.Fatalf("%+v allows more than %+v", after, before)
		}
		if before.Widens(before) {
			t.Fatalf("no change widens %+v", before)
		}
	})
}

func TestLessRateTimeDepthAndMoreApprovalDoNotWiden(t *testing.T) {
	at := time.Unix(1000, 0)
	wide, narrow := Key{Rate: Rate{PerMinute: 60}, Depth: 3, ExpiresAt: at.Add(1)}, Key{Rate: Rate{PerMinute: 60, Burst: 2}, Depth: 1, ExpiresAt: at, RequiresApproval: true}
	if narrow.Widens(wide) || narrow.Widens(Key{Depth: 1}) {
		t.Error("narrowing counts as widening")
	}
	for name, change := range map[string]func(*Key){
		"rate": func(k *Key) { k.Rate = Rate{} }, "burst": func(k *Key) { k.Rate.Burst = 3 }, "depth": func(k *Key) { k.Depth = 2 },
		"time": func(k *Key) { k.ExpiresAt = at.Add(1) }, "for ever": func(k *Key) { k.ExpiresAt = time.Time{} }, "approval": func(k *Key) { k.RequiresApproval = false },
	} {
		wider := narrow
		if change(&wider); !wider.Widens(narrow) {
			t.Errorf("more %s does not count as widening", name)
		}
	}
}

// Every kind of secret is looked up by its hash, and what is found is compared in constant time; nothing that could be a secret or
// its hash meets == or !=.
func TestSecretsAreComparedInConstantTimeOnly(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var lookups int
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			asks, compares := false, false
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.BasicLit:
					asks = asks || strings.Contains(n.Value, "_sha256 = $") && strings.Contains(n.Value, "WHERE") || n.Value == `"secret_sha256"`
				case *ast.SelectorExpr:
					compares = compares || n.Sel.Name == "ConstantTimeCompare" || n.Sel.Name == "open"
				case *ast.BinaryExpr:
					if n.Op != token.EQL && n.Op != token.NEQ {
						return true
					}
					for _, side := range [][2]ast.Expr{{n.X, n.Y}, {n.Y, n.X}} {
						if name := lastName(side[0]); slices.Contains([]string{"sum", "secret", "plain", "stored", "opener"}, name) && !isEmptyText(side[1]) {
							t.Errorf("%s: %s is compared in variable time", fset.Position(n.Pos()), name)
						}
					}
				}
				return true
			})
			if asks && strings.HasPrefix(fn.Name.Name, "authenticate") {
				lookups++
				if !compares {
					t.Errorf("%s: what %s finds by a hash is not compared in constant time", file, fn.Name.Name)
				}
			}
		}
	}
	if lookups < 3 {
		t.Errorf("only %d look a secret up: this test looks in the wrong place", lookups)
	}
}

func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func isEmptyText(e ast.Expr) bool {
	lit, ok := e.(*ast.BasicLit)
	return ok && lit.Value == `""`
}
