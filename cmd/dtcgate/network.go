package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/server"
)

// reach says who may reach a server. It has no default in production: a gate that everybody reaches because nobody
// thought of it is how others were taken over.
type reach struct {
	AgentNetworks  []string `placeholder:"CIDR,…" help:"Networks that agents call from. Required, but with --dev, which serves this machine."`
	AdminNetworks  []string `placeholder:"CIDR,…" help:"Networks that the admin API is served to. Without any it is served to nobody; with --dev to this machine."`
	TrustedProxies []string `placeholder:"CIDR,…" help:"Proxies in front that are believed when they say for whom they ask."`
	ProxyHeader    string   `default:"X-Forwarded-For" enum:"X-Forwarded-For,Forwarded" help:"The header in which they say it (${enum}). The other is ignored."`
}

// thisMachineOnly holds the loopback addresses.
var thisMachineOnly = auth.Networks{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// parse reads the flags. A list with a mistake, and one that would let in everybody by mistake, is refused.
func (r reach) parse(dev bool) (server.Networks, error) {
	n := server.Networks{Header: r.ProxyHeader}
	for _, list := range []struct {
		flag  string
		texts []string
		into  *auth.Networks
	}{
		{"--agent-networks", r.AgentNetworks, &n.Agents},
		{"--admin-networks", r.AdminNetworks, &n.Admins},
		{"--trusted-proxies", r.TrustedProxies, &n.Proxies},
	} {
		var err error
		if *list.into, err = auth.ParseNetworks(list.texts); err != nil {
			return n, fmt.Errorf("%s: %w", list.flag, err)
		}
	}
	for _, p := range n.Proxies {
		if p.Bits() == 0 {
			return n, fmt.Errorf("--trusted-proxies %s believes everybody who makes up a %s header: name the proxies", p, n.Header)
		}
	}
	if dev {
		err := localize(&n)
		return n, err
	}
	if len(n.Agents) == 0 {
		return n, fmt.Errorf("nobody may call: name the networks that agents call from, such as --agent-networks 10.0.0.0/8; for this machine only it is --agent-networks %s", thisMachineOnly)
	}
	return n, nil
}

// localize gives this machine what no flag is about, and refuses networks beyond it.
func localize(n *server.Networks) error {
	for _, list := range []*auth.Networks{&n.Agents, &n.Admins} {
		if len(*list) == 0 {
			*list = thisMachineOnly
		}
		for _, p := range *list {
			if !thisMachineOnly.Contain(p.Addr()) {
				return fmt.Errorf("--dev serves this machine only (%s): %s is not part of it", thisMachineOnly, p)
			}
		}
	}
	if len(n.Proxies) > 0 {
		return errors.New("--dev serves this machine only: it has no --trusted-proxies")
	}
	return nil
}

// writeReach says at the start who is let in.
func writeReach(w io.Writer, n server.Networks) {
	fmt.Fprintf(w, "Agents may call from %s\n", n.Agents)
	if len(n.Admins) == 0 {
		fmt.Fprintf(w, "The admin API is served to nobody: --admin-networks names no network\n")
	} else {
		fmt.Fprintf(w, "The admin API is served to %s\n", n.Admins)
	}
	if len(n.Proxies) > 0 {
		fmt.Fprintf(w, "Callers behind %s are known by %s\n", n.Proxies, n.Header)
	}
}
