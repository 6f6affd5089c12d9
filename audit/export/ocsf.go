package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/audit"
)

// What stands in every event (OCSF 1.3.0: category Application Activity, class API Activity).
const (
	schemaVersion = "1.3.0"
	category      = 6
	class         = 6003
	product       = "dtcgate"
	logName       = "dtcgate.audit"
)

// Values of OCSF's enumerations, of activity_id, status_id, severity_id and user.type_id.
const (
	unknown = 0
	other   = 99

	activityCreate, activityRead, activityUpdate, activityDelete = 1, 2, 3, 4

	statusSuccess, statusFailure = 1, 2

	severityInformational, severityLow, severityMedium, severityHigh = 1, 2, 3, 4

	typeUser, typeAdmin, typeSystem = 1, 2, 3
)

// An Event is an entry in OCSF's words, as far as they go. The names of the members are the schema's.
type Event struct {
	ActivityID   int        `json:"activity_id"`
	ActivityName string     `json:"activity_name"`
	CategoryUID  int        `json:"category_uid"`
	CategoryName string     `json:"category_name"`
	ClassUID     int        `json:"class_uid"`
	ClassName    string     `json:"class_name"`
	TypeUID      int        `json:"type_uid"` // class_uid * 100 + activity_id
	Time         int64      `json:"time"`     // unix milliseconds
	SeverityID   int        `json:"severity_id"`
	StatusID     int        `json:"status_id"`
	Status       string     `json:"status,omitempty"`      // as the log has it
	StatusCode   string     `json:"status_code,omitempty"` // error code of a refusal
	Message      string     `json:"message"`
	Metadata     metadata   `json:"metadata"`
	Actor        actor      `json:"actor"`
	API          api        `json:"api"`
	SrcEndpoint  endpoint   `json:"src_endpoint"`
	Resources    []resource `json:"resources,omitempty"`
	Unmapped     unmapped   `json:"unmapped"`
}

type metadata struct {
	Version        string    `json:"version"`
	UID            string    `json:"uid"`      // the entry's id
	Sequence       int64     `json:"sequence"` // its number: gapless from 1
	EventCode      string    `json:"event_code"`
	LogName        string    `json:"log_name"`
	OriginalTime   time.Time `json:"original_time"`
	CorrelationUID string    `json:"correlation_uid,omitempty"` // the call's id
	Product        named     `json:"product"`
}

type named struct {
	Name       string `json:"name"`
	VendorName string `json:"vendor_name,omitempty"`
}

type actor struct {
	User           user            `json:"user"`
	Authorizations []authorization `json:"authorizations,omitempty"`
}

type user struct {
	UID    string `json:"uid"`
	Type   string `json:"type"`
	TypeID int    `json:"type_id"`
	Org    *org   `json:"org,omitempty"` // the merchant
}

type org struct {
	UID string `json:"uid"`
}

// authorization is the rule of the policy that decided.
type authorization struct {
	Decision string `json:"decision,omitempty"`
	Policy   struct {
		UID     string `json:"uid"`
		Version string `json:"version,omitempty"`
	} `json:"policy"`
}

type api struct {
	Operation string    `json:"operation"`
	Service   named     `json:"service"`
	Request   *request  `json:"request,omitempty"`
	Response  *response `json:"response,omitempty"`
}

type request struct {
	UID string `json:"uid"`
}

type response struct {
	Error string `json:"error"`
}

// endpoint has one of its members at least.
type endpoint struct {
	IP       string `json:"ip,omitempty"`
	Hostname string `json:"hostname,omitempty"`
	SvcName  string `json:"svc_name,omitempty"`
}

type resource struct {
	UID  string `json:"uid"`
	Type string `json:"type,omitempty"`
}

// unmapped is what the schema has no words for: the whole entry, in the bytes that are hashed into the log's tree.
type unmapped struct {
	Entry    json.RawMessage   `json:"entry,omitempty"`
	Personal map[string]string `json:"personal,omitempty"`
}

// Map gives an entry as an event.
func Map(c audit.Copy) Event {
	id, name := activity(c.Entry)
	e := Event{
		ActivityID: id, ActivityName: name, CategoryUID: category, CategoryName: "Application Activity", ClassUID: class, ClassName: "API Activity",
		TypeUID: class*100 + id, Time: c.At.UnixMilli(), SeverityID: severity(c.Entry), StatusID: statusID(c.Status), Status: c.Status, StatusCode: c.Code,
		Message: summary(c.Entry), Actor: actorOf(c.Entry), SrcEndpoint: source(c.Entry), Resources: resources(c.Resource),
		API: api{Operation: operation(c.Entry), Service: named{Name: product}},
		Metadata: metadata{
			Version: schemaVersion, UID: c.ID, Sequence: c.Seq, EventCode: c.Event, LogName: logName, OriginalTime: c.At, CorrelationUID: c.CallID,
			Product: named{Name: product, VendorName: product},
		},
		Unmapped: unmapped{Entry: json.RawMessage(c.Body), Personal: c.Personal},
	}
	if c.CallID != "" {
		e.API.Request = &request{c.CallID}
	}
	if c.Code != "" {
		e.API.Response = &response{c.Code}
	}
	return e
}

// Lines are entries as events in JSON, one a line.
func Lines(entries []audit.Copy) ([]byte, error) {
	var b bytes.Buffer
	for _, e := range entries {
		line, err := json.Marshal(Map(e))
		if err != nil {
			return nil, fmt.Errorf("mapping entry %d: %w", e.Seq, err)
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}

// operation is the tool of a call, or what else happened.
func operation(e audit.Entry) string {
	if e.Tool != "" {
		return e.Tool
	}
	return e.Event
}

func summary(e audit.Entry) string {
	parts := []string{e.Event}
	for _, part := range []string{e.Tool, e.Status, e.Code} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " ")
}

// activities are the words of tools (dtc_VERB_…) and of events (subject.VERB) that one of OCSF's four activities fits. All others are Other,
// under their own name.
var activities = map[string]int{
	"get": activityRead, "list": activityRead, "search": activityRead, "preview": activityRead, "preflight": activityRead, "whoami": activityRead,
	"read": activityRead, "explained": activityRead, "checked": activityRead, "exported": activityRead,
	"create": activityCreate, "add": activityCreate, "draft": activityCreate, "added": activityCreate, "minted": activityCreate, "asked": activityCreate,
	"requested": activityCreate, "proposed": activityCreate, "delegated": activityCreate, "linked": activityCreate, "invited": activityCreate,
	"update": activityUpdate, "set": activityUpdate, "adjust": activityUpdate, "changed": activityUpdate, "put": activityUpdate, "roles": activityUpdate,
	"rotated": activityUpdate,
	"deleted": activityDelete, "removed": activityDelete, "revoked": activityDelete, "erased": activityDelete, "unlinked": activityDelete, "pruned": activityDelete,
}

var activityNames = map[int]string{activityCreate: "Create", activityRead: "Read", activityUpdate: "Update", activityDelete: "Delete"}

func activity(e audit.Entry) (id int, name string) {
	_, verb, dotted := strings.Cut(e.Event, ".")
	if tool, ok := strings.CutPrefix(e.Tool, "dtc_"); ok && (!dotted || e.Event == "call.resumed") {
		verb, _, _ = strings.Cut(tool, "_")
	}
	if id := activities[verb]; id != 0 {
		return id, activityNames[id]
	}
	return other, operation(e)
}

func statusID(status string) int {
	switch status {
	case "":
		return unknown
	case "done", "dry_run", "replayed", "succeeded":
		return statusSuccess
	case "refused", "failed":
		return statusFailure
	}
	return other // it waits
}

// grave are the subjects of events that change who may do what.
var grave = map[string]bool{"key": true, "jwt": true, "role": true, "person": true, "policy": true, "passkey": true, "session": true, "trust": true, "webhook": true}

// severity is what a change of the record itself (high) or of who may do what (medium) deserves, and what was refused (low).
func severity(e audit.Entry) int {
	subject, verb, _ := strings.Cut(e.Event, ".")
	switch {
	case subject == "audit":
		return severityHigh
	case grave[subject] && activities[verb] != activityRead:
		return severityMedium
	case statusID(e.Status) == statusFailure:
		return severityLow
	}
	return severityInformational
}

func actorOf(e audit.Entry) actor {
	a := actor{User: user{UID: e.Actor, Type: "System", TypeID: typeSystem}}
	kind, _, _ := strings.Cut(e.Actor, ":")
	switch kind {
	case "person":
		a.User.Type, a.User.TypeID = "User", typeUser
	case "operator":
		a.User.Type, a.User.TypeID = "Admin", typeAdmin
	case "key", "jwt", "subtoken":
		a.User.Type, a.User.TypeID = "Agent", other
	case "":
		a.User.UID, a.User.Type, a.User.TypeID = "unknown", "Unknown", unknown
	}
	if e.Merchant != "" {
		a.User.Org = &org{e.Merchant}
	}
	if e.PolicyRule != "" {
		by := authorization{Decision: e.Status}
		by.Policy.UID = e.PolicyRule
		if e.PolicyVersion > 0 {
			by.Policy.Version = strconv.FormatInt(e.PolicyVersion, 10)
		}
		a.Authorizations = []authorization{by}
	}
	return a
}

func source(e audit.Entry) endpoint {
	if ip, err := netip.ParseAddr(e.Source); err == nil {
		return endpoint{IP: ip.String(), SvcName: e.Transport}
	}
	if e.Source == "" && e.Transport == "" {
		return endpoint{SvcName: product}
	}
	return endpoint{Hostname: e.Source, SvcName: e.Transport}
}

func resources(about string) []resource {
	if about == "" {
		return nil
	}
	kind, _, ok := strings.Cut(about, ":")
	if !ok {
		kind = ""
	}
	return []resource{{UID: about, Type: kind}}
}
