package trust

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/tools"
)

// A Source is somebody outside who keeps scores too. It is asked about every call, with GET url?agent=key_…, and answers {"score": 72.5}. What
// counts is the lower of its score and ours, so that it can take trust away and never give any.
//
// The secret that it is shown never stands in a policy, and a policy cannot name just any: who may publish one could otherwise
// have each file and variable of the server sent to an address of his own. It names a variable of the environment that begins with
// DTCGATE_TRUST_, and holds the secret, or with _FILE at its end the path of a file that does.
type Source struct {
	URL       string `yaml:"url" json:"url"`                                   // https, or http on this machine
	TimeoutMS int64  `yaml:"timeout_ms,omitempty" json:"timeout_ms,omitempty"` // for all of one question; nothing: 1000
	Header    string `yaml:"header,omitempty" json:"header,omitempty"`         // that carries the secret, as it is; nothing: Authorization, as a Bearer token
	SecretEnv string `yaml:"secret_env,omitempty" json:"secret_env,omitempty"` // such as DTCGATE_TRUST_TOKEN; nothing: it is shown none
	Required  bool   `yaml:"required,omitempty" json:"required,omitempty"`     // without its answer nothing is called at all
}

// Bounds of a question to a source.
const (
	usualTimeout = time.Second
	mostTimeout  = 5 * time.Second
	maxAnswer    = 4 << 10 // bytes
	maxSecret    = 8 << 10 // bytes
	maxAsking    = 16      // questions at once; more wait, within their timeout
)

var (
	secretName = regexp.MustCompile(`^DTCGATE_TRUST_[A-Z0-9_]{1,64}$`)
	headerName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,63}$`)
	fraction   = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)
)

// ErrSource says that a source outside gave no score.
var ErrSource = errors.New("the outside source of trust gave no score")

// A Remote is a source that can be asked. Its methods may be used concurrently. It keeps no answer: a score is asked for again with every call.
type Remote struct {
	url    *url.URL
	source Source
	http   *http.Client
}

// NewRemote makes a source ready to be asked. It asks nothing.
func NewRemote(s Source) (*Remote, error) {
	u, err := auth.ParseOutbound(s.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	client := auth.OutboundClient(u)
	transport := client.Transport.(*http.Transport)
	transport.DisableKeepAlives, transport.MaxConnsPerHost, transport.IdleConnTimeout = false, maxAsking, time.Minute
	return &Remote{url: u, source: s, http: client}, nil
}

// Score asks for the score of an agent. Whatever goes wrong, the error is ErrSource.
func (m *Remote) Score(ctx context.Context, agent string) (Score, error) {
	ctx, cancel := context.WithTimeout(ctx, m.source.timeout())
	defer cancel()
	s, err := m.ask(ctx, agent)
	if err != nil {
		return None, fmt.Errorf("%w: %w", ErrSource, err)
	}
	return s, nil
}

func (s Source) timeout() time.Duration {
	if s.TimeoutMS == 0 {
		return usualTimeout
	}
	return min(time.Duration(s.TimeoutMS)*time.Millisecond, mostTimeout)
}

func (m *Remote) ask(ctx context.Context, agent string) (Score, error) {
	r, err := m.question(ctx, agent)
	if err != nil {
		return None, err
	}
	resp, err := m.http.Do(r)
	if err != nil {
		return None, bare(err)
	}
	defer resp.Body.Close()
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); resp.StatusCode != http.StatusOK || media != "application/json" {
		return None, fmt.Errorf("it answered %d with %.40q, and not 200 with application/json", resp.StatusCode, media)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil || len(raw) > maxAnswer {
		return None, fmt.Errorf("its answer is longer than %d bytes, or broke off", maxAnswer)
	}
	return readAnswer(raw)
}

// bare leaves the address out of an error: it may hold what is nobody's business.
func bare(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		return u.Err
	}
	return err
}

func (m *Remote) question(ctx context.Context, agent string) (*http.Request, error) {
	u := *m.url
	query := u.Query()
	query.Set("agent", agent)
	u.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil || m.source.SecretEnv == "" {
		return r, err
	}
	secret, err := m.source.secret()
	if err != nil {
		return nil, err
	}
	header, value := m.source.Header, secret
	if header == "" {
		header, value = "Authorization", "Bearer "+secret
	}
	r.Header.Set(header, value)
	return r, nil
}

// secret is read for every question, so that one that is changed takes hold at once.
func (s Source) secret() (string, error) {
	if !secretName.MatchString(s.SecretEnv) {
		return "", fmt.Errorf("secret_env must begin with DTCGATE_TRUST_")
	}
	text := os.Getenv(s.SecretEnv)
	if strings.HasSuffix(s.SecretEnv, "_FILE") {
		raw, err := os.ReadFile(text)
		if err != nil || len(raw) > maxSecret {
			return "", fmt.Errorf("the file that %s names cannot be read, or is longer than %d bytes", s.SecretEnv, maxSecret)
		}
		text = string(raw)
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", fmt.Errorf("%s is not set, or holds nothing", s.SecretEnv)
	}
	return text, nil
}

// readAnswer reads {"score": 72.5}: one member, once, a decimal from 0 to 100. What is finer than a thousandth is cut off.
func readAnswer(raw []byte) (Score, error) {
	canonical, err := schemas.Canonical(raw)
	if err != nil {
		return None, fmt.Errorf("its answer is no JSON that can be read in one way only: %w", err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(canonical, &members); err != nil || len(members) != 1 || !fraction.Match(members["score"]) {
		return None, errors.New(`its answer is not {"score": N} with a number of points from 0 to 100, such as 72.5`)
	}
	s, rest, ok := cutScore(string(members["score"]))
	if !ok || s == Full && strings.Trim(rest, "0") != "" {
		return None, errors.New("its score is not from 0 to 100")
	}
	return s, nil
}

// Asked is what a source said about the caller, before the transaction that judges the call. It is a fact of the call like its time, and
// stands on record with it. The zero value is a score of 0.
type Asked struct {
	Score Score  `json:"score"`
	Err   string `json:"error,omitempty"` // why there is none
}

// Ask asks about an agent. What it gives is never older than the call of it.
func (m *Remote) Ask(ctx context.Context, agent string) *Asked {
	s, err := m.Score(ctx, agent)
	if err != nil {
		return &Asked{Err: err.Error()}
	}
	return &Asked{Score: s}
}

// With gives the score that counts: the lower of an agent's own and of what the source said (nil: it was not asked). Where there is a source
// and no answer, known is false: see Stops.
func (r Rules) With(own Score, said *Asked) (s Score, known bool) {
	switch {
	case !r.Used() || r.Source == nil:
		return own, true
	case said == nil || said.Err != "":
		return own, false
	}
	return min(own, said.Score), true
}

// Stops reports whether a call of this risk is refused without an answer of the source: one that reaches outside, or any where the answer
// is required.
func (r Rules) Stops(risk tools.Risk) bool {
	return risk.Reach > 0 || risk.Touch > 0 || r.Source != nil && r.Source.Required
}
