package tools

import "github.com/dtcgate/dtcgate/auth"

// Risk is what a call can do at worst, each part from harmless up. The level is computed from it and never typed.
type Risk struct {
	Undo    int  `json:"undo"`     // 0 nothing to undo, 1 the system undoes it, 2 a person makes it good, 3 cannot be undone
	Blast   int  `json:"blast"`    // 0 nothing outside a draft, 1 one object, 2 up to a stated number, 3 the whole store
	Money   int  `json:"money"`    // 0 none, 1 bounded by a stated cap, 2 bounded only by the arguments
	Touch   int  `json:"touch"`    // customers reached: 0 nobody, 1 one, 2 many
	DataOut int  `json:"data_out"` // 0 public, 1 internal, 2 pseudonymous personal, 3 contact data
	Reach   int  `json:"reach"`    // 0 stays inside, 1 leaves the platform
	Taint   bool `json:"taint"`    // answers carry outsiders' text
}

// Level is the vector as one number, L0 to L7.
func (r Risk) Level() auth.Level {
	switch {
	case r.Undo == 3 && (r.Blast >= 2 || r.Touch == 2 || r.DataOut == 3):
		return 7 // irreversible and wide
	case r.Undo == 3 || r.Money == 2 || r.Touch == 2:
		return 6 // irreversible, open-ended money, or many customers
	case r.Money == 1 || r.Touch == 1 || r.Blast == 3:
		return 5 // money under a cap, one customer, or the whole store
	case r.Undo == 2 || r.Reach == 1 || r.DataOut == 3:
		return 4 // needs a person to make good, leaves the platform, or gives contact data
	case r.Undo == 1 && r.Blast >= 1:
		return 3 // a reversible write
	case r.Undo == 1:
		return 2 // a draft
	case r.DataOut == 2:
		return 1 // a personal read
	}
	return 0
}

// Rehearsed is the risk of a dry run: it reads as much as the call would and has no effect.
func (r Risk) Rehearsed() Risk {
	r.Undo, r.Blast, r.Money, r.Touch, r.Reach = 0, 0, 0, 0, 0
	return r
}
