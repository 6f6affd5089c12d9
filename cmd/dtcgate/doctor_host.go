package main

import (
	"context"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/dtcgate/dtcgate/auth"
)

func lookVersion(context.Context, *patient) symptom {
	if releaseName() == "(devel)" || releaseName() == "" {
		return warn("Use a released build in production: its version stands in the log.", "a build without a version, %s", runtime.Version())
	}
	return ok("%s, %s", releaseName(), runtime.Version())
}

// minFiles is how many files a server may want open at once: connections of agents and people, of the database, and files.
const minFiles = 4096

func lookLimits(context.Context, *patient) symptom {
	files, known := openFiles()
	switch {
	case known && files < minFiles:
		return warn("Raise it: LimitNOFILE= of the systemd unit, or ulimit -n.", "%d files may be open at once", files)
	case os.Getenv("GOMEMLIMIT") != "" && debug.SetMemoryLimit(-1) < 64<<20:
		return warn("Give it 64 MiB or more, or leave it out.", "GOMEMLIMIT is %s", os.Getenv("GOMEMLIMIT"))
	}
	return ok("%d files may be open at once; GOMEMLIMIT %s", files, limitName())
}

func limitName() string {
	if text := os.Getenv("GOMEMLIMIT"); text != "" {
		return text
	}
	return "1GiB, as nobody says another"
}

// lookAddresses asks who can reach a server with these flags.
func lookAddresses(_ context.Context, p *patient) symptom {
	n, err := p.flags.check()
	if err != nil {
		return fail("Give doctor the flags and variables that the server is given.", "a server would not start: %v", err)
	}
	host, _, _ := net.SplitHostPort(p.flags.Listen)
	beyond := host != "localhost" && !thisMachine(host)
	everybody := slices.ContainsFunc(slices.Concat(n.Agents, n.Admins), func(x netip.Prefix) bool { return x.Bits() == 0 })
	switch {
	case slices.ContainsFunc(n.Admins, func(x netip.Prefix) bool { return x.Bits() == 0 }):
		return fail("Name the networks of those who administer.", "the admin API is served to everybody")
	case p.flags.Dev:
		return warn("Leave --dev out in production.", "--dev prints secrets")
	case beyond && p.flags.PublicURL == "":
		return warn("There is no TLS in the server: put a proxy in front, let only it reach the port, and say its address with --public-url https://…", "%s is reached from other machines, as it stands without encryption", p.flags.Listen)
	case beyond && len(n.Proxies) == 0:
		return warn("Name the proxy with --trusted-proxies, or all callers seem to be the proxy.", "%s is reached from other machines, and no proxy is trusted", p.flags.Listen)
	case everybody:
		return warn("Name the networks that agents call from, if they are known.", "agents may call from everywhere")
	}
	return ok("%s; agents from %s, admins from %s", p.flags.Listen, n.Agents, shownNetworks(n.Admins))
}

func shownNetworks(n auth.Networks) string {
	if len(n) == 0 {
		return "nowhere"
	}
	return n.String()
}

func lookSettings(_ context.Context, p *patient) symptom {
	settings, err := readConfig(p.flags.Config)
	switch {
	case err != nil:
		return fail("Correct the file.", "%v", err)
	case p.flags.PublicURL == "" && (len(settings.Issuers) > 0 || len(settings.Providers) > 0):
		return fail("Say --public-url https://… .", "%s names issuers or providers, and there is no public address", p.flags.Config)
	case p.flags.Config == "":
		return ok("no --config")
	}
	return ok("%s: %d issuers, %d providers", p.flags.Config, len(settings.Issuers), len(settings.Providers))
}
