package server

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/tools"
)

// maxBody bounds a request's body, in bytes. The largest call there is (a campaign with its texts) has a hundredth of it.
const maxBody = 1 << 20

// checkEdge refuses requests that a web page made a browser send: ones for a name that was pointed at this machine (DNS
// rebinding), and ones from another origin.
func (s *Server) checkEdge(r *http.Request) error {
	if !s.allowedHost(r) {
		return tools.Refuse(codeHost, "Call 127.0.0.1 or localhost, or have the operator allow this name with --allowed-hosts.",
			"This server is not reachable under that Host.")
	}
	if err := s.origins.Check(r); err != nil {
		return tools.Refuse(codeOrigin, "Call from a program, or from a page of this server.", "Requests from pages of other origins are refused.")
	}
	return nil
}

// allowedHost reports whether the Host of a request fits the address that it arrived at. Only loopback addresses are
// held to it: there a browser on the same machine gets further than anybody else can.
func (s *Server) allowedHost(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || !onLoopback(local) {
		return true
	}
	host := hostName(r.Host)
	return ownHost(host) || slices.Contains(s.hosts, host)
}

func onLoopback(local net.Addr) bool {
	if tcp, ok := local.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().IsLoopback()
	}
	at, err := netip.ParseAddrPort(local.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// ownHost reports whether a host name or address is this machine's own.
func ownHost(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// hostName is the name or address in a Host header, without its port, in lower case.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

func hostNames(allowed []string) ([]string, error) {
	var names []string
	for _, a := range allowed {
		name := hostName(a)
		if name == "" || strings.ContainsAny(a, "/*@ ") {
			return nil, fmt.Errorf("allowed host %q is not a host name, such as gate.example.com", a)
		}
		names = append(names, name)
	}
	return names, nil
}

// body reads a request's body: at most maxBody of plain JSON. An empty one is empty. Compressed bodies are refused: a
// few bytes of them may be gigabytes.
func body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, tools.Refuse(codeMedia, "Send the body as it is, without Content-Encoding.", "Compressed bodies are not read.")
	}
	raw, err := readAll(w, r)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) || r.ContentLength > maxBody {
		return nil, tools.Refuse(codeTooLarge, "Send less in one call.", "The body is larger than %d bytes.", maxBody)
	}
	if err != nil {
		return nil, tools.Refuse(codeMalformed, "Send the request again, whole.", "The body ended before it was complete.")
	}
	if len(raw) > 0 && !isJSON(r.Header.Get("Content-Type")) {
		return nil, tools.Refuse(codeMedia, "Send Content-Type: application/json.", "A body must be JSON and say so.")
	}
	return raw, nil
}

// believed is the length of a body, in bytes, that is made room for before it has come. Nearly every call is shorter.
const believed = 8 << 10

// readAll reads a body to its end, which a body of a length that is told has there: net/http holds it to that. A longer one takes room
// as it comes: a thousand clients who tell of a megabyte and send a byte a second would take a gigabyte.
func readAll(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength < 0 || r.ContentLength > believed {
		return io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	}
	raw := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, raw)
	return raw, err
}

func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "application/json"
}
