package store

// A Border is a place between two steps of which the second may never come, because the process is killed between them. What holds there by
// design is written beside each. Kills at random times meet the narrow ones seldom; a program that is built with the tag failpoints kills
// itself at one of them (border_failpoints.go), so that each is met for certain. In every other build a border is nothing at all.
type Border string

// The borders. A new step that leaves something behind gets one here and a line store.Reach(…) where it lies; `make crash` fails when
// nothing comes past it.
const (
	// Of every transaction.

	CommitBegins Border = "commit-begins" // all is done and nothing stands: nobody may have been told
	CommitEnds   Border = "commit-ends"   // all stands and nobody has been told: a repeat is answered alike

	// Of a call.

	Judged     Border = "judged"      // it was found to be allowed, and nothing is on record
	KeyClaimed Border = "key-claimed" // in the transaction of a write: a repeat would wait, and goes away with it
	Acted      Border = "acted"       // in it, with the effect and without the record
	Recorded   Border = "recorded"    // in it, with both
	ReadDone   Border = "read-done"   // the answer is there, and neither on record nor told

	// Of a job.

	JobClaimed Border = "job-claimed" // in the transaction that begins it
	JobBegun   Border = "job-begun"   // it is running, and the first step was not made
	Stepped    Border = "stepped"     // a step stands, and the next was not made

	// Of a call whose effect is outside. The intent stands before anything is sent.

	Intended Border = "intended" // to be sent, and not sent: whoever takes it up finds out that it was not
	Sent     Border = "sent"     // sent, and what came of it not written down
	Probed   Border = "probed"   // what became of it is known here, and not written down

	// Of people.

	Voted        Border = "voted"        // the vote stands, and no worker was woken: they look by themselves
	Administered Border = "administered" // in the transaction of a change to rights, without its record
	RightsStand  Border = "rights-stand" // a minted key or a revocation stands, and nobody was told

	// Of what carries things on.

	NumbersPlanned Border = "numbers-planned" // entries were given numbers in memory
	NumbersTaken   Border = "numbers-taken"   // in the transaction that stores them, without the tree
	FileWritten    Border = "file-written"    // messages are handed over and not marked: the same file is written again
	MessageClaimed Border = "message-claimed" // a webhook's, and not sent: its lease ends
	MessageSent    Border = "message-sent"    // sent, and not marked: it is sent again under its id
	SweepBetween   Border = "sweep-between"   // between the transactions of a sweep
)

// Borders are all of them.
var Borders = []Border{
	CommitBegins, CommitEnds, Judged, KeyClaimed, Acted, Recorded, ReadDone, JobClaimed, JobBegun, Stepped, Intended, Sent, Probed,
	Voted, Administered, RightsStand, NumbersPlanned, NumbersTaken, FileWritten, MessageClaimed, MessageSent, SweepBetween,
}
