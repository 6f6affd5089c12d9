package condition

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Thresholds are the constants that attributes are compared with, sorted, by the attribute's path. Between two neighbours no comparison
// changes its answer, so that a value at each, one below and one above stand for all. Those of context.trust are in thousandths, like
// Request.Trust, rounded down.
func (s *Set) Thresholds() map[string][]int64 {
	all := map[string][]int64{}
	for _, p := range s.policies {
		for path, constants := range p.comparisons().constants {
			all[path] = append(all[path], constants...)
		}
	}
	for path, constants := range all {
		slices.Sort(constants)
		all[path] = slices.Compact(constants)
	}
	return all
}

// Outside lists those of Depends that a search over profiles, tools, taint, trust and the thresholds of effects does not cover: other
// facts of a call, and numbers that the policy calculates with instead of comparing them with constants. Such a policy may answer either way.
func (p *Policy) Outside() []string {
	all := map[string]bool{}
	for path := range p.comparisons().calculated {
		all[path] = true
	}
	for _, path := range p.Depends() {
		if !foreseeable(path) {
			all[path] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func foreseeable(path string) bool {
	return strings.HasPrefix(path, "context.effect.") || slices.Contains([]string{"action", "principal.profile", "context.tainted", "context.trust"}, path)
}

// currency is the one text of an effect that is not one of a few words.
const currency = "context.effect.currency"

// comparisons is how a policy uses numbers.
type comparisons struct {
	constants  map[string][]int64
	calculated map[string]bool // used in another way than in comparison with constants
	currencies []string        // that context.effect.currency is compared with
}

func (p *Policy) comparisons() *comparisons {
	c := &comparisons{constants: map[string][]int64{}, calculated: map[string]bool{}}
	for _, condition := range p.ast.Conditions {
		xast.Inspect(xast.NewNode(condition.Body), c.look)
	}
	return c
}

func (c *comparisons) look(n xast.IsNode) bool {
	if left, right, ok := compared(n); ok && (c.note(left, right) || c.note(right, left)) {
		return false
	}
	if path, ok := pathOf(n); ok {
		if name := strings.Join(path, "."); numeric(path) || name == currency {
			c.calculated[name] = true
		}
		return false
	}
	_, has := n.(xast.NodeTypeHas)
	return !has
}

// note takes a comparison of an attribute with constants.
func (c *comparisons) note(attribute, constants xast.IsNode) bool {
	path, ok := pathOf(attribute)
	literals, literal := literalsOf(constants)
	if !ok || !literal {
		return false
	}
	name := strings.Join(path, ".")
	for _, l := range literals {
		if value, ok := threshold(l); ok {
			c.constants[name] = append(c.constants[name], value)
		}
		if text, ok := l.(types.String); ok && name == currency {
			c.currencies = append(c.currencies, string(text))
		}
	}
	return true
}

func threshold(v types.Value) (int64, bool) {
	switch v := v.(type) {
	case types.Long:
		return int64(v), true
	case types.Decimal:
		return int64(math.Floor(math.Round(v.Float()*10_000) / 10)), true // a decimal has four places
	}
	return 0, false
}

// compared gives the two sides of a comparison; of a set and what it may contain the set second.
func compared(n xast.IsNode) (left, right xast.IsNode, ok bool) {
	switch n := n.(type) {
	case xast.NodeTypeEquals:
		return n.Left, n.Right, true
	case xast.NodeTypeNotEquals:
		return n.Left, n.Right, true
	case xast.NodeTypeLessThan:
		return n.Left, n.Right, true
	case xast.NodeTypeLessThanOrEqual:
		return n.Left, n.Right, true
	case xast.NodeTypeGreaterThan:
		return n.Left, n.Right, true
	case xast.NodeTypeGreaterThanOrEqual:
		return n.Left, n.Right, true
	case xast.NodeTypeContains:
		return n.Right, n.Left, true
	case xast.NodeTypeExtensionCall:
		if strings.Contains(" lessThan lessThanOrEqual greaterThan greaterThanOrEqual ", " "+string(n.Name)+" ") && len(n.Args) == 2 {
			return n.Args[0], n.Args[1], true
		}
	}
	return nil, nil, false
}

// numeric reports whether a path leads to one of the numbers that are foreseeable.
func numeric(path []string) bool {
	if len(path) == 2 {
		return path[0] == "context" && path[1] == "trust"
	}
	if len(path) != 3 || path[0] != "context" || path[1] != "effect" {
		return false
	}
	m := shapeOf(effectParts).member(path[2])
	return m != nil && m.shape.kind == long
}
