package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/tools"
)

// Against shows in the unified form, without its first line, what a source changes of a version; "" when that is nothing. A version that
// is gone has no lines.
func (v Version) Against(source string) string {
	lines := string(diff.Diff(fmt.Sprintf("version %d", v.Number), []byte(v.Source), "draft", []byte(source)))
	_, unified, _ := strings.Cut(lines, "\n")
	return unified
}

// Publishing gives what the next version takes. It reads the form alone, so that a condition which no longer fits the tools takes nobody's
// say away; what was changed since it was published is ErrUnreadable.
func (v Version) Publishing() (Publishing, error) {
	var d Document
	if problems := strict.Decode([]byte(v.Source), &d); len(problems) > 0 || Hash([]byte(v.Source)) != v.Hash {
		return Publishing{}, fmt.Errorf("%w: version %d", ErrUnreadable, v.Number)
	}
	return d.Publishing, nil
}

// Asks reports whether publishing waits for people.
func (p Publishing) Asks() bool { return p.Need != nil && (p.Need.People > 0 || len(p.Need.Roles) > 0) }

// usualReplay is how far back the rehearsal goes when nobody says.
const usualReplay = 7 * 24 * time.Hour

// Rehearses is how far back the rehearsal goes that people are shown.
func (p Publishing) Rehearses() time.Duration { return cmp.Or(time.Duration(p.Replay), usualReplay) }

// A Shift is what another version means for the keys of one profile: the tools that they are shown no more, and those they are shown new.
type Shift struct {
	Profile string   `json:"profile"`
	Keys    int      `json:"keys"`           // live ones of that profile, agents of issuers with them
	Gone    bool     `json:"gone,omitempty"` // the profile is not in the document any more
	Loses   []string `json:"loses,omitempty"`
	Gains   []string `json:"gains,omitempty"`
}

// String says it in one line for people.
func (s Shift) String() string {
	name := cmp.Or(s.Profile, Scoped)
	who := fmt.Sprintf("%d keys of the profile %s", s.Keys, name)
	if s.Keys == 1 {
		who = "1 key of the profile " + name
	}
	var what []string
	if s.Gone {
		what = append(what, "the document has no such profile: they may call nothing")
	}
	if len(s.Loses) > 0 {
		what = append(what, fmt.Sprintf("%d tools fewer: %s", len(s.Loses), someOf(s.Loses)))
	}
	if len(s.Gains) > 0 {
		what = append(what, fmt.Sprintf("%d tools more: %s", len(s.Gains), someOf(s.Gains)))
	}
	return who + ": " + strings.Join(what, "; ")
}

// someNames is how many names a line holds.
const someNames = 5

func someOf(names []string) string {
	if more := len(names) - someNames; more > 0 {
		return strings.Join(names[:someNames], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

// Shifts says what a policy in place of another means for the profiles in use, which are counted by name; before may be nil, and then
// nobody was shown anything. Profiles for which nothing changes are left out. What else the policies say of a call is for a rehearsal.
func Shifts(before, after *Policy, registry *tools.Registry, inUse map[string]int) []Shift {
	var all []Shift
	for _, profile := range slices.Sorted(maps.Keys(inUse)) {
		s := Shift{Profile: profile, Keys: inUse[profile]}
		_, is := after.Profile(profile)
		s.Gone = !is && profile != ""
		for _, t := range registry.All() {
			had, has := before != nil && before.Shown(profile, t), after.Shown(profile, t)
			switch {
			case had && !has:
				s.Loses = append(s.Loses, t.Name)
			case has && !had:
				s.Gains = append(s.Gains, t.Name)
			}
		}
		if s.Gone || len(s.Loses)+len(s.Gains) > 0 {
			all = append(all, s)
		}
	}
	return all
}
