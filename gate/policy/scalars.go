package policy

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
)

// A Duration is written in one unit: 30m, 24h, 7d.
type Duration time.Duration

var durationForm = regexp.MustCompile(`^([1-9][0-9]{0,5})([smhd])$`)

var units = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	parts := durationForm.FindStringSubmatch(string(text))
	if parts == nil {
		return strict.Problem{Problem: "is no duration", Expected: "a whole number with a unit: 30m, 24h, 7d"}
	}
	n, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return err
	}
	*d = Duration(time.Duration(n) * units[parts[2]])
	return nil
}

// MarshalText writes a duration in the largest unit that fits.
func (d Duration) MarshalText() ([]byte, error) {
	for _, unit := range []string{"d", "h", "m"} {
		if t := time.Duration(d); t != 0 && t%units[unit] == 0 {
			return fmt.Appendf(nil, "%d%s", t/units[unit], unit), nil
		}
	}
	return fmt.Appendf(nil, "%ds", time.Duration(d)/time.Second), nil
}

// A ClockTime is a time of day in minutes since midnight, written as 21:00.
type ClockTime int

var clockForm = regexp.MustCompile(`^([01][0-9]|2[0-3]):([0-5][0-9])$`)

// UnmarshalText reads a time of day.
func (c *ClockTime) UnmarshalText(text []byte) error {
	parts := clockForm.FindStringSubmatch(string(text))
	if parts == nil {
		return strict.Problem{Problem: "is no time of day", Expected: `hours and minutes in quotes, "08:00"`}
	}
	hours, _ := strconv.Atoi(parts[1])   // two digits
	minutes, _ := strconv.Atoi(parts[2]) // two digits
	*c = ClockTime(60*hours + minutes)
	return nil
}

// MarshalText writes a time of day.
func (c ClockTime) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%02d:%02d", c/60, c%60), nil
}

// UnmarshalYAML reads a ceiling in any of its three forms.
func (c *Ceiling) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.MappingNode {
		c.Vector = &Vector{}
		return strict.DecodeNode(n, c.Vector)
	}
	var text string
	if err := strict.DecodeNode(n, &text); err != nil {
		return err
	}
	level, err := auth.ParseLevel(text)
	if err != nil {
		return strict.Problem{Problem: "is no ceiling", Expected: "low, medium, high, L0 to L7, or a vector such as {undo: 1, data: 2}"}
	}
	c.Level = &level
	return nil
}

// MarshalYAML writes a ceiling in the form in which it was meant.
func (c Ceiling) MarshalYAML() (any, error) {
	if c.Vector != nil {
		return c.Vector, nil
	}
	if c.Level != nil {
		return c.Level.String(), nil
	}
	return nil, nil
}

// MarshalJSON writes a ceiling as MarshalYAML does.
func (c Ceiling) MarshalJSON() ([]byte, error) {
	form, err := c.MarshalYAML()
	if err != nil {
		return nil, err
	}
	return json.Marshal(form)
}
