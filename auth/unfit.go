package auth

// Unfit says that something cannot be stored as it is described. Its texts are ours and repeat nothing of what was sent.
type Unfit struct {
	Field    string // of the description
	Problem  string // to be read after the field: "is empty"
	Expected string // what fits
}

func (e *Unfit) Error() string {
	return "the " + e.Field + " " + e.Problem + "; expected: " + e.Expected
}

// Beyond says that scopes were to be given which somebody does not hold.
type Beyond struct {
	Who     string // owner
	Missing []Scope
}

func (e *Beyond) Error() string { return "the " + e.Who + " does not hold " + joinScopes(e.Missing) }
