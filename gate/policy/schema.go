package policy

import _ "embed"

// Schema is the JSON Schema of the document, for editors: completion, and mistakes marked while they are made. It describes the form
// alone; what Review knows more, such as which tools there are, no schema can. It is made from the types and their comments by a test.
//
//go:embed policy.schema.json
var Schema []byte
