package tools

import (
	"slices"
	"strings"
)

// An Object is the names of one thing that a call is about, each type:id: {"ticket:tkt_1", "queue:returns/tkt_1"}. The names of a set
// are patterns ("ticket:*", "queue:returns/*"), each of a set that holds all of it. A caller may reach an object when, link by link,
// one of its names is allowed, and none is denied.
//
// Names are for judging and are not shown: a name that the caller did not write may tell what it is not to know.
type Object []string

// ownKinds are what resources are that are the caller's own and not the merchant's. No limit on objects is about them: a caller may
// always look at its jobs, stop them and ask who it is.
var ownKinds = []string{"self", "job", "effect", "sub_token"}

// Own reports whether a call of the tool is about what is the caller's own. It is as the tool has it: no argument makes another's object
// the caller's.
func (s Spec) Own() bool {
	kind, _, _ := strings.Cut(s.Resource, ":")
	return slices.Contains(ownKinds, kind)
}

// objects are those of a call that its arguments alone name, one for each name.
func (s Spec) objects(args []byte) []Object {
	if s.Own() {
		return nil
	}
	names := s.ResourcesOf(args)
	all := make([]Object, len(names))
	for i, name := range names {
		all[i] = Object{name}
	}
	return all
}

// about makes the code that names a call's objects. A call of a tool that is not about the caller's own is always about something: what
// has no name is out of reach for whoever is limited.
func (f Func[In, Out]) about(spec Spec, kinds []string) func(*Call) ([]Object, error) {
	if f.Objects == nil {
		return func(c *Call) ([]Object, error) { return spec.objects(c.Args), nil }
	}
	return func(c *Call) ([]Object, error) {
		all, err := with(c, func(in In) ([]Object, error) { return f.Objects(c, in) })
		if err == nil && len(all) == 0 {
			all = []Object{{}}
		}
		if err == nil {
			err = known(all, kinds)
		}
		return all, err
	}
}

// shown makes the code that names the objects of an answer of Read; nil when it shows none.
func (f Func[In, Out]) shown() func(answer any) []Object {
	if f.Rows == nil {
		return nil
	}
	return func(answer any) []Object { return f.Rows(answer.(Out)) }
}
