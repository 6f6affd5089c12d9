package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Files of proof are JSON with one spelling: Write makes it, and Read takes nothing else. A member that is unknown, named
// twice or in other letters, or a hash in another base64 would be read by one program and not by the next, so the file is
// written again from what was read and must come out the same, byte for byte. A change of the format is a new version.

// MaxProof is how many bytes a file of proof may have.
const MaxProof = 16 << 20

// errSpelling says that a file is not what Write makes of what it says.
var errSpelling = errors.New("it is not spelled as dtcgate writes it: members, their order, blanks and line ends must be as they were; use the file as it came")

// Write gives the bytes of a file of proof, a Receipt or a Consistency.
func Write(proof any) ([]byte, error) {
	b, err := json.MarshalIndent(proof, "", " ")
	if err != nil {
		return nil, fmt.Errorf("writing a proof: %w", err)
	}
	if len(b) >= MaxProof {
		return nil, fmt.Errorf("writing a proof: it has %d bytes and may have %d", len(b), MaxProof)
	}
	return append([]byte(visible(string(b))), '\n'), nil
}

// Read reads a file of proof: it gives a Receipt or a Consistency, of which nothing is checked yet.
func Read(file []byte) (any, error) {
	if len(file) > MaxProof {
		return nil, fmt.Errorf("it has more than %d bytes", MaxProof)
	}
	var kind struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(file, &kind); err != nil {
		return nil, fmt.Errorf("it is no JSON: %w", err)
	}
	switch kind.Format {
	case FormatReceipt:
		return read[Receipt](file)
	case FormatConsistency:
		return read[Consistency](file)
	}
	return nil, fmt.Errorf("its format %.40q is neither %s nor %s", kind.Format, FormatReceipt, FormatConsistency)
}

func read[T any](file []byte) (any, error) {
	var proof T
	if err := json.Unmarshal(file, &proof); err != nil {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	again, err := Write(proof)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, file) {
		return nil, errSpelling
	}
	return proof, nil
}
