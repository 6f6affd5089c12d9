package dtc

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A publishPageIn holds the whole page: what people agree to is what goes live, and nothing is swapped in between.
type publishPageIn struct {
	Page            string `json:"page" jsonschema:"pattern=^[a-z0-9-]{1\\,60}$,description=Such as home\\, delivery\\, returns or faq"`
	ExpectedVersion int64  `json:"expected_version"`
	Title           string `json:"title" jsonschema:"minLength=1,maxLength=120"`
	Body            string `json:"body_markdown" jsonschema:"minLength=1,maxLength=20000"`
	Asked
}

type publishPageOut struct {
	Page    string `json:"page"`
	URL     string `json:"url"`
	Version int64  `json:"version"`
}

var publishPage = tools.Define(tools.Spec{
	Name: "dtc_publish_page", Path: "store.publish", Title: "Publish a page",
	Description: "Replaces the whole text of an existing store page, for every visitor at once. dry_run shows which lines go. Markdown " +
		"only: no HTML, no invisible characters.",
	Scope: "store:publish", Risk: tools.Risk{Undo: 1, Blast: 3, Reach: 1}, Class: tools.ClassDestructive, Resource: "page:/page",
	Undo: "Publishes the version before again, unless another was published since",
	Example: `{"page":"faq","expected_version":1,"title":"Questions and answers","body_markdown":"# Questions and answers\n\nWrite to us.",` +
		`"reason":"The answers are out of date","idempotency_key":"faq-2026-11"}`,
	Routes: []tools.Route{{Method: "POST", Path: "/pages/{page}/publish"}},
}, tools.Func[publishPageIn, publishPageOut]{
	Preview: previewPublish, Write: publish, Facts: pageFacts,
	Undo: tools.Reversible(keepPage, publishBefore),
})

// page reads the page as it is and holds it to the version that the caller saw.
func (in publishPageIn) page(c *tools.Call) (*shop.Desk, shop.WebPage, error) {
	d, err := desk(c)
	if err != nil {
		return nil, shop.WebPage{}, err
	}
	p, err := d.WebPage(in.Page)
	if err == nil && p.Version != in.ExpectedVersion {
		err = tools.Stale("The page was published since it was looked at.", map[string]any{"expected_version": p.Version, "title": p.Title})
	}
	return d, p, err
}

func previewPublish(c *tools.Call, in publishPageIn) (tools.Preview, error) {
	_, now, err := in.page(c)
	if err != nil {
		return tools.Preview{}, err
	}
	if err := in.check(now); err != nil {
		return tools.Preview{}, err
	}
	p := tools.Preview{
		Summary: fmt.Sprintf("Publish a new text of the page %s, “%s”, in place of version %d", now.Slug, in.Title, now.Version),
		Changes: in.changes(now), Content: in.Title + "\n\n" + in.Body, Version: strconv.FormatInt(now.Version, 10),
	}
	if hosts := hostsIn(in.Body); len(hosts) > 0 {
		p.Warnings = append(p.Warnings, "It links to "+strings.Join(hosts, ", ")+".")
	}
	return p, nil
}

// check refuses what would do something else on the page than what people read here.
func (in publishPageIn) check(now shop.WebPage) error {
	if in.Title == now.Title && in.Body == now.Body {
		return tools.Refuse(tools.Conflict, "Change the title or the text.", "The page has this very title and text already.")
	}
	if strings.ContainsAny(in.Title, "\n\t") {
		return tools.Wrong("title", "holds a line break or a tab", "one line of plain text", "Delivery")
	}
	if err := checkVisible("title", in.Title); err != nil {
		return err
	}
	if err := checkVisible("body_markdown", in.Body); err != nil {
		return err
	}
	return checkMarkdown("body_markdown", in.Body)
}

// maxGone is how much of the lines that go a preview quotes, in bytes.
const maxGone = 2000

// changes quotes the lines that go, because nothing else shows them; those that are new stand in the content.
func (in publishPageIn) changes(now shop.WebPage) []tools.Change {
	object := "page " + now.Slug
	var changes []tools.Change
	if in.Title != now.Title {
		changes = append(changes, tools.Change{Object: object, Field: "title", From: now.Title, To: in.Title})
	}
	if in.Body == now.Body {
		return changes
	}
	from, to := strings.Split(now.Body, "\n"), strings.Split(in.Body, "\n")
	gone, added := lineDiff(from, to)
	was := count(int64(len(from)), "line") + ", " + shop.Thousands(int64(len(gone))) + " of them removed"
	if quoted := strings.Join(gone, "\n"); strings.TrimSpace(quoted) != "" {
		was += ":\n" + cutAt(quoted, maxGone)
	}
	return append(changes, tools.Change{
		Object: object, Field: "body_markdown", From: was,
		To: count(int64(len(to)), "line") + ", " + shop.Thousands(int64(len(added))) + " of them added",
	})
}

// cutAt shortens a text to so many bytes, and shows that.
func cutAt(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + " …"
}

func publish(c *tools.Call, in publishPageIn) (publishPageOut, error) {
	d, now, err := in.page(c)
	if err != nil {
		return publishPageOut{}, err
	}
	now.Title, now.Body, now.By = in.Title, in.Body, c.Principal.Name
	p, err := d.PublishPage(now)
	if errors.Is(err, shop.ErrChanged) {
		err = tools.Refuse(tools.StaleExpectation, "Call again: the answer tells the version now.", "The page was published meanwhile.")
	}
	return publishPageOut{Page: p.Slug, URL: p.URL(), Version: p.Version}, err
}

// A pageImage is what visitors saw before.
type pageImage struct {
	Title string `json:"title"`
	Body  string `json:"body_markdown"`
}

func keepPage(c *tools.Call, in publishPageIn) (pageImage, error) {
	_, now, err := in.page(c)
	return pageImage{now.Title, now.Body}, err
}

// publishBefore publishes the old text as a new version: the history shows that it was gone for a while.
func publishBefore(c *tools.Call, in publishPageIn, out publishPageOut, image pageImage) error {
	d, err := desk(c)
	if err != nil {
		return err
	}
	_, err = d.PublishPage(shop.WebPage{Slug: in.Page, Title: image.Title, Body: image.Body, Version: out.Version, By: c.Principal.Name})
	return err
}

// maxCompared bounds the work of comparing two texts: beyond it all lines between the first and the last difference
// count as replaced.
const maxCompared = 1 << 20

// lineDiff gives the lines of one text that are not in the other, each way, in their order: as few as there can be.
func lineDiff(from, to []string) (gone, added []string) {
	for len(from) > 0 && len(to) > 0 && from[0] == to[0] {
		from, to = from[1:], to[1:]
	}
	for len(from) > 0 && len(to) > 0 && from[len(from)-1] == to[len(to)-1] {
		from, to = from[:len(from)-1], to[:len(to)-1]
	}
	if len(from)*len(to) > maxCompared {
		return from, to
	}
	kept := commonLines(from, to)
	for i, j := 0, 0; i < len(from) || j < len(to); {
		switch {
		case i < len(from) && j < len(to) && from[i] == to[j]:
			i, j = i+1, j+1
		case j == len(to) || i < len(from) && kept[i+1][j] >= kept[i][j+1]:
			gone, i = append(gone, from[i]), i+1
		default:
			added, j = append(added, to[j]), j+1
		}
	}
	return gone, added
}

// commonLines counts the lines that two texts have in common, in order, from each pair of places on.
func commonLines(from, to []string) [][]int32 {
	kept := make([][]int32, len(from)+1)
	for i := range kept {
		kept[i] = make([]int32, len(to)+1)
	}
	for i, line := range slices.Backward(from) {
		for j := len(to) - 1; j >= 0; j-- {
			if kept[i][j] = max(kept[i+1][j], kept[i][j+1]); line == to[j] {
				kept[i][j] = kept[i+1][j+1] + 1
			}
		}
	}
	return kept
}
