package approvals

import "slices"

// A shortfall is what the consents given so far lack.
type shortfall struct {
	people int        // how many more it takes at least
	places [][]string // the required roles that nobody fills: of each, the roles of which one more person would do
}

// met reports whether nothing is lacking.
func (s shortfall) met() bool { return s.people == 0 }

// short says what is lacking when people who have these roles have said yes: enough of them, and for each required role one who stands for
// no other. Which of them stands for which is a maximum matching in a bipartite graph, found by augmenting paths (H. W. Kuhn, The
// Hungarian method for the assignment problem, 1955).
func (r Rule) short(yes [][]string) shortfall {
	s := seating{required: r.Roles, held: yes, role: make([]int, len(yes))}
	for i := range s.role {
		s.role[i] = nobody
	}
	var lacks shortfall
	for i := range r.Roles {
		asked := make([]bool, len(yes))
		if !s.seat(i, asked) {
			lacks.places = append(lacks.places, s.alternatives(i, asked))
		}
	}
	lacks.people = max(r.least()-len(yes), len(lacks.places))
	return lacks
}

// nobody is the required role of somebody who stands for none.
const nobody = -1

// A seating is who stands for which required role.
type seating struct {
	required []string
	held     [][]string // the roles of each person
	role     []int      // that each person stands for, as an index of required
}

// seat finds somebody for a required role, whom another may have to follow in theirs. Nobody is asked twice.
func (s seating) seat(role int, asked []bool) bool {
	for person, held := range s.held {
		if asked[person] || !slices.Contains(held, s.required[role]) {
			continue
		}
		asked[person] = true
		if s.role[person] == nobody || s.seat(s.role[person], asked) {
			s.role[person] = role
			return true
		}
	}
	return false
}

// alternatives are the roles of which one more person would fill a role for which all who were asked could not be had: whoever takes the
// place of one of them sets that one free.
func (s seating) alternatives(role int, asked []bool) []string {
	names := []string{s.required[role]}
	for person, was := range asked {
		if was && !slices.Contains(names, s.required[s.role[person]]) {
			names = append(names, s.required[s.role[person]])
		}
	}
	return names
}
