// Package strict reads YAML written by people, strictly.
package strict

// A Problem is one thing that is wrong with a document.
type Problem struct {
	Line       int    `json:"line,omitempty"`
	Column     int    `json:"column,omitempty"`
	Path       string `json:"path,omitempty"`
	Problem    string `json:"problem"`
	Expected   string `json:"expected,omitempty"`
	Suggestion string `json:"suggestion,omitempty"`
}
