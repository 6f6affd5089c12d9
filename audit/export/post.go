package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/dtcgate/dtcgate/approvals/notify"
	"github.com/dtcgate/dtcgate/auth"
)

// maxAnswer is how many bytes of an answer are read.
const maxAnswer = 64 << 10

// A Refusal is the answer of a receiver that did not take a batch.
type Refusal struct {
	Status int
	After  time.Duration // before that it does not want to be asked again
}

func (r *Refusal) Error() string { return fmt.Sprintf("the receiver answered %d", r.Status) }

// An Address is where batches are posted to.
type Address struct {
	url    *url.URL
	client *http.Client
}

// ParseAddress checks the address of a receiver. It is one that an operator names: public over https, in one of the networks, there over http too, or this
// machine when the address itself says so.
func ParseAddress(text string, networks auth.Networks) (*Address, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("it must be an address such as https://siem.example.com/events, without a user and without #") // and not quoted: it may hold a password
	}
	here := u.Hostname() == "localhost" || auth.HasLoopback(u)
	if u.Scheme == "http" && !here && len(networks) == 0 {
		return nil, fmt.Errorf("%q must be https, or in one of --webhook-networks", u.Redacted())
	}
	return &Address{url: u, client: notify.Client(func(a netip.Addr) bool {
		return u.Scheme == "https" && auth.Public(a) || networks.Contain(a.Unmap()) || here && a.Unmap().IsLoopback()
	})}, nil
}

// post makes one attempt and gives the body of an answer that is a success.
func (a *Address) post(ctx context.Context, body []byte, dress func(*http.Request) error) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("internal")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "dtcgate-audit-export")
	if err := dress(r); err != nil {
		return nil, err
	}
	resp, err := a.client.Do(r)
	if err != nil {
		return nil, errors.New(notify.Problem(err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, &Refusal{Status: resp.StatusCode, After: notify.RetryAfter(resp.Header, time.Now())}
	}
	if err != nil {
		return nil, errors.New(notify.Problem(err))
	}
	return answer, nil
}
