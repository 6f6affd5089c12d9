package approvals

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestARuleSaysInWordsWhomItNeeds(t *testing.T) {
	for _, c := range []struct {
		rule Rule
		want string
	}{
		{Rule{}, "1 person"},
		{Rule{People: 3}, "3 people"},
		{Rule{People: 2, Roles: []string{"marketing", "manager"}}, "2 people: one marketing, one manager"},
		{Rule{People: 1, Roles: []string{"marketing", "manager"}}, "2 people: one marketing, one manager"},
		{Rule{People: 2, Roles: []string{"manager", "manager"}}, "2 people: one manager, one manager"},
		{Rule{People: 1, From: []string{"finance", "admin"}}, "1 person of admin or finance"},
		{Rule{People: 3, Roles: []string{"manager"}, From: []string{"finance"}}, "3 people: one manager, 2 more of finance or manager"},
		{Rule{People: 2, From: []string{"finance"}, Escalate: []Escalation{{time.Hour, []string{"admin"}}}}, "2 people of finance"},
	} {
		if got := c.rule.Needs(); got != c.want {
			t.Errorf("%+v needs %q, want %q", c.rule, got, c.want)
		}
	}
}

func TestWhoIsMissingFollowsFromWhoSaidYes(t *testing.T) {
	both := Rule{People: 2, Roles: []string{"marketing", "manager"}}
	for _, c := range []struct {
		rule Rule
		yes  [][]string
		want string
	}{
		{both, [][]string{{"marketing"}}, "1 person: one manager"},
		{both, [][]string{{"marketing", "manager"}}, "1 person: one manager or marketing"},
		{both, [][]string{{"marketing"}, {"marketing"}}, "1 person: one manager"},
		{both, [][]string{{"finance"}, {"finance"}}, "2 people: one marketing, one manager"},
		{Rule{People: 3, From: []string{"finance"}}, [][]string{{"finance"}}, "2 people of finance"},
		{Rule{People: 3, Roles: []string{"manager"}}, [][]string{{"manager"}}, "2 people of manager"},
	} {
		if got := c.rule.short(c.yes).words(c.rule.Voters(0)); got != c.want {
			t.Errorf("%v with %v is missing %q, want %q", c.rule, c.yes, got, c.want)
		}
	}
}

// seated is the naive way to seat people: every role goes to nobody or to each of those who are left and hold it.
func seated(roles []string, people [][]string) int {
	if len(roles) == 0 {
		return 0
	}
	best := seated(roles[1:], people)
	for i, held := range people {
		if slices.Contains(held, roles[0]) {
			best = max(best, 1+seated(roles[1:], slices.Delete(slices.Clone(people), i, i+1)))
		}
	}
	return best
}

func TestSeatingIsThatOfTheNaiveWay(t *testing.T) {
	names := []string{"a", "b", "c", "d"}
	met := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		role := rapid.SampledFrom(names)
		rule := Rule{People: rapid.IntRange(0, 5).Draw(t, "people"), Roles: rapid.SliceOfN(role, 0, 4).Draw(t, "roles")}
		yes := rapid.SliceOfN(rapid.SliceOfNDistinct(role, 0, 3, rapid.ID[string]), 0, 6).Draw(t, "yes")
		got := rule.short(yes)
		filled := seated(rule.Roles, yes)
		if len(got.places) != len(rule.Roles)-filled {
			t.Fatalf("%d places are open, want %d", len(got.places), len(rule.Roles)-filled)
		}
		if want := max(max(1, rule.People, len(rule.Roles))-len(yes), len(got.places)); got.people != want {
			t.Fatalf("%d people are missing, want %d", got.people, want)
		}
		met[got.met()]++
		named := slices.Concat(got.places...)
		for _, r := range rule.Roles {
			helps := seated(rule.Roles, append(slices.Clone(yes), []string{r})) > filled
			if helps != slices.Contains(named, r) {
				t.Fatalf("one more %s helps: %v, and %v are named", r, helps, got.places)
			}
		}
	})
	if met[true] == 0 || met[false] == 0 {
		t.Errorf("met and not: %v", met)
	}
}

func TestWhoMayVoteGrowsWithTime(t *testing.T) {
	r := Rule{People: 2, Roles: []string{"manager"}, From: []string{"finance"}, Escalate: []Escalation{{time.Hour, []string{"admin"}}, {2 * time.Hour, []string{"security"}}}}
	for open, want := range map[time.Duration][]string{
		0:                         {"finance", "manager"},
		time.Hour - 1:             {"finance", "manager"},
		time.Hour:                 {"admin", "finance", "manager"},
		2 * time.Hour:             {"admin", "finance", "manager", "security"},
		MaxTimeToDecide:           {"admin", "finance", "manager", "security"},
		-time.Hour /* a clock */ : {"finance", "manager"},
	} {
		if got := r.Voters(open); !slices.Equal(got, want) {
			t.Errorf("after %s %v may vote, want %v", open, got, want)
		}
	}
	anybody := Rule{Escalate: r.Escalate}
	if !anybody.Admits(nil, 3*time.Hour) {
		t.Error("an escalation shut out those who might vote before")
	}
	if r.Admits([]string{"admin"}, 0) || !r.Admits([]string{"support", "admin"}, time.Hour) {
		t.Error("the roles of an escalation do not count from their time on")
	}
}

func TestARuleIsBoundInEveryPart(t *testing.T) {
	base := Rule{Name: "n", People: 2, Roles: []string{"a"}, From: []string{"b"}, Expires: time.Hour, Escalate: []Escalation{{time.Minute, []string{"c"}}}, Override: true}
	raw, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	var again Rule
	if err := json.Unmarshal(raw, &again); err != nil || !reflect.DeepEqual(again, base) {
		t.Errorf("%s is read as %+v: %v", raw, again, err)
	}
	seen := map[string]string{}
	for name, change := range map[string]func(*Rule){
		"nothing":         func(*Rule) {},
		"name":            func(r *Rule) { r.Name = "m" },
		"people":          func(r *Rule) { r.People = 1 },
		"roles":           func(r *Rule) { r.Roles = []string{"a", "a"} },
		"from":            func(r *Rule) { r.From = nil },
		"expires":         func(r *Rule) { r.Expires++ },
		"escalation":      func(r *Rule) { r.Escalate = nil },
		"escalation time": func(r *Rule) { r.Escalate = []Escalation{{time.Minute + 1, []string{"c"}}} },
		"escalation to":   func(r *Rule) { r.Escalate = []Escalation{{time.Minute, []string{"d"}}} },
		"override":        func(r *Rule) { r.Override = false },
	} {
		r := base
		change(&r)
		q := Request{Rule: r}
		if err := q.bind(); err != nil {
			t.Fatal(err)
		}
		if other, same := seen[q.BindingHash]; same {
			t.Errorf("%s and %s are bound alike", name, other)
		}
		seen[q.BindingHash] = name
	}
}

func TestAQuestionOfAnEarlierVersionKeepsItsHashAndItsOnePerson(t *testing.T) {
	effect, err := EffectHash(Request{}.Preview, nil)
	if err != nil {
		t.Fatal(err)
	}
	old := Request{Binding: Binding{V: 1, Merchant: "m", Tool: "t", Chain: []string{"key:a"}, PolicyVersion: 1, PolicyRule: "r", EffectHash: effect}}
	old.Rule = onePerson("r")
	old.BindingHash, err = old.Binding.Hash()
	// What a binding without a rule hashed to before there was one.
	if want := "d674b60a0929e3f9317a3e58e20c04d78cf627d9b9a048652560ff55587bf712"; err != nil || old.BindingHash != want {
		t.Errorf("%s, want %s: %v", old.BindingHash, want, err)
	}
	if !old.Intact() {
		t.Error("it is not taken as it was asked")
	}
	old.Rule.Override = true
	if old.Intact() {
		t.Error("a rule was put under it")
	}
}
