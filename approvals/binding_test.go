package approvals

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dtcgate/dtcgate/tools"
)

// other gives a value like v that is not v. Of text one byte is another.
func other(t *testing.T, v reflect.Value) reflect.Value {
	t.Helper()
	now := reflect.New(v.Type()).Elem()
	now.Set(v)
	switch v.Kind() {
	case reflect.String:
		if v.Len() == 0 {
			now.SetString("x")
			break
		}
		text := []byte(v.String())
		text[len(text)/2] ^= 1
		now.SetString(string(text))
	case reflect.Int, reflect.Int64:
		now.SetInt(v.Int() + 1)
	case reflect.Slice:
		now.Set(reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v))
		now.Index(0).Set(other(t, v.Index(0)))
	default:
		t.Fatalf("the test cannot change a %s", v.Type())
	}
	return now
}

// boundCase is an approved case of which every field of the binding is filled.
func boundCase(t *testing.T) Case {
	t.Helper()
	r := Request{Rule: twoRoles, State: Approved, CreatedAt: startOfTime, ExecuteBefore: startOfTime.Add(TimeToRun), Preview: tools.Preview{Summary: "Send it"}}
	r.Binding = Binding{
		V: 1, Merchant: "m", Tool: "t", SchemaHash: "s", ArgsHash: "a", Chain: []string{"key:a", "person:b"}, PolicyVersion: 14, PolicyRule: "r",
		Resource: "campaign:c", ResourceVersion: "3", IdempotencyKey: "k",
	}
	var err error
	if r.Binding.EffectHash, err = EffectHash(r.Preview, nil); err == nil {
		err = r.bind()
	}
	if err != nil {
		t.Fatal(err)
	}
	return Case{Request: r, Job: tools.JobQueued}
}

func TestEveryFieldOfABindingIsInItsHashAndHoldsTheCase(t *testing.T) {
	c := boundCase(t)
	if _, _, err := c.Apply(Event{Act: ActConsume}, World{Now: startOfTime}); err != nil {
		t.Fatalf("as it was bound it cannot be used: %v", err)
	}
	seen := map[string]string{c.BindingHash: "nothing"}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Binding]()) {
		now := c
		field := reflect.ValueOf(&now.Binding).Elem().FieldByIndex(f.Index)
		if field.IsZero() {
			t.Errorf("the test leaves %s empty", f.Name)
		}
		field.Set(other(t, field))
		hash, err := now.Binding.Hash()
		if err != nil {
			t.Fatal(err)
		}
		if same, is := seen[hash]; is {
			t.Errorf("%s and %s hash alike", f.Name, same)
		}
		seen[hash] = f.Name
		if next, _, err := now.Apply(Event{Act: ActConsume}, World{Now: startOfTime}); err == nil || next.State != Approved {
			t.Errorf("with another %s it is used", f.Name)
		}
		now.BindingHash = hash // somebody who can write the hash as well is held by what was seen, and by what the gate reads anew
		if f.Name == "EffectHash" || f.Name == "RuleHash" {
			if _, _, err := now.Apply(Event{Act: ActConsume}, World{Now: startOfTime}); err == nil {
				t.Errorf("with another %s and its hash it is used", f.Name)
			}
		}
	}
}

func TestABoundaryBetweenMembersOfAChainIsBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chain := rapid.SliceOfN(rapid.StringMatching(`[a-z:,"\[\]]{0,4}`), 1, 4).Draw(t, "chain")
		moved := slices.Clone(chain)
		at := rapid.IntRange(0, len(chain)-1).Draw(t, "member")
		if cut := rapid.IntRange(0, len(chain[at])).Draw(t, "cut"); rapid.Bool().Draw(t, "split") {
			moved = slices.Concat(chain[:at], []string{chain[at][:cut], chain[at][cut:]}, chain[at+1:])
		} else if at+1 < len(chain) {
			joined := chain[at] + chain[at+1]
			cut %= len(joined) + 1
			moved[at], moved[at+1] = joined[:cut], joined[cut:]
		}
		one, err1 := Binding{V: 1, Chain: chain}.Hash()
		two, err2 := Binding{V: 1, Chain: moved}.Hash()
		if err1 != nil || err2 != nil || (one == two) != slices.Equal(chain, moved) {
			t.Fatalf("%q and %q hash to %s and %s: %v %v", chain, moved, one, two, err1, err2)
		}
	})
}
