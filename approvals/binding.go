package approvals

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/tools"
)

// A Binding is everything that decides what an approved call does. Its hash stands on every screen, in the agent's
// answer and in the record; a change of any field is another hash.
type Binding struct {
	V               int      `json:"v"`
	Merchant        string   `json:"merchant"`
	Tool            string   `json:"tool"`
	SchemaHash      string   `json:"tool_schema_sha256"`
	ArgsHash        string   `json:"args_sha256"`
	Chain           []string `json:"principal_chain"`
	PolicyVersion   int64    `json:"policy_version"`
	PolicyRule      string   `json:"policy_rule"`
	RuleHash        string   `json:"rule_sha256,omitempty"` // of whose consent it takes; none in bindings of earlier versions
	Resource        string   `json:"resource"`
	ResourceVersion string   `json:"resource_version"`
	EffectHash      string   `json:"effect_sha256"`
	IdempotencyKey  string   `json:"idempotency_key"`
}

// Hash is SHA-256 over a domain tag and the canonical JSON of the binding, in hex.
func (b Binding) Hash() (string, error) {
	raw, err := json.Marshal(b)
	if err != nil {
		return "", fmt.Errorf("writing the binding: %w", err)
	}
	canonical, err := schemas.Canonical(raw)
	if err != nil {
		return "", fmt.Errorf("writing the binding: %w", err)
	}
	sum := sha256.Sum256(append([]byte("dtcgate-approval-v1\x00"), canonical...))
	return hex.EncodeToString(sum[:]), nil
}

// Fingerprint is the first 48 bits of a binding's hash in the form 7C1F-90AB-33D4, for people to compare.
func Fingerprint(hash string) string {
	if len(hash) < 12 {
		return ""
	}
	h := strings.ToUpper(hash[:12])
	return h[:4] + "-" + h[4:8] + "-" + h[8:]
}

// EffectHash is SHA-256 over the effect as people are shown it, with what the server read beside it.
func EffectHash(p tools.Preview, facts []tools.Fact) (string, error) {
	if len(facts) == 0 {
		return hashOf("effect", p)
	}
	return hashOf("effect", struct {
		Preview tools.Preview `json:"preview"`
		Facts   []tools.Fact  `json:"facts"`
	}{p, facts})
}

// bind puts the rule into the binding, and fills in the hash of it all.
func (r *Request) bind() (err error) {
	if r.Binding.RuleHash, err = r.Rule.hash(); err != nil {
		return err
	}
	r.BindingHash, err = r.Binding.Hash()
	r.Fingerprint = Fingerprint(r.BindingHash)
	return err
}

// Intact reports whether what is stored of r is what was asked: its effect as it was shown and its rule fit the binding, and the binding
// fits its hash.
func (r Request) Intact() bool {
	effect, err := EffectHash(r.Preview, r.Facts)
	if err != nil || effect != r.Binding.EffectHash {
		return false
	}
	binding, err := r.Binding.Hash()
	return err == nil && binding == r.BindingHash && r.holdsRule()
}

// Holds reports whether a stored job is the one that a binding names, in all that both of them say.
func (b Binding) Holds(j Job) bool {
	return j.Merchant == b.Merchant && j.Tool == b.Tool && j.SchemaHash == b.SchemaHash && j.ArgsHash == b.ArgsHash && slices.Equal(j.Chain, b.Chain) &&
		j.Policy == b.PolicyVersion && j.Rule == b.PolicyRule && j.Resource == b.Resource && j.Idempotency == b.IdempotencyKey
}

// holdsRule reports whether the rule is the one that is bound.
func (r Request) holdsRule() bool {
	if r.Binding.RuleHash == "" {
		return reflect.DeepEqual(r.Rule, onePerson(r.Binding.PolicyRule))
	}
	hash, err := r.Rule.hash()
	return err == nil && hash == r.Binding.RuleHash
}
