package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// release is set by the Makefile, with -ldflags -X.
var release string

type version struct{ asJSON }

// releaseName is the version for people and clients; "(devel)" when nobody said.
func releaseName() string {
	info, ok := debug.ReadBuildInfo()
	if release != "" || !ok {
		return release
	}
	return info.Main.Version
}

func (c *version) Run(a *app) error {
	v := struct {
		Version string `json:"version"`
		Go      string `json:"go"`
		System  string `json:"system"`
	}{releaseName(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	return c.print(a, v, func(w io.Writer) { fmt.Fprintf(w, "dtcgate %s (%s, %s)\n", v.Version, v.Go, v.System) })
}
