package auth

import (
	"errors"
	"fmt"
	"net/netip"
)

// Networks are ranges of addresses.
type Networks []netip.Prefix

// ParseNetworks reads CIDRs such as 10.0.0.0/8.
func ParseNetworks(texts []string) (Networks, error) {
	var all Networks
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil || p != p.Masked() {
			return nil, fmt.Errorf("%q is not a network such as 10.0.0.0/8: %w", text, errors.Join(err))
		}
		all = append(all, p)
	}
	return all, nil
}

// Contain reports whether an address is in one of the ranges.
func (n Networks) Contain(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range n {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
