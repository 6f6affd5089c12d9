// Package strict reads YAML written by people, strictly.
package strict

// A Problem is one thing wrong with a document.
type Problem struct {
	Line       int    `json:"line"`
	Column     int    `json:"column"`
	Path       string `json:"path"`
	Problem    string `json:"problem"`
	Expected   string `json:"expected"`
	Suggestion string `json:"suggestion"`
}

// Suggest gives the nearest of some words, "" when nothing is near.
func Suggest(word string, among []string) string { return "" }
