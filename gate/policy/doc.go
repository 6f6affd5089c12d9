// Package policy is what a merchant's operators say about their agents: a document, its versions, and the decision that follows from it.
//
// A Document is YAML with profiles, conditions, approval rules, limits, trust and a freeze calendar. New makes it a Policy, once; from there on
// a decision reads no file and no table. Decide is a pure function of a Policy and the Facts of one call: the gate asks it of a call that is
// made, of one that somebody wants explained, of one that is planned, and of those that are on record, under another version. There is no
// second place in which a policy is understood.
//
// The order of judgement is the order of checks (decide.go). The first refusal wins, and a verdict names the rule that made it:
// profiles.support, freezes.peak, conditions.tainted, approvals.big-send. What cannot be decided is refused.
//
// Versions are rows that never change (versions.go). The one in force is a column of the merchant, which is read with every principal, in
// the transaction of the call.
package policy
